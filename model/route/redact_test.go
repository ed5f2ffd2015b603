package route

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	p := []*regexp.Regexp{regexp.MustCompile(`\d{4,}`), regexp.MustCompile(`[a-z]+@[a-z.]+`)}
	for in, want := range map[string]string{
		`{"a":"call 12345 or x@y.de","b":[1,12345,true,null]}`: `{"a":"call [redacted] or [redacted]","b":[1,"[redacted]",true,null]}`,
		`{"x@y.de":1}`:               `{"[redacted]":1}`,
		`"\u0031\u0032\u0033\u0034"`: `"[redacted]"`,
		`{"a":"<b>","n":1.50}`:       `{"a":"<b>","n":1.50}`,
		`1234.5`:                     `"[redacted]"`,
		` [ "fine" ] `:               `["fine"]`,
	} {
		got, err := Redact([]byte(in), p)
		if err != nil || string(got) != want {
			t.Errorf("%s became %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{``, `{`, `{} {}`, "\x00\x01", `{"a":1}x`} {
		if got, err := Redact([]byte(in), p); err == nil {
			t.Errorf("%q became %s", in, got)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"a":"secret","secret":["\u0073ecret"],"n":1e400}`)
	p := []*regexp.Regexp{regexp.MustCompile(`secret`)}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := Redact([]byte(in), p)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q became %q", in, out)
		}
		if strings.Contains(string(out), "secret") {
			t.Errorf("%q became %q", in, out)
		}
	})
}
