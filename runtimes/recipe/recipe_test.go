package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryRecipeOpens(t *testing.T) {
	if len(Names()) == 0 {
		t.Fatal("there is no recipe")
	}
	for _, n := range Names() {
		if _, err := Open(n); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open("../x"); err == nil || !strings.Contains(err.Error(), "pytorch-cpu") {
		t.Errorf("an unknown recipe's error names those there are; got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "{framework: f, package: ab, software: cpu, suite: bookworm, packages: [ab]}"
	if _, err := parse("x", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"{", "{framework: f}", strings.Replace(good, "}", ", remove: [/usr/../etc]}", 1), strings.Replace(good, "}", ", remove: ['/usr/$(x)']}", 1),
		strings.Replace(good, "}", ", remove: ['/']}", 1), strings.Replace(good, "package: ab", "package: ''", 1), strings.Replace(good, "package: ab", "package: ab, version: '1'", 1),
		strings.Replace(good, "package: ab", "version: '1 2'", 1), strings.Replace(good, "}", ", programs: [../x]}", 1), strings.Replace(good, "}", ", programs: ['$x']}", 1), strings.Replace(good, "[ab]", "[]", 1),
		strings.Replace(good, "[ab]", "['-x']", 1), strings.Replace(good, "}", ", exclude: ['/usr/share/doc/* --x']}", 1), strings.Replace(good, "}", ", env: {'A=B': c}}", 1), strings.Replace(good, "[ab]", "['ab; rm']", 1), strings.Replace(good, "suite: bookworm", "suite: ../x", 1), strings.Replace(good, "{", "{oops: 1, ", 1),
	} {
		if _, err := parse("x", []byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

const status = `Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1.2)
Version: 1:1.2.13.dfsg-1

Package: gone
Status: deinstall ok config-files
Version: 1

Package: python3-torch
Status: install ok installed
Architecture: amd64
Version: 1.13.1+dfsg-4
Description: a: b
 Version: 9
`

func TestStatusLockAndDrift(t *testing.T) {
	got := parseStatus([]byte(status))
	want := []Package{{"python3-torch", "1.13.1+dfsg-4", "amd64", ""}, {"zlib1g", "1:1.2.13.dfsg-1", "amd64", "zlib"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	r := &Recipe{Package: "python3-torch"}
	if v := r.Upstream(got); v != "1.13.1" {
		t.Errorf("upstream version %s", v)
	}
	lock, err := parseLock(FormatLock(got))
	if err != nil {
		t.Fatal(err)
	}
	r.Lock = lock
	if d := r.Drift(got); d != nil {
		t.Errorf("drift from itself: %v", d)
	}
	r.Lock = map[string]string{"zlib1g": "1:1.2.12", "old": "1"}
	if d := cmp.Diff([]string{"python3-torch 1.13.1+dfsg-4 is new", "zlib1g 1:1.2.13.dfsg-1 instead of 1:1.2.12", "old is gone"}, r.Drift(got)); d != "" {
		t.Error(d)
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte("a=1\n# x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lock, err := parseLock(b)
		if err != nil {
			return
		}
		for name, version := range lock {
			if strings.ContainsAny(name+version, "\n ") {
				t.Errorf("%q=%q would break apt's preferences", name, version)
			}
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(status))
	f.Add([]byte("Package: a\r\nStatus: install ok installed\r\n\r\n"))
	f.Add([]byte("Package: a\n\nStatus: install ok installed"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := parseStatus(b)
		for i, p := range got {
			if p.Name == "" || strings.ContainsAny(p.Name+p.Version, "\n") {
				t.Errorf("%+v is no package", p)
			}
			if i > 0 && p.Name < got[i-1].Name {
				t.Errorf("%s comes after %s", p.Name, got[i-1].Name)
			}
		}
	})
}

// FuzzParse: of what a recipe names, the shell and apt can make nothing else.
func FuzzParse(f *testing.F) {
	f.Add([]byte("{framework: f, package: ab, software: cpu, suite: bookworm, packages: [ab], remove: [/usr/lib/*/x]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse("x", b)
		if err != nil {
			return
		}
		for _, s := range slices.Concat(r.Packages, r.Remove, r.Programs, []string{r.Suite, r.Package}) {
			if strings.ContainsAny(s, " \t\n;|&$`'\"\\()<>,") {
				t.Errorf("%q was taken", s)
			}
		}
	})
}

func TestParseLockRefuses(t *testing.T) {
	for _, text := range []string{"a", "ab=", "=1", "AB=1", "ab=1 2", "ab=1\ncd"} {
		if _, err := parseLock([]byte(text)); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%q: error %v must name the line", text, err)
		}
	}
}

func TestBring(t *testing.T) {
	r, err := parse("x", []byte("{framework: f, version: 1.2.3, software: cpu, suite: bookworm, packages: [ab], programs: [one, two]}"))
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Upstream(nil); v != "1.2.3" {
		t.Errorf("version is %s", v)
	}
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put("one", "1")
	if _, err := r.Bring(dir); err == nil || !strings.Contains(err.Error(), "recipe x needs two, which is not in "+dir) {
		t.Errorf("one is missing: %v", err)
	}
	put("two", "2")
	got, err := r.Bring(dir)
	want := []Program{{"one", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}, {"two", "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	before := r.Digest()
	put("two", "another")
	if _, err := r.Bring(dir); err != nil || r.Digest() == before {
		t.Errorf("the digest does not cover the programs: %s, %v", r.Digest(), err)
	}
}
