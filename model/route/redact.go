package route

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
)

// Redacted stands where something was taken out.
const Redacted = "[redacted]"

// Redact returns a JSON value without what fits the patterns: in strings and in names of
// fields the part that fits, of numbers the number. Texts are looked at as they are meant,
// not as they are escaped. A value that is not JSON is an error, and nothing of it is
// returned.
func Redact(body []byte, patterns []*regexp.Regexp) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("reading JSON: something follows the value")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(clean(v, patterns)); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

func clean(v any, patterns []*regexp.Regexp) any {
	switch v := v.(type) {
	case string:
		return cleanText(v, patterns)
	case json.Number:
		for _, p := range patterns {
			if p.MatchString(v.String()) {
				return Redacted
			}
		}
	case []any:
		for i := range v {
			v[i] = clean(v[i], patterns)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, one := range v {
			out[cleanText(name, patterns)] = clean(one, patterns)
		}
		return out
	}
	return v
}

func cleanText(s string, patterns []*regexp.Regexp) string {
	for _, p := range patterns {
		s = p.ReplaceAllLiteralString(s, Redacted)
	}
	return s
}
