package swift

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// changes are headers that a request sets; "" takes one away.
type changes map[string]string

// metaChanges reads X-KIND-Meta-* and X-Remove-KIND-Meta-*, where kind is Account or
// Container, and checks them by Swift's limits.
func metaChanges(h http.Header, kind string) (changes, error) {
	prefix := "X-" + kind + "-Meta-"
	out := changes{}
	for n := range h {
		if rest, ok := strings.CutPrefix(n, "X-Remove-"+kind+"-Meta-"); ok && rest != "" {
			out[prefix+rest] = ""
		}
	}
	if err := checkMeta(h, prefix); err != nil {
		return nil, err
	}
	for n, v := range h {
		if strings.HasPrefix(n, prefix) && v[0] != "" {
			out[n] = v[0]
		} else if strings.HasPrefix(n, prefix) {
			out[n] = ""
		}
	}
	return out, nil
}

// checkMeta judges all headers of a request, and those with a prefix as metadata.
func checkMeta(h http.Header, prefix string) error {
	count, sum := 0, 0
	for n, vs := range h {
		v := vs[0]
		if len(v) > headerBytesMax {
			return plainf(400, "Header value too long: %s", n[:min(len(n), metaNameMax)])
		}
		name, ok := strings.CutPrefix(n, prefix)
		if !ok {
			continue
		}
		switch {
		case name == "":
			return plainf(400, "Metadata name cannot be empty")
		case !utf8.ValidString(name) || !utf8.ValidString(v) && prefix != objectMeta:
			return plainf(400, "Metadata must be valid UTF-8")
		case len(name) > metaNameMax:
			return plainf(400, "Metadata name too long: %s", prefix+strings.ToLower(name))
		case len(v) > metaValueMax:
			return plainf(400, "Metadata value longer than %d: %s", metaValueMax, prefix+strings.ToLower(name))
		}
		count++
		sum += len(name) + len(v)
	}
	return bounded(count, sum)
}

func bounded(count, sum int) error {
	switch {
	case count > metaCountMax:
		return plainf(400, "Too many metadata items; max %d", metaCountMax)
	case sum > metaBytesMax:
		return plainf(400, "Total metadata too large; max %d", metaBytesMax)
	}
	return nil
}

// apply changes headers that are kept, and checks the whole.
func (c changes) apply(to map[string]string, prefix string) error {
	for n, v := range c {
		if v == "" {
			delete(to, n)
		} else {
			to[n] = v
		}
	}
	count, sum := 0, 0
	for n, v := range to {
		if name, ok := strings.CutPrefix(n, prefix); ok {
			count++
			sum += len(name) + len(v)
		}
	}
	return bounded(count, sum)
}

// number reads a count that a client sent as a header.
func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return n, err == nil && n >= 0
}
