package remote

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
)

var ample = ability{wordsBytes: 1 << 20, expires: true}

// FuzzMetadata: what is put into words comes back, whatever it is.
func FuzzMetadata(f *testing.F) {
	f.Add("text/plain", "Cache-Control", "no-store", "a", "1", "t", "v")
	f.Add("", "X-Other", "ü", "Upper", "", "", "%41")
	f.Add("a/b", "Content-Encoding", " x ", "polder-0", "e30", "x", "\n")
	f.Fuzz(func(t *testing.T, kind, header, hv, user, uv, tag, tv string) {
		for _, s := range []string{kind, header, hv, user, uv, tag, tv} {
			if !utf8.ValidString(s) {
				t.Skip("no client can say this")
			}
		}
		m := storage.Meta{ContentType: kind, Headers: map[string]string{header: hv}, User: map[string]string{user: uv}, Tags: map[string]string{tag: tv}}
		w, err := encode(m, fact{etag: tv, parts: 3, modified: time.Unix(5, 6)}, ample)
		if err != nil {
			t.Fatal(err)
		}
		if kind == "" {
			w.contentType = "made/up"
		}
		back, fa := decode(w)
		if d := cmp.Diff(m, back); d != "" || fa.etag != tv || fa.parts != 3 || !fa.modified.Equal(time.Unix(5, 6)) {
			t.Errorf("%+v: %s", fa, d)
		}
	})
}

// FuzzWords reads what others may have written under our names.
func FuzzWords(f *testing.F) {
	f.Add("e30", "")
	f.Add("eyJuIjp0cnVlfQ", "x")
	f.Add("!", "e30")
	f.Fuzz(func(t *testing.T, zero, one string) {
		m, _ := decode(words{contentType: "a/b", user: map[string]string{"polder-0": zero, "polder-1": one, "theirs": "x"}})
		if m.User["theirs"] == "" {
			t.Error("others' metadata was lost")
		}
	})
}

// FuzzAnswer reads answers of servers that may be any.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`<Error><Code>SlowDown</Code><Message>later</Message></Error>`))
	f.Add([]byte(`<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a%2Fb</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>"x"</ETag><Size>3</Size></Contents></ListBucketResult>`))
	f.Add([]byte(`<ListVersionsResult><DeleteMarker><Key>k</Key><VersionId>1</VersionId><IsLatest>true</IsLatest></DeleteMarker></ListVersionsResult>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var doc struct {
			Entries []listed `xml:",any"`
		}
		if parse(raw, &doc, 200) != nil {
			return
		}
		for _, l := range doc.Entries {
			if e := l.entry(l.Key); e.key != l.Key {
				t.Errorf("%+v", e)
			}
		}
	})
}

// FuzzMark reads names in a container of segments.
func FuzzMark(f *testing.F) {
	f.Add("u/a/b\x01u0123456789abcdef0123456789abcdef")
	f.Add("h/\x01")
	f.Add("u/")
	f.Fuzz(func(t *testing.T, name string) {
		u, ok := unmark(name)
		if !ok {
			return
		}
		if got := name[:2] + u.Key + separator + u.ID; got != name {
			t.Errorf("%q reads as %q", name, got)
		}
	})
}

func TestJustBefore(t *testing.T) {
	for _, s := range []string{"a", "a/", "/", "\x01", "ab\x01", "é", "\uE000", "\U00010000", "key\uFFFD"} {
		if b := justBefore(s, false); b >= s || !utf8.ValidString(b) {
			t.Errorf("%q is not before %q", b, s)
		}
	}
}
