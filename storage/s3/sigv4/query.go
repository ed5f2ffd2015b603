package sigv4

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Param is one parameter of a query, decoded.
type Param struct{ Key, Value string }

// Query is what follows a request's question mark, in its order.
type Query []Param

// ParseQuery splits a raw query. An empty one needs no memory.
func ParseQuery(raw string) (Query, error) {
	if raw == "" {
		return nil, nil
	}
	q := make(Query, 0, strings.Count(raw, "&")+1)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, fmt.Errorf("query parameter %q: %w", k, err)
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, fmt.Errorf("query parameter %s: %w", key, err)
		}
		q = append(q, Param{key, value})
	}
	return q, nil
}

// Find returns the first parameter of a name, and whether there is one.
func (q Query) Find(key string) (string, bool) {
	for i := range q {
		if q[i].Key == key {
			return q[i].Value, true
		}
	}
	return "", false
}

// Get is Find, with "" where there is none.
func (q Query) Get(key string) string {
	v, _ := q.Find(key)
	return v
}

// Has says whether there is a parameter of this name.
func (q Query) Has(key string) bool {
	_, ok := q.Find(key)
	return ok
}

// canonical appends the query as it is signed: sorted, encoded, without leave.
func (q Query) canonical(b []byte, leave string) []byte {
	switch {
	case len(q) == 0:
		return b
	case len(q) == 1 && q[0].Key != leave:
		return appendParam(b, q[0].Key, q[0].Value)
	}
	pairs := make([]string, 0, len(q))
	for _, p := range q {
		if p.Key != leave {
			pairs = append(pairs, string(appendParam(nil, p.Key, p.Value)))
		}
	}
	// Keys are compared before values, and '=' is above some characters of a key.
	slices.SortFunc(pairs, func(x, y string) int {
		xk, xv, _ := strings.Cut(x, "=")
		yk, yv, _ := strings.Cut(y, "=")
		if c := strings.Compare(xk, yk); c != 0 {
			return c
		}
		return strings.Compare(xv, yv)
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p...)
	}
	return b
}

func appendParam(b []byte, k, v string) []byte {
	b = Encode(b, k, false)
	b = append(b, '=')
	return Encode(b, v, false)
}

const upperHex = "0123456789ABCDEF"

// Encode appends s with all bytes but RFC 3986's unreserved ones percent-encoded. A path
// keeps its slashes.
func Encode(b []byte, s string, path bool) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' || path && c == '/' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}
