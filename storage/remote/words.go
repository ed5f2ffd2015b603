package remote

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/storage"
)

// ownWord begins the names of our own words, and chunkBytes is what one holds: Swift
// allows 256.
const (
	ownWord    = "polder-"
	chunkBytes = 240
)

// native are headers that both protocols keep as they are.
var native = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language"}

// beside is the part of an object's metadata that no protocol has words for.
type beside struct {
	NoType    bool              `json:"n,omitempty"` // the remote made a content type up
	Headers   map[string]string `json:"h,omitempty"`
	User      map[string]string `json:"u,omitempty"`
	Tags      map[string]string `json:"t,omitempty"`
	Checksums map[string]string `json:"c,omitempty"`
	System    map[string]string `json:"s,omitempty"`
	// ETag and Parts of an object that Complete made, where the remote's ETag is another.
	ETag  string `json:"e,omitempty"`
	Parts int    `json:"p,omitempty"`
	// Modified in nanoseconds, where the remote's time is that of an Edit.
	Modified int64 `json:"m,omitempty"`
	// Segments name those of a large object of Swift.
	Segments string `json:"g,omitempty"`
}

// fact is what is kept of an object besides its client's metadata.
type fact struct {
	etag, segments string
	parts          int
	modified       time.Time
}

// encode puts metadata into words, of which the remote keeps at most bytesMax bytes.
func encode(m storage.Meta, f fact, a ability) (words, error) {
	w := words{contentType: m.ContentType, headers: map[string]string{}, user: map[string]string{}, expires: m.Expires}
	if !m.Expires.IsZero() && !a.expires {
		return w, fmt.Errorf("%w: objects that expire", ErrCannot)
	}
	b := beside{NoType: m.ContentType == "", Tags: m.Tags, Checksums: m.Checksums, System: m.System, ETag: f.etag, Parts: f.parts, Segments: f.segments}
	if !f.modified.IsZero() {
		b.Modified = f.modified.UnixNano()
	}
	for k, v := range m.Headers {
		if slices.Contains(native, k) && printable(v) {
			w.headers[k] = v
			continue
		}
		put(&b.Headers, k, v)
	}
	for k, v := range m.User {
		if token(k) && printable(v) && len(k) <= 100 && len(v) <= chunkBytes && !strings.HasPrefix(k, ownWord) {
			w.user[k] = v
			continue
		}
		put(&b.User, k, v)
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return w, fmt.Errorf("encoding metadata: %w", err)
	}
	if len(raw) > len("{}") {
		text := base64.RawURLEncoding.EncodeToString(raw)
		for i, chunk := range slices.Collect(slices.Chunk([]byte(text), chunkBytes)) {
			w.user[fmt.Sprint(ownWord, i)] = string(chunk)
		}
	}
	sum := 0
	for k, v := range w.user {
		sum += len(k) + len(v)
	}
	if sum > a.wordsBytes {
		return w, fmt.Errorf("%w: metadata of %d bytes; it keeps %d", ErrCannot, sum, a.wordsBytes)
	}
	return w, nil
}

func put(m *map[string]string, k, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[k] = v
}

// decode is the reverse. Words of ours that cannot be read are others' text.
func decode(w words) (storage.Meta, fact) {
	m := storage.Meta{ContentType: w.contentType, Expires: w.expires}
	var text strings.Builder
	for i := 0; w.user[fmt.Sprint(ownWord, i)] != ""; i++ {
		text.WriteString(w.user[fmt.Sprint(ownWord, i)])
	}
	var b beside
	if raw, err := base64.RawURLEncoding.DecodeString(text.String()); err != nil || len(raw) > 0 && json.Unmarshal(raw, &b) != nil {
		b = beside{}
	}
	if b.NoType {
		m.ContentType = ""
	}
	for k, v := range w.headers {
		put(&m.Headers, k, v)
	}
	for k, v := range w.user {
		if !strings.HasPrefix(k, ownWord) {
			put(&m.User, k, v)
		}
	}
	for k, v := range b.Headers {
		put(&m.Headers, k, v)
	}
	for k, v := range b.User {
		put(&m.User, k, v)
	}
	m.Tags, m.Checksums, m.System = b.Tags, b.Checksums, b.System
	f := fact{etag: b.ETag, parts: b.Parts, segments: b.Segments}
	if b.Modified != 0 {
		f.modified = time.Unix(0, b.Modified)
	}
	return m, f
}

// token says that a name comes back as it went, as a header's.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// printable says that a value does, too. Empty ones are lost on the way.
func printable(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '%' })
}

func (w words) equal(o words) bool {
	return w.contentType == o.contentType && maps.Equal(w.headers, o.headers) && maps.Equal(w.user, o.user) && w.expires.Equal(o.expires)
}
