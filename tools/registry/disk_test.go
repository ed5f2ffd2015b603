package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

func TestMain(m *testing.M) {
	registerDisk()
	os.Exit(m.Run())
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
	if _, err := d.Writer(t.Context(), "/a/b/c", false); err == nil {
		t.Error("below a file another is written")
	}
}
