package swift

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// acceptBytesMax and rangesMax bound what is read of an Accept header: what is longer is
// no header that a client needs. Each byte is looked at once.
const (
	acceptBytesMax = 4 << 10
	rangesMax      = 64
)

var errAccept = errors.New("accept header is malformed")

// negotiate chooses the type that an Accept header likes best (RFC 9110, section 12.5.1);
// of equals the first of types. "" says that it likes none.
func negotiate(header string, types []string) (string, error) {
	if strings.TrimSpace(header) == "" {
		return types[0], nil
	}
	if len(header) > acceptBytesMax {
		return "", errAccept
	}
	best, bestRank := "", 0.0
	n := 0
	for part := range strings.SplitSeq(header, ",") {
		if n++; n > rangesMax {
			return "", errAccept
		}
		r, err := readRange(part)
		if err != nil {
			return "", err
		}
		for _, t := range types {
			if !r.fits(t) || r.q <= 0 {
				continue
			}
			if rank := r.q*10 + r.exact(); rank > bestRank {
				best, bestRank = t, rank
			}
			break
		}
	}
	return best, nil
}

// mediaRange is one of a header.
type mediaRange struct {
	major, minor string
	q            float64
}

// exact ranks what is equally liked: a type before a range of them.
func (m mediaRange) exact() float64 {
	switch {
	case m.major == "*":
		return 0.1
	case m.minor == "*":
		return 0.2
	}
	return 0.3
}

func (m mediaRange) fits(t string) bool {
	major, minor, _ := strings.Cut(t, "/")
	return (m.major == "*" || m.major == major) && (m.minor == "*" || m.minor == minor)
}

func readRange(s string) (mediaRange, error) {
	fields := strings.Split(s, ";")
	major, minor, ok := strings.Cut(strings.TrimSpace(fields[0]), "/")
	if !ok || !token(major) || !token(minor) || major == "*" && minor != "*" {
		return mediaRange{}, errAccept
	}
	r := mediaRange{major: strings.ToLower(major), minor: strings.ToLower(minor), q: 1}
	for _, p := range fields[1:] {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.TrimSpace(k) != "q" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || q < 0 || q > 1 {
			return mediaRange{}, errAccept
		}
		r.q = q
	}
	return r, nil
}

// token is RFC 9110's.
func token(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0
	})
}
