package infer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// scanner reads JSON, RFC 8259, without building what it reads. The standard library's
// decoder took most of the time of a small request.
type scanner struct {
	src []byte
	at  int
}

// depthMax is how deep values may be nested; shapes and parameters need less.
const depthMax = 32

func (s *scanner) bad(expected string) error {
	if s.at >= len(s.src) {
		return wrong("", "the JSON ends after %d bytes, where %s was expected", len(s.src), expected)
	}
	return wrong("", "the JSON is malformed: %s was expected at byte %d, not %s", expected, s.at, strconv.QuoteToASCII(string(s.src[s.at:min(s.at+1, len(s.src))])))
}

// next returns the next byte that is not space, without taking it; 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) error {
	if s.next() != c {
		return s.bad("'" + string(rune(c)) + "'")
	}
	s.at++
	return nil
}

// more is called after '{' or '[' and after each element: it reports whether another
// element comes, and takes the comma or the end.
func (s *scanner) more(first bool, end byte) (bool, error) {
	switch c := s.next(); {
	case c == end:
		s.at++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.at++
		if s.next() == end {
			return false, s.bad("a value")
		}
		return true, nil
	}
	return false, s.bad("',' or '" + string(rune(end)) + "'")
}

// object calls each with every key, standing before its value, which each must take.
func (s *scanner) object(each func(key string) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	var seen []string
	for first := true; ; first = false {
		more, err := s.more(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		for _, k := range seen {
			if k == key {
				return wrong(clip(key), "is given twice")
			}
		}
		if len(seen) < keysKnown {
			seen = append(seen, key)
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if err := each(key); err != nil {
			return err
		}
	}
}

// keysKnown is how many keys of an object are compared with those that follow.
const keysKnown = 16

// array calls each before every element, which each must take.
func (s *scanner) array(each func(i int) error) error {
	if err := s.take('['); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := s.more(i == 0, ']')
		if err != nil || !more {
			return err
		}
		if err := each(i); err != nil {
			return err
		}
	}
}

func (s *scanner) string() (string, error) {
	if s.next() != '"' {
		return "", s.bad("a string")
	}
	from, escaped := s.at, false
	for s.at++; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == '\\':
			escaped = true
			s.at++
		case c < 0x20:
			return "", s.bad("no control character in a string")
		case c == '"':
			s.at++
			raw := s.src[from:s.at]
			if !utf8.Valid(raw) {
				return "", wrong("", "the JSON is malformed: the string at byte %d is not UTF-8", from)
			}
			if !escaped {
				return string(raw[1 : len(raw)-1]), nil
			}
			var out string
			if err := json.Unmarshal(raw, &out); err != nil {
				return "", wrong("", "the JSON is malformed: the string at byte %d has an escape that JSON does not know", from)
			}
			return out, nil
		}
	}
	s.at = len(s.src)
	return "", s.bad("the end of a string")
}

func digits(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

// number takes a number, and says whether it is written as an integer.
func (s *scanner) number() (text []byte, integer bool, err error) {
	s.next()
	from, b := s.at, s.src[s.at:]
	at := 0
	if at < len(b) && b[at] == '-' {
		at++
	}
	n := digits(b[at:])
	if n == 0 || n > 1 && b[at] == '0' {
		return nil, false, s.bad("a number")
	}
	at += n
	integer = true
	if at < len(b) && b[at] == '.' {
		n := digits(b[at+1:])
		if n == 0 {
			return nil, false, s.bad("a number")
		}
		at, integer = at+1+n, false
	}
	if at < len(b) && (b[at] == 'e' || b[at] == 'E') {
		at++
		if at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		n := digits(b[at:])
		if n == 0 {
			return nil, false, s.bad("a number")
		}
		at, integer = at+n, false
	}
	s.at = from + at
	return b[:at], integer, nil
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.src[s.at:], []byte(w)) {
		return s.bad("a value")
	}
	s.at += len(w)
	return nil
}

func (s *scanner) bool() (bool, error) {
	switch s.next() {
	case 't':
		return true, s.word("true")
	case 'f':
		return false, s.word("false")
	}
	return false, s.bad("true or false")
}

// skip takes any value.
func (s *scanner) skip() error { return s.skipTo(0) }

func (s *scanner) skipTo(depth int) error {
	if depth > depthMax {
		return wrong("", "the JSON is nested deeper than %d", depthMax)
	}
	switch s.next() {
	case '{':
		return s.object(func(string) error { return s.skipTo(depth + 1) })
	case '[':
		return s.array(func(int) error { return s.skipTo(depth + 1) })
	case '"':
		_, err := s.string()
		return err
	case 't', 'f':
		_, err := s.bool()
		return err
	case 'n':
		return s.word("null")
	}
	_, _, err := s.number()
	return err
}

// raw takes any value and returns its text.
func (s *scanner) raw() ([]byte, error) {
	s.next()
	from := s.at
	err := s.skip()
	return s.src[from:s.at], err
}

// end reports whether anything but space is left.
func (s *scanner) end() error {
	if s.next() != 0 || s.at < len(s.src) {
		return s.bad("the end")
	}
	return nil
}

// parametersMax is how many parameters one object may have.
const parametersMax = 256

func (s *scanner) parameters(field string) (Parameters, error) {
	if s.next() == 'n' {
		return nil, s.word("null")
	}
	out := Parameters{}
	err := s.object(func(key string) error {
		if len(out) == parametersMax {
			return wrong(field, "has more than %d entries", parametersMax)
		}
		v, err := s.parameter()
		if err != nil {
			return err
		}
		if _, ok := out[key]; ok {
			return wrong(fmt.Sprintf("%s.%s", field, clip(key)), "is given twice")
		}
		out[key] = v
		return nil
	})
	return out, err
}

func (s *scanner) parameter() (any, error) {
	switch s.next() {
	case '"':
		return s.string()
	case 't', 'f':
		return s.bool()
	case '{', '[', 'n':
		raw, err := s.raw()
		return json.RawMessage(bytes.Clone(raw)), err
	}
	text, integer, err := s.number()
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && integer {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return nil, wrong("", "the JSON holds the number %s, which is out of range", clip(string(text)))
	}
	return f, nil
}
