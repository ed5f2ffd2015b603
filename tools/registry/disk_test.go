package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

func TestMain(m *testing.M) {
	registerDisk()
	registerObject()
	os.Exit(m.Run())
}

// tight is a disk that is full after some bytes.
type tight struct{ left int }

var errFull = errors.New("the disk is full")

func (f *tight) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// unwritten is the driver's own writer, which syncs and writes nothing.
type unwritten struct {
	driver.FileWriter
	committed bool
}

func (*unwritten) Size() int64                    { return 0 }
func (w *unwritten) Commit(context.Context) error { w.committed = true; return nil }
func (*unwritten) Close() error                   { return nil }

// TestADiskThatFails: what could not be written is never committed, however much of it
// was taken.
func TestADiskThatFails(t *testing.T) {
	for _, size := range []int{10, 32 << 10, 1 << 20, 10 << 20} {
		var synced unwritten
		w := newDiskWriter(&synced, io.NopCloser(nil), &tight{left: size - 1})
		for left := size; left > 0; left -= 1000 {
			if _, err := w.Write(make([]byte, min(left, 1000))); err != nil {
				if !errors.Is(err, errFull) {
					t.Errorf("%d bytes: %v", size, err)
				}
				break
			}
		}
		if err := w.Commit(t.Context()); !errors.Is(err, errFull) || synced.committed {
			t.Errorf("%d bytes are committed: %v", size, err)
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("%d bytes are closed: %v", size, err)
		}
	}
}

// TestTheDiskHoldsWhatWasWritten, in pieces of every kind and by a writer that goes on
// where another stopped.
func TestTheDiskHoldsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	d, err := factory.Create(t.Context(), diskDriver, map[string]any{"rootdirectory": dir})
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, size := range []int{1, 100_000, 8 << 20, 24<<20 + 7, 0, 12} {
		w, err := d.Writer(t.Context(), "/a/b", i > 0)
		if err != nil {
			t.Fatal(err)
		}
		if w.Size() != int64(len(want)) {
			t.Errorf("it goes on at %d, not %d", w.Size(), len(want))
		}
		text := bytes.Repeat([]byte{byte('a' + i)}, size)
		want = append(want, text...)
		for len(text) > 0 {
			n := min(len(text), 33_000)
			if _, err := w.Write(text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
		if err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "a", "b"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes are there, %v, want %d", len(got), err, len(want))
	}
	w, err := d.Writer(t.Context(), "/a/given-up", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); err != nil || w.Size() != 1<<20 {
		t.Errorf("%d bytes, %v", w.Size(), err)
	}
	if err := errors.Join(w.Cancel(t.Context()), w.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Logf("giving up: %v", err)
	}
	for _, offset := range []int64{0, 1, 33_000, 1 << 20, int64(len(want)) - 3, int64(len(want))} {
		r, err := d.Reader(t.Context(), "/a/b", offset)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(bufio.NewReaderSize(r, 4<<20)); err != nil || !bytes.Equal(got, want[offset:]) {
			t.Errorf("from %d on %d bytes are read, %v, want %d", offset, len(got), err, int64(len(want))-offset)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a", "given-up")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was given up is there: %v", err)
	}
	if _, err := d.Writer(t.Context(), "/a/b/c", false); err == nil {
		t.Error("below a file another is written")
	}
}
