package route

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
)

// Key names an answer that is kept.
type Key [sha256.Size]byte

// Asked is all of a request that its answer depends on.
type Asked struct {
	// Tenant that asks; Route by name and namespace, and UID and generation of its spec.
	Tenant, Route string
	Method, Path  string
	Header        http.Header
	Body          []byte
}

// always are headers that answers depend on whatever the rules say.
var always = []string{"Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Language", "Content-Type", "Inference-Header-Content-Length", HeaderTask, HeaderClassification}

// Key returns the name of the answer to a.
func (r *Route) Key(a *Asked) Key {
	h := sha256.New()
	part := func(s string) { // with its length before it, so that parts cannot run together
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, s := range []string{a.Tenant, a.Route, a.Method, a.Path} {
		part(s)
	}
	for _, names := range [][]string{always, r.Headers} {
		for _, name := range names {
			part(strings.Join(a.Header.Values(name), "\x00"))
		}
	}
	part(string(a.Body))
	return Key(h.Sum(nil))
}

// MayAsk: the answer to a request may come from what is kept.
func MayAsk(h http.Header) bool { return !says(h, "no-store", "no-cache") && h.Get("Range") == "" }

// MayKeep: the answer to a request may be kept for others of the tenant.
func MayKeep(request http.Header, status int, answer http.Header) bool {
	return status == http.StatusOK && !says(request, "no-store") &&
		!says(answer, "no-store", "no-cache", "private") && answer.Get("Vary") == "" && answer.Get("Set-Cookie") == "" &&
		!strings.HasPrefix(answer.Get("Content-Type"), "text/event-stream")
}

// says: Cache-Control has one of the directives.
func says(h http.Header, directives ...string) bool {
	for _, v := range h.Values("Cache-Control") {
		for one := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(one), "=")
			for _, d := range directives {
				if strings.EqualFold(name, d) {
					return true
				}
			}
		}
	}
	return false
}
