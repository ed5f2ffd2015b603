package bulk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestFile writes and reads parts of every kind, in memory and past it, on file systems
// that can do that and such that cannot.
func TestFile(t *testing.T) {
	dirs := map[string]string{"of the tests": t.TempDir()}
	if d, err := os.MkdirTemp("/dev/shm", "bulk-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(d) })
		dirs["in memory"] = d
	}
	for where, dir := range dirs {
		for _, keep := range []bool{true, false} {
			testFile(t, where, filepath.Join(dir, "file"), keep)
		}
	}
}

func testFile(t *testing.T, where, name string, keep bool) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []byte("what was there")
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	w := NewFile(f, keep)
	for _, size := range []int{0, 1, pastBytes - 1, pastBytes, 3*pastBytes + 1, beginBytes + 5, 2, partBytes} {
		b := bytesOf(size)
		want = append(want, b...)
		if n, err := w.Write(b); n != size || err != nil {
			t.Errorf("%s, %v: %d of %d bytes are written: %v", where, keep, n, size, err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s, %v: %d of %d bytes are there, or others: %v", where, keep, len(got), len(want), err)
	}
	for _, from := range []int64{0, 1, pastBytes + 3, int64(len(want)) - 1, int64(len(want))} {
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		n, err := Copy(NewFile(f, keep), &got)
		if err != nil || n != int64(got.Len()) || !bytes.Equal(got.Bytes(), want[from:]) {
			t.Errorf("%s, %v: from %d on %d of %d bytes are read, or others: %v", where, keep, from, got.Len(), int64(len(want))-from, err)
		}
	}
}

// TestReadAt reads what is there, past memory or from it, and says where it ends.
func TestReadAt(t *testing.T) {
	want := bytesOf(3*pastBytes + 7)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 1, pastBytes, 2*pastBytes + 8, len(want) - 1, len(want), len(want) + 1} {
		for _, n := range []int{0, 1, pastBytes - 1, pastBytes, 2*pastBytes + 1, len(want) + 1} {
			got := make([]byte, n)
			m, err := ReadAt(f, got, int64(off))
			there := want[min(off, len(want)):min(off+n, len(want))]
			if short := off+n > len(want) && n > 0; !bytes.Equal(got[:m], there) || short != errors.Is(err, io.EOF) || !short && err != nil {
				t.Errorf("%d bytes from %d on: %d of %d, %v", n, off, m, len(there), err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := ReadAt(f, make([]byte, partBytes), 0); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("%d bytes of a closed file are read: %v", n, err)
	}
}

// TestAFileThatCannot says why.
func TestAFileThatCannot(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, partBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewFile(f, false).Write(make([]byte, partBytes)); !errors.As(err, new(*os.PathError)) {
		t.Errorf("a file that is open for reading is written: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := NewFile(f, false).Read(make([]byte, partBytes)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%d bytes of a closed file are read: %v", n, err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no disk that is always full")
	}
	defer full.Close()
	for _, keep := range []bool{true, false} {
		if _, err := NewFile(full, keep).Write(make([]byte, partBytes)); err == nil {
			t.Error("a disk that is full takes more")
		}
	}
}
