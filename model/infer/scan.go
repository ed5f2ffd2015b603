package infer

import (
	"bytes"
	"encoding/json"
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

// object calls each with every key, standing before its value, which each must take. The
// key is of no use after that.
func (s *scanner) object(each func(key []byte) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	var keys [keysKnown][]byte
	seen := keys[:0]
	for first := true; ; first = false {
		more, err := s.more(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		for _, k := range seen {
			if bytes.Equal(k, key) {
				return wrong(clip(string(key)), "is given twice")
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
	text, err := s.text()
	return string(text), err
}

// text takes a string; what it returns may be a part of the source.
func (s *scanner) text() ([]byte, error) {
	if s.next() != '"' {
		return nil, s.bad("a string")
	}
	from, plain := s.at, true
	for s.at++; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == '"':
			s.at++
			if plain {
				return s.src[from+1 : s.at-1], nil
			}
			return unescaped(s.src[from:s.at], from)
		case c == '\\':
			plain = false
			s.at++
		case c < 0x20:
			return nil, s.bad("no control character in a string")
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	s.at = len(s.src)
	return nil, s.bad("the end of a string")
}

// unescaped reads a string that is not all of plain ASCII.
func unescaped(raw []byte, at int) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, wrong("", "the JSON is malformed: the string at byte %d is not UTF-8", at)
	}
	if !bytes.ContainsRune(raw, '\\') {
		return raw[1 : len(raw)-1], nil
	}
	var out string
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, wrong("", "the JSON is malformed: the string at byte %d has an escape that JSON does not know", at)
	}
	return []byte(out), nil
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
		return s.object(func([]byte) error { return s.skipTo(depth + 1) })
	case '[':
		return s.array(func(int) error { return s.skipTo(depth + 1) })
	case '"':
		_, err := s.text()
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

// parameters takes the object called name. The value of parameterSize goes to size, where
// there is one to take it.
func (s *scanner) parameters(at spot, name string, size *any) (Parameters, error) {
	if s.next() == 'n' {
		return nil, s.word("null")
	}
	var out Parameters
	err := s.object(func(key []byte) error {
		if len(out) == parametersMax {
			return wrong(at.field(name), "has more than %d entries", parametersMax)
		}
		if size != nil && string(key) == parameterSize {
			var err error
			*size, err = s.parameter()
			return err
		}
		if _, ok := out[string(key)]; ok {
			return wrong(at.field(name+"."+clip(string(key))), "is given twice")
		}
		if out == nil {
			out = Parameters{}
		}
		k := string(key)
		var err error
		out[k], err = s.parameter()
		return err
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
