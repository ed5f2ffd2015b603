package nvidia

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// dumps is where outputs and copies of real machines lie, if they do. They are
// others' and not part of this repository; their SOURCES.md says whose.
const dumps = "../../../shared/data/devices"

func saved(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dumps, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("there is no %s beside the repository", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// onDump discovers on a copy of a machine, as discovery opens it.
func onDump(t *testing.T, name string) ([]device.Device, error) {
	t.Helper()
	data := strings.NewReader(string(saved(t, name)))
	var r io.Reader = bzip2.NewReader(data)
	if strings.HasSuffix(name, ".gz") {
		var err error
		if r, err = gzip.NewReader(data); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	unpack(t, root, tar.NewReader(r))
	h := &device.Host{FS: root.FS()}
	if h.Functions, err = pci.Walk(h.FS); err != nil {
		t.Fatal(err)
	}
	return New().Discover(t.Context(), h)
}

// unpack writes files, directories and links below root, and nothing outside of it.
func unpack(t *testing.T, root *os.Root, archive *tar.Reader) {
	t.Helper()
	for {
		e, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Clean(e.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		switch e.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			err = root.Symlink(e.Linkname, name)
		case tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(io.LimitReader(archive, 4<<20)); err == nil {
				err = root.WriteFile(name, b, 0o644)
			}
		}
		if err != nil {
			t.Fatalf("unpacking %s: %v", e.Name, err)
		}
	}
}
