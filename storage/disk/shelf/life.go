package shelf

import (
	"errors"
	"fmt"
	"sync/atomic"

	"polder.dev/polder/storage"
)

// ErrGone says that the shelf was taken out of its pool, and all that used it has ended.
var ErrGone = errors.New("the disk was taken out")

// life counts who uses a shelf, so that one that is taken out is closed by the last of
// them, and not under it.
type life struct {
	users atomic.Int64 // its pool counts as one
	end   func() error
	mourn func(error)
}

// Hold keeps the shelf open until Let, or returns ErrGone.
func (l *life) Hold() error {
	for {
		n := l.users.Load()
		if n <= 0 {
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrGone)
		}
		if l.users.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// Let ends a Hold.
func (l *life) Let() {
	if l.users.Add(-1) == 0 {
		if err := l.end(); err != nil {
			l.mourn(err)
		}
	}
}

// Retire closes the shelf as soon as nobody holds it.
func (s *Shelf) Retire() { s.Let() }
