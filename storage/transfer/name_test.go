package transfer

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Address{
		"s3://b":         {Bucket: "b"},
		"s3://b/":        {Bucket: "b"},
		"s3://b/k":       {Bucket: "b", Key: "k"},
		"s3://b//k":      {Bucket: "b", Key: "/k"},
		"s3://b/a/b/ c/": {Bucket: "b", Key: "a/b/ c/"},
		"-":              {Path: "-"},
		"a b":            {Path: "a b"},
		"./s3:/x":        {Path: "./s3:/x"},
	} {
		got, err := Parse(in)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("Parse(%q): %v (-want +got):\n%s", in, err, d)
		}
	}
	for in, want := range map[string]string{
		"":                                    "not empty",
		"s3://":                               "names no bucket",
		"s3:///k":                             "names no bucket",
		"s3:/b/k":                             "write s3://",
		"S3://b/k":                            "write s3://",
		"a\x00b":                              "zero byte",
		"s3://b/a\x00":                        "zero byte",
		"s3://b/\xff":                         "UTF-8",
		"s3://b/" + strings.Repeat("k", 1025): "at most 1024",
	} {
		if got, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v; want an error that says %q", in, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "-", "s3://b/k", "s3:x", "s3://b/\x1b[2J"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		said := a.String()
		if err != nil {
			said = err.Error()
		} else if a.Remote() == (a.Path != "") {
			t.Errorf("%q is both, or neither: %+v", s, a)
		}
		if !utf8.ValidString(said) || strings.ContainsFunc(said, unicode.IsControl) {
			t.Errorf("%q is shown as %q", s, said)
		}
	})
}

// TestKeysThatLeaveTheTree are refused, and so are those that are another's place.
func TestKeysThatLeaveTheTree(t *testing.T) {
	for _, key := range []string{
		"", "/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "a/./b", "a//b", "a/", "x\x00y", "/", "//x", "a/.x" + partialEnd, partialEnd,
	} {
		if got, err := localName(key); err == nil {
			t.Errorf("key %q would lie at %s", key, got)
		}
	}
	for _, key := range []string{"a", "a/b", "..a", "a..", "...", "a/...b/c", " ", "a\\..\\b", "ü/😀", "-", "~", "$HOME", "con"} {
		if got, err := localName(key); err != nil || got != key {
			t.Errorf("key %q: %q, %v", key, got, err)
		}
	}
}

func FuzzLocalName(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "a/../b", "/a", "a\x00", "a/./b", "C:\\x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		name, err := localName(key)
		if err != nil {
			return
		}
		for _, e := range strings.Split(name, "/") {
			if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "\x00") {
				t.Errorf("key %q would lie at %q", key, name)
			}
		}
	})
}

func TestNamesThatCollide(t *testing.T) {
	for name, tc := range map[string]struct {
		fold bool
		keys []string
		want []string // refused
	}{
		"none":                             {keys: []string{"a", "a-b", "b/c", "b/d"}},
		"a file with something below":      {keys: []string{"a", "a/b", "a/c/d", "b"}, want: []string{"a/b", "a/c/d"}},
		"with others between":              {keys: []string{"a", "a!", "a-b", "a.txt", "a/b"}, want: []string{"a/b"}},
		"deeper":                           {keys: []string{"x/a", "x/a/b", "x/ab"}, want: []string{"x/a/b"}},
		"what was refused is in no way":    {keys: []string{"a/", "a/b"}, want: []string{"a/"}},
		"cases that are told apart":        {keys: []string{"README", "readme"}},
		"cases that are not":               {fold: true, keys: []string{"README", "ReadMe", "a/B", "a/b", "b"}, want: []string{"ReadMe", "a/b"}},
		"other scripts have cases as well": {fold: true, keys: []string{"STRASSE", "Ärger", "ärger"}, want: []string{"ärger"}},
	} {
		n := newNames(tc.fold)
		var refused []string
		for _, k := range tc.keys {
			if _, err := n.add(k); err != nil {
				refused = append(refused, k)
				if !strings.Contains(err.Error(), k) {
					t.Errorf("%s: error %v must name %s", name, err, k)
				}
			}
		}
		if d := cmp.Diff(tc.want, refused); d != "" {
			t.Errorf("%s: refused (-want +got):\n%s", name, d)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, tm := range []time.Time{time.Unix(0, 0), time.Unix(1354040105, 123456789), time.Unix(1e9, 1), time.Unix(-5, 0), time.Unix(1<<33, 999999999)} {
		if got, ok := parseTime(formatTime(tm)); !ok || !got.Equal(tm) {
			t.Errorf("%v is written %s and read as %v", tm, formatTime(tm), got)
		}
	}
	if got := formatTime(time.Unix(1354040105, 123456789)); got != "1354040105.123456789" {
		t.Errorf("rclone would not know %s", got)
	}
	for in, want := range map[string]int64{"5": 5e9, "5.5": 5.5e9, "5.": 5e9, "1.0000000019": 1_000_000_001, "7.123456789123": 7_123_456_789} {
		if got, ok := parseTime(in); !ok || got.UnixNano() != want {
			t.Errorf("parseTime(%q) = %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "x", ".5", "1.x", "1.-5", "1.123456789x", "1e9", "99999999999999999", "1.5.5", "0x10"} {
		if got, ok := parseTime(in); ok {
			t.Errorf("parseTime(%q) = %v", in, got)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"1354040105.123456789", "-1", "1.", "9999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tm, ok := parseTime(s)
		if ok && (tm.Unix() > 1<<38 || tm.Unix() < -(1<<38)) {
			t.Errorf("%q is %v", s, tm)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a b/ü": "a b/ü", "\x1b[2J": `"\x1b[2J"`, "a\nb": `"a\nb"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`, "a\u00a0b": `"a\u00a0b"`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestPartSize(t *testing.T) {
	for _, tc := range []struct{ size, least, want int64 }{
		{1, 32 << 20, 32 << 20}, {32 << 30, 32 << 20, 32 << 20}, {partsMax * (32 << 20), 32 << 20, 32 << 20}, {partsMax*(32<<20) + 1, 32 << 20, 33 << 20},
		{5 << 40, 5 << 20, 525 << 20},
	} {
		got := partSize(tc.size, tc.least)
		if n := partCount(tc.size, got); got != tc.want || n < 1 || n > partsMax {
			t.Errorf("an object of %d bytes has %d parts of %d, want %d", tc.size, n, got, tc.want)
		}
	}
}
