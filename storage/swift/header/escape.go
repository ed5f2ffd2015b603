// Package header lets names of headers through net/http that are not ASCII. Swift's
// clients may name metadata in any language ("X-Object-Meta-Größe"); net/http refuses such
// a request before a handler sees it, and leaves such names out of an answer.
//
// A Listener rewrites the bytes of names that are not ASCII to %XX while a request's head
// comes in; Decode turns them back for a handler. The Swift door and whoever listens for
// it import it.
//
// It refuses to understand requests: what is framed in an unusual way passes as it is.
package header

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// Plain says whether a name is one that net/http writes.
func Plain(name string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Decode gives names their own letters back. It changes h.
func Decode(h http.Header) {
	for n, v := range h {
		if !strings.Contains(n, "%") {
			continue
		}
		if d := unescape(n); d != n {
			delete(h, n)
			h[d] = v
		}
	}
}

// unescape decodes %XX of bytes that are not ASCII, if they make up text.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if c := hi<<4 | lo; ok1 && ok2 && c >= utf8.RuneSelf {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	if !utf8.ValidString(b.String()) {
		return s
	}
	return b.String()
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
