package devicetest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// dumps is where captures of real machines lie, if they do, as seen from a room below
// device: they are others' and not part of this repository. Their SOURCES.md says
// whose.
const dumps = "../../../shared/data/devices"

// dumpFileBytesMax bounds a file of a dump, as device.Host bounds what it reads.
const dumpFileBytesMax = 4 << 20

// Saved reads a capture. Where there is none, the test is skipped.
func Saved(t testing.TB, name string) []byte {
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

// Samples are the names of captures that match a pattern, for [Saved].
func Samples(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := fs.Glob(os.DirFS(dumps), pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Skipf("there is no %s beside the repository", pattern)
	}
	return names
}

// Dump unpacks a copy of a machine, a tar archive, into a new directory and opens it
// like discovery does: as a root out of which no link leads. keep says which files
// are unpacked, by their path on the machine; nil keeps all.
func Dump(t testing.TB, name string, keep func(file string) bool) fs.FS {
	t.Helper()
	return Unpack(t, name, only(keep))
}

// Load is Dump into memory, for a few files that no link leads to.
func Load(t testing.TB, name string, keep func(file string) bool) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	unpack(t, name, only(keep), func(file string, e *tar.Header, data []byte) error {
		switch e.Typeflag {
		case tar.TypeSymlink:
			files[file] = &fstest.MapFile{Data: []byte(e.Linkname), Mode: fs.ModeSymlink}
		case tar.TypeReg:
			files[file] = &fstest.MapFile{Data: data}
		}
		return nil
	})
	return files
}

// Unpack is Dump for archives that are a part of a machine: place returns the path on
// the machine of a file in the archive, or "" to leave it out.
func Unpack(t testing.TB, name string, place func(file string) string) fs.FS {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	unpack(t, name, place, into(root))
	return root.FS()
}

// into makes files, directories and links below root, and nothing outside of it.
func into(root *os.Root) func(string, *tar.Header, []byte) error {
	return func(file string, e *tar.Header, data []byte) error {
		if err := root.MkdirAll(path.Dir(file), 0o755); err != nil {
			return err
		}
		switch e.Typeflag {
		case tar.TypeDir:
			return root.MkdirAll(file, 0o755)
		case tar.TypeSymlink:
			return root.Symlink(e.Linkname, file)
		case tar.TypeReg:
			return root.WriteFile(file, data, 0o644)
		}
		return nil
	}
}

// only keeps some files of an archive, by their path on the machine: some archives have
// a directory around it.
func only(keep func(string) bool) func(string) string {
	return func(file string) string {
		top, rest, _ := strings.Cut(file, "/")
		if !slices.Contains([]string{"sys", "proc", "dev", "run"}, top) {
			file = rest
		}
		if keep != nil && !keep(file) {
			return ""
		}
		return file
	}
}

// unpack puts what place has a path for.
func unpack(t testing.TB, name string, place func(string) string, put func(string, *tar.Header, []byte) error) {
	t.Helper()
	data := bytes.NewReader(Saved(t, name))
	var r io.Reader = bzip2.NewReader(data)
	if strings.HasSuffix(name, ".gz") {
		var err error
		if r, err = gzip.NewReader(data); err != nil {
			t.Fatalf("unpacking %s: %v", name, err)
		}
	}
	if n, err := each(tar.NewReader(r), place, put); n == 0 || err != nil {
		t.Fatalf("unpacking %s: %d files are of use, error %v", name, n, err)
	}
}

// each counts what it puts.
func each(archive *tar.Reader, place func(string) string, put func(string, *tar.Header, []byte) error) (n int, err error) {
	for {
		e, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		file := place(path.Clean(e.Name))
		if file == "" {
			continue
		}
		var data []byte
		if e.Typeflag == tar.TypeReg {
			if data, err = io.ReadAll(io.LimitReader(archive, dumpFileBytesMax)); err != nil {
				return n, err
			}
		}
		if err := put(file, e, data); err != nil {
			return n, err
		}
		n++
	}
}

// Copy is a copy of a machine as adapters see it.
func Copy(t testing.TB, files fs.FS) *device.Host {
	t.Helper()
	functions, err := pci.Walk(files)
	if err != nil {
		t.Fatal(err)
	}
	return &device.Host{FS: files, Functions: functions}
}

// Ttar reads a capture in the archive format ttar, of which it takes what is below a
// directory of the machine: "Path: NAME", then "SymlinkTo: NAME" or "Lines: N" and the
// lines.
func Ttar(t testing.TB, name, dir string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	lines := bufio.NewScanner(bytes.NewReader(Saved(t, name)))
	lines.Buffer(nil, 1<<20)
	file := ""
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		wanted := strings.HasPrefix(file, dir+"/")
		switch {
		case key == "Path":
			file = strings.TrimPrefix(value, "fixtures/")
		case key == "SymlinkTo" && wanted:
			files[file] = &fstest.MapFile{Data: []byte(value), Mode: fs.ModeSymlink}
		case key == "Lines":
			count, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%s: %s has %q lines", name, file, value)
			}
			var b []byte
			for ; count > 0 && lines.Scan(); count-- {
				b = append(append(b, lines.Bytes()...), '\n')
			}
			if count > 0 {
				t.Fatalf("%s: %s lacks %d lines", name, file, count)
			}
			if wanted {
				files[file] = &fstest.MapFile{Data: b}
			}
		}
	}
	if err := lines.Err(); err != nil || len(files) == 0 {
		t.Fatalf("%s has %d files below %s, error %v", name, len(files), dir, err)
	}
	return files
}
