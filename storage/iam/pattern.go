package iam

import (
	"strings"
	"unicode/utf8"
)

// pattern is text of a policy with wildcards: * for any characters, ? for one, and
// variables in ${}, which the request fills in.
type pattern struct {
	parts []piece
	plain bool // one literal, or nothing
}

type pieceKind uint8

const (
	literal pieceKind = iota
	anyText
	anyOne
	variable
)

// piece is a run of literal text, a wildcard or a variable. other is what a variable is
// if the request does not have it, and hasOther says that there is such a default.
type piece struct {
	kind     pieceKind
	text     string
	other    string
	hasOther bool
}

// parsePattern reads wildcards, and variables too where vars is set. Without wild, *
// and ? stand for themselves.
func parsePattern(s string, wild, vars bool) pattern {
	var p pattern
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			p.parts = append(p.parts, piece{kind: literal, text: run.String()})
			run.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case wild && c == '*':
			flush()
			if n := len(p.parts); n == 0 || p.parts[n-1].kind != anyText {
				p.parts = append(p.parts, piece{kind: anyText})
			}
		case wild && c == '?':
			flush()
			p.parts = append(p.parts, piece{kind: anyOne})
		case vars && strings.HasPrefix(s[i:], "${") && strings.Contains(s[i:], "}"):
			end := strings.IndexByte(s[i:], '}')
			name := s[i+2 : i+end]
			i += end
			if name == "*" || name == "?" || name == "$" {
				run.WriteString(name)
				continue
			}
			flush()
			p.parts = append(p.parts, parseVariable(name))
		default:
			run.WriteByte(c)
		}
	}
	flush()
	p.plain = len(p.parts) == 0 || len(p.parts) == 1 && p.parts[0].kind == literal
	return p
}

// parseVariable reads name, or name and default: aws:username, 'nobody'.
func parseVariable(s string) piece {
	name, other, has := strings.Cut(s, ",")
	p := piece{kind: variable, text: contextKey(strings.TrimSpace(name))}
	if other = strings.TrimSpace(other); has && len(other) >= 2 && other[0] == '\'' && other[len(other)-1] == '\'' {
		p.other, p.hasOther = other[1:len(other)-1], true
	}
	return p
}

// fixed says that the pattern is literal text, without wildcards and variables.
func (p pattern) fixed() bool { return p.plain }

func (p pattern) literal() string {
	if len(p.parts) == 0 {
		return ""
	}
	return p.parts[0].text
}

// match says whether s is what the pattern says. A variable that q does not have
// matches nothing. q may be nil where there are no variables.
func (p pattern) match(s string, q *Request) bool {
	if p.plain {
		return s == p.literal()
	}
	parts := p.parts
	for i := range parts {
		if parts[i].kind == variable {
			var ok bool
			if parts, ok = fill(parts, q); !ok {
				return false
			}
			break
		}
	}
	return glob(parts, s)
}

// fill puts what a request says in place of variables.
func fill(parts []piece, q *Request) ([]piece, bool) {
	out := make([]piece, len(parts))
	for i, e := range parts {
		out[i] = e
		if e.kind != variable {
			continue
		}
		out[i].kind = literal
		switch v := q.values(e.text); {
		case len(v) == 1:
			out[i].text = v[0]
		case e.hasOther:
			out[i].text = e.other
		default:
			return nil, false
		}
	}
	return out, true
}

// glob goes back only to the last *, so its work is bounded by the product of the lengths.
func glob(parts []piece, s string) bool {
	at, pos := 0, 0
	star, from := -1, 0
	for {
		if at == len(parts) {
			if pos == len(s) {
				return true
			}
		} else {
			switch e := parts[at]; {
			case e.kind == anyText:
				if at == len(parts)-1 {
					return true
				}
				star, from = at, pos
				at++
				continue
			case e.kind == anyOne && pos < len(s):
				_, n := utf8.DecodeRuneInString(s[pos:])
				at, pos = at+1, pos+n
				continue
			case e.kind == literal && strings.HasPrefix(s[pos:], e.text):
				at, pos = at+1, pos+len(e.text)
				continue
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		from++
		at, pos = star+1, from
	}
}

// contextKey is the form of a condition's key in Request.Context: in lower case, but
// for the name of a tag behind the slash.
func contextKey(s string) string {
	head, tag, ok := strings.Cut(s, "/")
	head = strings.ToLower(head)
	if ok {
		return head + "/" + tag
	}
	return head
}
