package transfer

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const scheme = "s3://"

// keyBytesMax is S3's limit for a key.
const keyBytesMax = 1024

// Address is a place in the store, a path of this machine, or the standard streams.
type Address struct {
	// Bucket and Key are set for what is in the store; Key may be empty or a prefix.
	Bucket, Key string
	// Path is set for what is not; "-" is standard input or output.
	Path string
}

// Parse reads s3://BUCKET/KEY, or a path.
func Parse(s string) (Address, error) {
	rest, remote := strings.CutPrefix(s, scheme)
	switch {
	case s == "":
		return Address{}, fmt.Errorf("an address is s3://BUCKET/KEY or a path, not empty")
	case !remote && (strings.HasPrefix(s, "s3:") || strings.HasPrefix(s, "S3:")):
		return Address{}, fmt.Errorf("%s is no address; write s3://BUCKET/KEY, or ./%s for a path", Printable(s), Printable(s))
	case !remote && strings.Contains(s, "\x00"):
		return Address{}, fmt.Errorf("path %s holds a zero byte", Printable(s))
	case !remote:
		return Address{Path: s}, nil
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return Address{}, fmt.Errorf("%s names no bucket; write s3://BUCKET/KEY", Printable(s))
	}
	a := Address{Bucket: bucket, Key: key}
	if key == "" {
		return a, nil
	}
	return a, checkKey(key)
}

// Remote says that a is in the store.
func (a Address) Remote() bool { return a.Bucket != "" }

// Stream says that a is standard input or output.
func (a Address) Stream() bool { return a.Path == "-" }

// String is what Parse reads, fit for a terminal.
func (a Address) String() string {
	if a.Remote() {
		return Printable(scheme + a.Bucket + "/" + a.Key)
	}
	return Printable(a.Path)
}

// base is the last element of a key or a path.
func (a Address) base() string {
	if a.Remote() {
		return path.Base(a.Key)
	}
	return path.Base(strings.ReplaceAll(a.Path, "\\", "/"))
}

// directory is the key as a prefix that ends at a slash, so that "logs" does not take
// "logs-old/x" with it.
func (a Address) directory() string {
	if a.Key == "" || strings.HasSuffix(a.Key, "/") {
		return a.Key
	}
	return a.Key + "/"
}

// Printable is s for a terminal and a line of text: quoted if it holds what a terminal
// would obey, or what would look like another name.
func Printable(s string) string {
	plain := func(r rune) bool { return r == ' ' || unicode.IsPrint(r) }
	for _, r := range s {
		if !plain(r) || r == utf8.RuneError {
			return strconv.Quote(s)
		}
	}
	return s
}

// checkKey says why key can be no object's.
func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("a key is not empty")
	case len(key) > keyBytesMax:
		return fmt.Errorf("a key has at most %d bytes; the one that begins with %s has %d", keyBytesMax, Printable(key[:40]), len(key))
	case !utf8.ValidString(key):
		return fmt.Errorf("key %s is not UTF-8", Printable(key))
	case strings.Contains(key, "\x00"):
		return fmt.Errorf("key %s holds a zero byte", Printable(key))
	}
	return nil
}
