package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// xmlns is the name space of all answers.
const xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"

// xmlBytesMax bounds a body of XML, so that it can be read whole.
const xmlBytesMax = 2 << 20

// answer builds XML by hand: listings are long, and encoding/xml takes ten times as long.
type answer struct{ b bytes.Buffer }

var answers = sync.Pool{New: func() any { return &answer{} }}

const answerKeepMax = 1 << 20

func newXML() *answer {
	x := answers.Get().(*answer)
	x.b.Reset()
	x.b.WriteString(xml.Header)
	return x
}

func (x *answer) free() {
	if x.b.Cap() <= answerKeepMax {
		answers.Put(x)
	}
}

// root opens the element that an answer is.
func (x *answer) root(name string) *answer {
	x.b.WriteString("<" + name + ` xmlns="` + xmlns + `">`)
	return x
}

func (x *answer) open(name string) *answer {
	x.b.WriteByte('<')
	x.b.WriteString(name)
	x.b.WriteByte('>')
	return x
}

func (x *answer) close(name string) *answer {
	x.b.WriteString("</")
	x.b.WriteString(name)
	x.b.WriteByte('>')
	return x
}

// text adds an element with a text.
func (x *answer) text(name, value string) *answer {
	x.open(name)
	escape(&x.b, value)
	return x.close(name)
}

// some is text, but for an empty value.
func (x *answer) some(name, value string) *answer {
	if value == "" {
		return x
	}
	return x.text(name, value)
}

func (x *answer) number(name string, n int64) *answer {
	x.open(name)
	x.b.Write(strconv.AppendInt(x.b.AvailableBuffer(), n, 10))
	return x.close(name)
}

func (x *answer) flag(name string, v bool) *answer {
	return x.text(name, strconv.FormatBool(v))
}

// timeForm is ISO 8601 in milliseconds, as S3 has it.
const timeForm = "2006-01-02T15:04:05.000Z"

func (x *answer) time(name string, t time.Time) *answer {
	x.open(name)
	x.b.Write(t.UTC().AppendFormat(x.b.AvailableBuffer(), timeForm))
	return x.close(name)
}

// owner adds an element with an account's id and name.
func (x *answer) owner(name, id, display string) *answer {
	return x.open(name).text("ID", id).text("DisplayName", display).close(name)
}

// send answers with what was built.
func (x *answer) send(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Content-Type"] = []string{"application/xml"}
	h["Content-Length"] = []string{strconv.Itoa(x.b.Len())}
	w.WriteHeader(status)
	_, _ = w.Write(x.b.Bytes()) // a client that went away
}

// escape writes text as XML 1.0 wants it. What XML cannot hold becomes U+FFFD.
func escape(b *bytes.Buffer, s string) {
	last := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '&' && c != '<' && c != '>' && c != '"' && c != '\'' {
			i++
			continue
		}
		n, with := 1, ""
		switch c {
		case '&':
			with = "&amp;"
		case '<':
			with = "&lt;"
		case '>':
			with = "&gt;"
		case '"':
			with = "&#34;"
		case '\'':
			with = "&#39;"
		case '\t':
			with = "&#x9;"
		case '\n':
			with = "&#xA;"
		case '\r':
			with = "&#xD;"
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if c >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) && r != 0xFFFE && r != 0xFFFF {
				i += n
				continue
			}
			with = "\uFFFD"
		}
		b.WriteString(s[last:i])
		b.WriteString(with)
		i += n
		last = i
	}
	b.WriteString(s[last:])
}

// reply sends an answer with status 200.
func (q *request) reply(x *answer) error {
	q.begun = true
	x.send(q.w, http.StatusOK)
	x.free()
	return nil
}

// decode reads the request's body as XML into v. An empty body is an error.
func (q *request) decode(v any) error { return q.decodeMax(v, xmlBytesMax) }

func (q *request) decodeMax(v any, limit int64) error {
	b, err := q.readAll(limit)
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(b, v); err != nil {
		return fail("MalformedXML", "The body is not the XML that %s takes: %v.", q.op.name, err)
	}
	return nil
}

// replyWith answers with a value that encoding/xml knows how to write.
func (q *request) replyWith(v any) error {
	x := newXML()
	if err := xml.NewEncoder(&x.b).Encode(v); err != nil {
		x.free()
		return fmt.Errorf("writing the answer of %s: %w", q.op.name, err)
	}
	return q.reply(x)
}
