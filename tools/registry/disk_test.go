package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

func TestMain(m *testing.M) {
	registerDisk()
	os.Exit(m.Run())
}

// failingWriter fails after some bytes.
type failingWriter struct {
	driver.FileWriter
	left int
}

var errFull = errors.New("the disk is full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func (w *failingWriter) Commit(context.Context) error { return nil }
func (w *failingWriter) Close() error                 { return nil }

// TestADiskThatFails: what could not be written is never committed, however much of it
// was taken.
func TestADiskThatFails(t *testing.T) {
	for _, size := range []int{10, firstBytes, partBytes, 10 * partBytes} {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		w := &diskWriter{FileWriter: &failingWriter{left: size - 1}, file: f}
		for range size {
			if _, err := w.Write([]byte{1}); err != nil {
				if !errors.Is(err, errFull) {
					t.Errorf("%d bytes: %v", size, err)
				}
				break
			}
		}
		if err := w.Commit(t.Context()); !errors.Is(err, errFull) {
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
	for i, size := range []int{1, 100_000, writebackBytes, 3*writebackBytes + 7, 0, 12} {
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
	if _, err := w.Write(make([]byte, 3*partBytes)); err != nil || w.Size() != 3*partBytes {
		t.Errorf("%d bytes, %v", w.Size(), err)
	}
	if err := errors.Join(w.Cancel(t.Context()), w.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Logf("giving up: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a", "given-up")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was given up is there: %v", err)
	}
	if _, err := d.Writer(t.Context(), "/a/b/c", false); err == nil {
		t.Error("below a file another is written")
	}
}
