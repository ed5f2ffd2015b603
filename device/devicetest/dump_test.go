package devicetest

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// archive packs files, or links where they have a target.
func archive(t *testing.T, files [][3]string) *tar.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		e := &tar.Header{Name: f[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f[1]))}
		if f[2] != "" {
			e.Typeflag, e.Linkname = tar.TypeSymlink, f[2]
		}
		if err := w.WriteHeader(e); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return tar.NewReader(&b)
}

func TestUnpackStaysInside(t *testing.T) {
	for name, files := range map[string][][3]string{
		"a path that leads out": {{"sys/../../out", "x", ""}},
		"a link that leads out": {{"sys/up", "", "../.."}, {"sys/up/out", "x", ""}},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "machine")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := each(archive(t, files), func(s string) string { return s }, into(root)); err == nil {
			t.Errorf("%s: it is unpacked", name)
		}
		if _, err := os.Stat(filepath.Join(parent, "out")); err == nil {
			t.Errorf("%s: a file was written outside", name)
		}
	}
}

func TestUnpackKeepsWhatItIsAskedFor(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	n, err := each(archive(t, [][3]string{
		{"host/proc/cpuinfo", "one", ""}, {"sys/class/x", "", "../devices/x"}, {"host/sys/devices/x/vendor", "two", ""}, {"host/proc/left", "out", ""},
	}), only(func(file string) bool { return file != "proc/left" }), into(root))
	if n != 3 || err != nil {
		t.Fatalf("%d files, error %v", n, err)
	}
	for name, want := range map[string]string{"proc/cpuinfo": "one", "sys/class/x/vendor": "two"} {
		if b, err := fs.ReadFile(root.FS(), name); string(b) != want || err != nil {
			t.Errorf("%s holds %q, error %v", name, b, err)
		}
	}
	if _, err := fs.Stat(root.FS(), "proc/left"); err == nil {
		t.Error("a file is there that was not to be kept")
	}
}
