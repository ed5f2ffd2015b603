package swift

import (
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

func TestNegotiate(t *testing.T) {
	types := []string{"text/plain", "application/json", "application/xml", "text/xml"}
	for in, want := range map[string]string{
		"": "text/plain", "*/*": "text/plain", "application/json": "application/json", "application/*": "application/json", "text/*": "text/plain",
		"text/plain;q=0.1, application/xml": "application/xml", "*/*,application/xml": "application/xml", "text/xml": "text/xml",
		"image/png": "", "application/json;q=0": "", "application/json;charset=utf-8": "application/json",
		"application/xml,application/json": "application/xml", "TEXT/PLAIN": "text/plain",
	} {
		if got, err := negotiate(in, types); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"text", "text/", "/plain", "a b/c", "text/plain;q=x", "text/plain;q=2", ";;;", "*/plain"} {
		if got, err := negotiate(in, types); err == nil {
			t.Errorf("%q is taken, as %q", in, got)
		}
	}
}

func TestSpansOf(t *testing.T) {
	for in, want := range map[string][]span{
		"bytes=0-0": {{0, 1}}, "bytes=2-": {{2, 8}}, "bytes=-3": {{7, 3}}, "bytes=5-100": {{5, 5}}, "bytes=0-1,4-5": {{0, 2}, {4, 2}},
		"bytes=0-1,90-": {{0, 2}}, "bytes=": nil, "bytes=x": nil, "bytes=3-2": nil, "items=0-1": nil, "bytes=1-2,x": nil, "bytes=-99": {{0, 10}},
		"BYTES = 0 -  1": {{0, 2}}, "bytes=8-99999999999999999999": {{8, 2}},
	} {
		got, err := spansOf(in, 10)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: %v, want %v", in, got, want)
			}
		}
	}
	for _, in := range []string{"bytes=10-", "bytes=-0", "bytes=" + strings.Repeat("0-0,", 60) + "1-1", "bytes=0-5,1-5,2-5,3-5"} {
		if got, err := spansOf(in, 10); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestGuessType(t *testing.T) {
	for in, want := range map[string]string{
		"a.txt": "text/plain", "a.WAV": "audio/x-wav", "a.zip": "application/zip", "a.tar.gz": "application/x-tar", "a.gz": "application/octet-stream",
		"a": "application/octet-stream", "d.txt/a": "application/octet-stream", "a.unheard": "application/octet-stream", "a.html": "text/html",
	} {
		if got := guessType(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

func TestVersionOf(t *testing.T) {
	for _, id := range []string{"0000000000000000", "0000000000000001", "00000000000186a0", "0000ffffffffffff", storage.NullVersion} {
		if got, ok := versionOf(shownVersion(id)); !ok || got != id {
			t.Errorf("%s is shown as %s and read as %s", id, shownVersion(id), got)
		}
	}
	for _, in := range []string{"", "x", "1.x", "1.123456", "-1.00000", "1e9", "99999999999999999999.0"} {
		if got, ok := versionOf(in); ok {
			t.Errorf("%q is taken, as %s", in, got)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/plain;q=0.5, */*")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := negotiate(s, []string{"text/plain", "application/json"})
		if err != nil && got != "" {
			t.Errorf("%q: %q and %v", s, got, err)
		}
	})
}

func FuzzSpans(f *testing.F) {
	f.Add("bytes=0-1,-5", int64(10))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			return
		}
		list, err := spansOf(s, size)
		for _, p := range list {
			if err != nil || p.off < 0 || p.n <= 0 || p.off+p.n > size {
				t.Errorf("%q of %d: %v, %v", s, size, list, err)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`[{"path":"/c/o","etag":"x","size_bytes":1,"range":"0-1"},{"data":"YQ=="}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := readManifest(b, "/c/self")
		for _, e := range list {
			if err == nil && (e.data == nil) != (e.path != "") {
				t.Errorf("%s: %+v", b, e)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("a=b&c&d=%zz;e")
	f.Fuzz(func(t *testing.T, s string) {
		if q := parseQuery(s); len(q) > paramsMax {
			t.Errorf("%d parameters", len(q))
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("1587416384.00000")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := versionOf(s); ok && id != storage.NullVersion && len(id) != 16 {
			t.Errorf("%q becomes %q", s, id)
		}
	})
}

func FuzzAccountACL(f *testing.F) {
	f.Add(`{"admin":["a:b"],"read-only":[]}`)
	f.Fuzz(func(t *testing.T, s string) {
		clean, err := cleanAccountACL(s)
		if err != nil || clean == "" {
			return
		}
		if again, err := cleanAccountACL(clean); err != nil || again != clean {
			t.Errorf("%q becomes %q, then %q, %v", s, clean, again, err)
		}
	})
}
