// Package mem is a store in memory: a fake for tests that promises what the real one
// does, and the hot tier. It loses everything when the program ends, and says so
// (Volatile). It is for whoever needs a storage.Store without a disk.
package mem

import (
	"context"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// Store is a storage.Tier in memory.
type Store struct {
	*engine.Store
	l *ledger
}

var (
	_ storage.Tier  = (*Store)(nil)
	_ storage.Mover = (*Store)(nil)
)

// New makes an empty store that holds at most bytesMax of data; 0 is without bounds.
// What does not fit is refused with storage.ErrFull.
func New(bytesMax int64, now func() time.Time) *Store {
	l := newLedger(bytesMax)
	s, err := engine.New(l, now, nil)
	if err != nil {
		panic("mem: an empty ledger could not be read: " + err.Error())
	}
	return &Store{Store: s, l: l}
}

// Class is storage.Hot.
func (s *Store) Class() storage.Class { return storage.Hot }

// Volatile is true.
func (s *Store) Volatile() bool { return true }

// Room counts data only; entries take some 300 bytes each beside it.
func (s *Store) Room(context.Context) (total, free int64, err error) {
	if s.l.bytesMax == 0 {
		return 0, 0, nil
	}
	return s.l.bytesMax, max(s.l.bytesMax-s.l.bytes.Load(), 0), nil
}

// Flush does nothing: nothing here is durable.
func (s *Store) Flush() error { return nil }
