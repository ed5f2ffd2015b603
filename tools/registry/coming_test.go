package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"

	"polder.dev/polder/storage"
)

// sharing is a store that takes files over, and a driver on it.
func sharing(t *testing.T) (*store, *objects) {
	t.Helper()
	s := newStore(t)
	s.shares, s.dir = true, t.TempDir()
	return s, s.open(t, s.dir)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(b) // never fails
	return b
}

// piece writes one piece of an upload, as a request does, and returns what closes it.
func piece(t *testing.T, d driver.StorageDriver, p string, more bool, b []byte) func() {
	t.Helper()
	w, err := d.Writer(t.Context(), p, more)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

const upload1, blob1 = "/r/a/_uploads/1/data", "/b/x/data"

// becomes moves the upload, of which so many were taken over before, and says what became
// of it.
func becomes(t *testing.T, s *store, d *objects, want []byte, taken int64) {
	t.Helper()
	if err := d.Move(t.Context(), upload1, blob1); err != nil {
		t.Fatal(err)
	}
	if n := s.taken.Load(); n != taken {
		t.Errorf("%d files were taken over, and not %d", n, taken)
	}
	if got, err := d.GetContent(t.Context(), blob1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, or others: %v", len(got), len(want), err)
	}
	if _, err := d.Stat(t.Context(), upload1); !isMissing(err) {
		t.Errorf("the upload is there still: %v", err)
	}
}

// TestUploadIsHandedOver, however many requests it came by.
func TestUploadIsHandedOver(t *testing.T) {
	s, d := sharing(t)
	want := random(3*handoverBytesMin + 7)
	piece(t, d, upload1, false, nil)()
	piece(t, d, upload1, true, want[:handoverBytesMin+5])()
	piece(t, d, upload1, true, want[handoverBytesMin+5:])()
	piece(t, d, upload1, true, nil)()
	becomes(t, s, d, want, 1)
	if n := len(d.coming.all); n > 0 {
		t.Errorf("%d uploads are remembered that are gone", n)
	}
	piece(t, d, upload1, false, want[:10])() // too small
	becomes(t, s, d, want[:10], 1)
}

// TestUploadIsSent where its checksums are not known, or may be others': one that was begun
// before a start, that was written beside, or whose writer goes on.
func TestUploadIsSent(t *testing.T) {
	want := random(2 * handoverBytesMin)
	half := want[:handoverBytesMin]
	t.Run("after a start", func(t *testing.T) {
		s, before := sharing(t)
		piece(t, before, upload1, false, half)()
		d := s.open(t, s.dir)
		piece(t, d, upload1, true, want[len(half):])()
		becomes(t, s, d, want, 0)
	})
	t.Run("written beside", func(t *testing.T) {
		s, d := sharing(t)
		piece(t, d.files, upload1, false, half)()
		piece(t, d, upload1, true, want[len(half):])()
		becomes(t, s, d, want, 0)
	})
	t.Run("while somebody may write", func(t *testing.T) {
		s, d := sharing(t)
		piece(t, d, upload1, false, want)()
		end := piece(t, d, upload1, true, nil)
		becomes(t, s, d, want, 0)
		end()
	})
	t.Run("two wrote", func(t *testing.T) {
		s, d := sharing(t)
		first := piece(t, d, upload1, false, half)
		second := piece(t, d, upload1, false, want)
		first()
		second()
		becomes(t, s, d, want, 0)
	})
	t.Run("to a store that takes none", func(t *testing.T) {
		s, d := sharing(t)
		s.shares = false
		piece(t, d, upload1, false, want)()
		becomes(t, s, d, want, 0)
	})
}

// TestNobodyWritesToWhatLeaves: it is the store's already.
func TestNobodyWritesToWhatLeaves(t *testing.T) {
	_, d := sharing(t)
	piece(t, d, upload1, false, random(handoverBytesMin))()
	sums, stay := d.coming.leave(upload1, handoverBytesMin)
	if len(sums) != handoverBytesMin/storage.HandoverBlock {
		t.Errorf("%d checksums", len(sums))
	}
	if _, err := d.Writer(t.Context(), upload1, true); !errors.Is(err, errLeaving) {
		t.Errorf("somebody writes: %v", err)
	}
	if again, _ := d.coming.leave(upload1, handoverBytesMin); again != nil {
		t.Error("it leaves twice")
	}
	stay()
	piece(t, d, upload1, true, nil)()
	if sums, _ := d.coming.leave(upload1, handoverBytesMin); sums != nil {
		t.Error("after a failure its file is trusted still")
	}
}

// TestAnswerIsLost of a store that has taken the file: it is a blob all the same.
func TestAnswerIsLost(t *testing.T) {
	s, d := sharing(t)
	want := random(handoverBytesMin)
	piece(t, d, upload1, false, want)()
	s.silent.Store(true)
	becomes(t, s, d, want, 1)
}

// TestFileIsLost with a store that fails: that is said, and no object is made of nothing.
func TestFileIsLost(t *testing.T) {
	s, d := sharing(t)
	piece(t, d, upload1, false, random(handoverBytesMin))()
	s.dir = t.TempDir()
	if err := d.Move(t.Context(), upload1, blob1); err == nil {
		t.Error("a file became an object that was not there")
	}
	if keys := s.keys(t); len(keys) > 0 {
		t.Errorf("there are objects: %v", keys)
	}
}
