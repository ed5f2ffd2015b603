package shelf_test

import (
	"bytes"
	"errors"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// TestLateOpen: who has found an entry, and opens its file when that is about to be
// removed, is told to look again. A file that is open stays.
func TestLateOpen(t *testing.T) {
	s, err := shelf.Open(shelf.Config{FS: &drivetest.Disk{}, ReserveBytes: 1}, "/disk", 1)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("c12345678k")
	put := func(rev uint64, body []byte) shelf.Place {
		t.Helper()
		g, err := s.Stage(int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(rev, storage.Synced, []engine.Change{{Key: key, Value: []byte("v"), Stage: g}}); err != nil {
			t.Fatal(err)
		}
		e, ok, err := s.Get(key)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return e.Place.(shelf.Place)
	}
	one := bytes.Repeat([]byte("one"), 100_000)
	old := put(1, one)
	open, err := s.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	older := old
	old = put(2, bytes.Repeat([]byte("two"), 100_000))
	put(3, bytes.Repeat([]byte("three"), 100_000))
	if err := s.Checkpoint(); err != nil { // the second waits to be removed, and the first to be closed
		t.Fatal(err)
	}
	if b, err := s.Open(old); !errors.Is(err, engine.ErrGone) {
		t.Errorf("a file that is about to be removed was opened: %v, %v", b, err)
	}
	if err := s.Reap(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(one))
	if _, err := open.ReadAt(p, 0); err != nil || !bytes.Equal(p, one) {
		t.Errorf("the open file cannot be read: %v", err)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(older); !errors.Is(err, engine.ErrGone) {
		t.Errorf("a file whose last reader has gone was opened: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
