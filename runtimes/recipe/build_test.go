package recipe

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPins(t *testing.T) {
	r := &Recipe{Lock: map[string]string{"zlib1g": "1:1.2.13.dfsg-1", "libstdc++6": "12.2.0-14"}}
	const want = `Package: libstdc++6
Pin: version 12.2.0-14
Pin-Priority: 1001

Package: zlib1g
Pin: version 1:1.2.13.dfsg-1
Pin-Priority: 1001

`
	if d := cmp.Diff(want, string(r.pins())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := (&Recipe{}).pins(); len(got) != 0 {
		t.Errorf("no lock pins %q", got)
	}
}

// TestTheLockOfEachRecipeHoldsWhatItInstalls: a lock that forgot a package pins
// nothing of it.
func TestTheLockOfEachRecipeHoldsWhatItInstalls(t *testing.T) {
	for _, n := range Names() {
		r, err := Open(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Lock) == 0 {
			continue // none for this architecture
		}
		for _, p := range append([]string{r.Package}, r.Packages...) {
			if p != "" && r.Lock[p] == "" {
				t.Errorf("the lock of %s has no %s", n, p)
			}
		}
	}
}

func TestDrift(t *testing.T) {
	r := &Recipe{Lock: map[string]string{"a": "1", "b": "2", "c": "3"}}
	for name, tc := range map[string]struct {
		have []Package
		want []string
	}{
		"the same":         {[]Package{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}, {Name: "c", Version: "3"}}, nil},
		"another version":  {[]Package{{Name: "a", Version: "2"}, {Name: "b", Version: "2"}, {Name: "c", Version: "3"}}, []string{"a 2 instead of 1"}},
		"one more":         {[]Package{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}, {Name: "c", Version: "3"}, {Name: "d", Version: "4"}}, []string{"d 4 is new"}},
		"two gone, sorted": {[]Package{{Name: "b", Version: "2"}}, []string{"a is gone", "c is gone"}},
	} {
		if d := cmp.Diff(tc.want, r.Drift(tc.have)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if got := (&Recipe{}).Drift([]Package{{Name: "a"}}); got != nil {
		t.Errorf("without a lock there is drift: %v", got)
	}
	if len(r.Lock) != 3 {
		t.Error("Drift changed the lock")
	}
}

func TestUpstream(t *testing.T) {
	for version, want := range map[string]string{"1.13.1+dfsg-4": "1.13.1", "2:1.0-3": "1.0", "3.0": "3.0", "1.0~rc1-1": "1.0", "": "", "-1": "-1"} {
		r := &Recipe{Package: "p"}
		if got := r.Upstream([]Package{{Name: "q", Version: "9"}, {Name: "p", Version: version}}); got != want {
			t.Errorf("of %q it is %q, want %q", version, got, want)
		}
	}
	if got := (&Recipe{Package: "p"}).Upstream(nil); got != "" {
		t.Errorf("of a package that is not there it is %q", got)
	}
}

func TestReadOne(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, text string }{{"./etc/x", "no"}, {"./var/lib/dpkg/status", "yes"}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readOne(path, "var/lib/dpkg/status"); err != nil || string(got) != "yes" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readOne(path, "none"); err == nil || !strings.Contains(err.Error(), "none is not in") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// fake puts a program called mmdebstrap first on the path.
func fake(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mmdebstrap"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestMmdebstrapSaysWhatItDoesAndWhyItFailed(t *testing.T) {
	fake(t, `echo "I: installing packages..."; echo "$SOURCE_DATE_EPOCH" >&2; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "line $i"; done; exit 3`)
	var said []string
	err := mmdebstrap(t.Context(), nil, "", func(s string) { said = append(said, s) })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "line 12") || strings.Contains(err.Error(), "1686355200") {
		t.Errorf("error %v must have the exit code and the last %d lines", err, lastLines)
	}
	if d := cmp.Diff([]string{"installing packages"}, said); d != "" {
		t.Error(d)
	}
}

// TestBuild runs all of Build but mmdebstrap itself, which is asked what it was
// given.
// TestMountsAreMmdebstrapsOwn: one that is killed leaves none behind.
func TestMountsAreMmdebstrapsOwn(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("mounts need root, and Linux")
	}
	dir := t.TempDir()
	fake(t, "mount -t tmpfs none '"+dir+"' && echo I: mounted; grep -q '"+dir+"' /proc/self/mounts && kill -9 $$")
	var said []string
	err := mmdebstrap(t.Context(), nil, "", func(s string) { said = append(said, s) })
	if err == nil || !strings.Contains(err.Error(), "killed") || len(said) != 1 {
		t.Errorf("%v, after it said %q", err, said)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), dir) {
		t.Errorf("its mounts are seen by others: %v", err)
	}
}

func TestBuild(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("building needs root")
	}
	dir := t.TempDir()
	seen := filepath.Join(t.TempDir(), "args")
	fake(t, `printf '%s\n' "$@" >`+seen+`
mkdir -p "$TMPDIR/var/lib/dpkg"; printf 'Package: ab\nStatus: install ok installed\nVersion: 2\nArchitecture: all\n' >"$TMPDIR/var/lib/dpkg/status"
tar -C "$TMPDIR" -cf `+filepath.Join(dir, "root.tar")+` .`)
	t.Setenv("TMPDIR", t.TempDir())
	r := &Recipe{Name: "x", Suite: "bookworm", Packages: []string{"ab", "cd"}, Exclude: []string{"/usr/share/doc/*"}, Remove: []string{"/usr/lib/*/x"}, Lock: map[string]string{"ab": "2"}}
	built, err := r.Build(t.Context(), dir, Options{Mirrors: []string{"http://mirror.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Package{{Name: "ab", Version: "2", Architecture: "all"}}, built.Packages); d != "" {
		t.Error(d)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, want := range []string{"--include=ab,cd", `--customize-hook=rm -rf "$1"/usr/share/doc/*`, `--customize-hook=rm -rf "$1"/usr/lib/*/x`} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("mmdebstrap is not told %s:\n%s", want, b)
		}
	}
	if d := cmp.Diff([]string{"bookworm", built.Tar, "http://mirror.example"}, args[len(args)-3:]); d != "" {
		t.Error(d)
	}
	if cfg, err := os.ReadFile(filepath.Join(dir, "dpkg.cfg")); err != nil || !strings.Contains(string(cfg), "path-exclude=/usr/share/doc/*\n") {
		t.Errorf("dpkg's settings %q, %v", cfg, err)
	}
	if pins, err := os.ReadFile(filepath.Join(dir, "pins")); err != nil || string(pins) != string(r.pins()) {
		t.Errorf("pins %q, %v", pins, err)
	}
}

// A bare image has no later hook than that which follows unpacking, and is given the
// programs by a variable, whatever their directory is called.
func TestBuildBare(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("building needs root")
	}
	dir := t.TempDir()
	seen := filepath.Join(t.TempDir(), "args")
	fake(t, `printf '%s\n' "$POLDER_LIBEXEC" "$@" >`+seen+`
mkdir -p "$TMPDIR/var/lib/dpkg"; printf 'Package: ab\nStatus: install ok installed\nVersion: 2\nArchitecture: all\n' >"$TMPDIR/var/lib/dpkg/status"
tar -C "$TMPDIR" -cf `+filepath.Join(dir, "root.tar")+` .`)
	t.Setenv("TMPDIR", t.TempDir())
	libexec := filepath.Join(t.TempDir(), "it's $(here)")
	if err := os.Mkdir(libexec, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(libexec, "one"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &Recipe{Name: "x", Suite: "bookworm", Packages: []string{"ab"}, Remove: []string{"/usr/share/doc"}, Bare: true, Programs: []string{"one"}}
	if _, err := r.Bring(libexec); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Build(t.Context(), dir, Options{Mirrors: []string{"http://mirror.example"}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), libexec+"\n") || strings.Contains(string(b), "--customize-hook") {
		t.Errorf("mmdebstrap is told\n%s", b)
	}
	for _, want := range []string{"--variant=extract", `--extract-hook=rm -rf "$1"/usr/share/doc`, `--extract-hook=install -D -m 0755 "$POLDER_LIBEXEC"/one "$1"/usr/libexec/polder/one`} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("mmdebstrap is not told %s:\n%s", want, b)
		}
	}
}
