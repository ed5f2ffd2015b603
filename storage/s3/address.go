package s3

import (
	"net"
	"strings"
	"unicode/utf8"

	"polder.dev/polder/storage"
)

// level is what a request is about.
type level uint8

const (
	service level = iota
	bucket
	object
)

// address finds the bucket and the key: in the host's first label and the path, or both
// in the path.
func (q *request) address() error {
	path := strings.TrimPrefix(q.r.URL.Path, "/")
	if name, ok := q.s.virtual(q.r.Host); ok {
		q.name, q.key, q.virtual = name, path, true
	} else {
		q.name, q.key, _ = strings.Cut(path, "/")
	}
	switch {
	case len(q.key) > storage.KeyBytesMax:
		return fail("KeyTooLongError", "A key has at most %d bytes; this one has %d.", storage.KeyBytesMax, len(q.key))
	case !utf8.ValidString(q.key) || strings.Contains(q.key, "\x00"):
		return fail("InvalidArgument", "The key is not UTF-8 without zero bytes.")
	case q.name == "" && q.key != "":
		return fail("InvalidBucketName", "The path names no bucket: write /BUCKET/KEY.")
	}
	switch {
	case q.key != "":
		q.level = object
	case q.name != "":
		q.level = bucket
	}
	return nil
}

// virtual returns the bucket that a host names.
func (s *Server) virtual(host string) (string, bool) { return below(s.domains, host) }

// below returns the label of a host below one of domains.
func below(domains []string, host string) (string, bool) {
	if len(domains) == 0 {
		return "", false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	for _, d := range domains {
		if name, ok := strings.CutSuffix(host, d); ok && name != "" {
			return name, true
		}
	}
	return "", false
}
