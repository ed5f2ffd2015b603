package header

import (
	"bytes"
	"strconv"
	"strings"
)

// place is where in a connection's stream of requests a scanner is.
type place uint8

const (
	atRequest   place = iota // in a request line
	atStart                  // at the start of a header's line
	inName                   // in a header's name
	inValue                  // in a header's value
	inBody                   // left bytes of a body of known length
	atSize                   // in a chunk's size
	inChunk                  // left bytes of a chunk, with the end of its line
	atTrailer                // at the start of a trailer's line
	inTrailer                // in a trailer
	passthrough              // nothing is understood any more
)

// wordMax is how much is kept of a name and a value: what frames a body is shorter.
const wordMax = 64

// scanner follows the framing of requests (RFC 9112, section 6).
type scanner struct {
	at    place
	left  int64
	line  bool // the request's line is not empty
	name  []byte
	value []byte

	length  string // Content-Length
	chunked bool
	odd     bool
}

// skip says that n bytes are all of a body, and counts them.
func (s *scanner) skip(n int) bool {
	if s.at == passthrough {
		return true
	}
	if (s.at != inBody && s.at != inChunk) || int64(n) > s.left {
		return false
	}
	s.pass(int64(n))
	return true
}

// pass counts bytes of a body.
func (s *scanner) pass(n int64) {
	if s.left -= n; s.left > 0 {
		return
	}
	if s.at == inBody {
		s.begin()
		return
	}
	s.at, s.value = atSize, s.value[:0]
}

func (s *scanner) begin() {
	*s = scanner{name: s.name[:0], value: s.value[:0]}
}

// rewrite appends p to out, with names escaped.
func (s *scanner) rewrite(out, p []byte) []byte {
	for len(p) > 0 {
		switch s.at {
		case passthrough:
			return append(out, p...)
		case inBody, inChunk:
			n := min(int64(len(p)), s.left)
			out, p = append(out, p[:n]...), p[n:]
			s.pass(n)
			continue
		case inValue, inTrailer: // most of a head
			if n := bytes.IndexByte(p, '\n'); n != 0 {
				if n < 0 {
					n = len(p)
				}
				s.keep(&s.value, p[:n])
				out, p = append(out, p[:n]...), p[n:]
				continue
			}
		}
		out = s.step(out, p[0])
		p = p[1:]
	}
	return out
}

func (s *scanner) keep(to *[]byte, p []byte) {
	if room := wordMax - len(*to); room > 0 {
		*to = append(*to, p[:min(room, len(p))]...)
	}
}

const hexes = "0123456789abcdef"

// step takes one byte of a head, of a chunk's size or of a trailer.
func (s *scanner) step(out []byte, c byte) []byte {
	switch s.at {
	case atRequest:
		if c == '\n' && s.line {
			s.at = atStart
		}
		s.line = s.line || c != '\n' && c != '\r'
	case atStart:
		switch c {
		case '\r':
		case '\n':
			s.body()
		case ' ', '\t':
			s.at = inValue // goes on from the line before
		default:
			s.at, s.name, s.value = inName, s.name[:0], s.value[:0]
			return s.step(out, c)
		}
	case inName:
		switch {
		case c == ':':
			s.at = inValue
		case c == '\n':
			s.at = passthrough // not a header; net/http says so
		case c >= 0x80:
			return append(out, '%', hexes[c>>4], hexes[c&15])
		default:
			s.keep(&s.name, []byte{c})
		}
	case inValue: // c is a line's end
		s.header()
		s.at = atStart
	case atSize:
		if c == '\n' {
			s.chunk()
		} else {
			s.keep(&s.value, []byte{c})
		}
	case atTrailer:
		if c == '\n' {
			s.begin()
		} else if c != '\r' {
			s.at = inTrailer
		}
	case inTrailer: // c is a line's end
		s.at = atTrailer
	}
	return append(out, c)
}

// header notes what frames the body.
func (s *scanner) header() {
	v := strings.ToLower(strings.TrimSpace(string(s.value)))
	switch strings.ToLower(string(s.name)) {
	case "content-length":
		s.odd = s.odd || s.length != "" && s.length != v
		s.length = v
	case "transfer-encoding":
		s.odd = s.odd || v != "chunked"
		s.chunked = true
	case "upgrade":
		s.odd = true
	}
}

// body begins behind a head.
func (s *scanner) body() {
	n, err := strconv.ParseUint(s.length, 10, 63)
	switch {
	case s.odd || s.chunked && s.length != "" || s.length != "" && err != nil:
		s.at = passthrough
	case s.chunked:
		s.at, s.value = atSize, s.value[:0]
	case n > 0:
		s.at, s.left = inBody, int64(n)
	default:
		s.begin()
	}
}

// chunk begins behind its size.
func (s *scanner) chunk() {
	size, _, _ := strings.Cut(string(s.value), ";")
	size = strings.TrimSpace(size)
	if size == "" && s.left == 0 { // the end of the chunk before
		s.value, s.left = s.value[:0], -1
		return
	}
	n, err := strconv.ParseUint(size, 16, 62)
	switch {
	case err != nil:
		s.at = passthrough
	case n == 0:
		s.at, s.left = atTrailer, 0
	default:
		s.at, s.left = inChunk, int64(n)
	}
}
