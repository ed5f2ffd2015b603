package disk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// compactDead is the share of a volume that must be dead before it is compacted.
const compactDead = 0.5

// Run looks after the store until ctx ends: it syncs what was only written, removes what
// nobody needs, compacts, removes what has expired, and reads all over to find what has
// rotted. What goes wrong is logged, and tried again.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	every := func(d time.Duration, what string, f func() error) {
		wg.Go(func() {
			t := time.NewTicker(d)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				}
				if err := f(); err != nil && ctx.Err() == nil {
					s.cfg.Log.Error(what, "err", err)
				}
			}
		})
	}
	every(s.cfg.FlushEvery, "what was written could not be synced", s.Flush)
	every(s.cfg.TidyEvery, "the store could not be tidied", func() error { return s.Tidy(ctx) })
	every(time.Second, "the store could not be scrubbed", func() error {
		_, err := s.Scrub(ctx)
		return err
	})
	wg.Wait()
	return nil
}

// each calls f for the disks that work.
func (s *Store) each(f func(sh *shelf.Shelf) error) error {
	var errs []error
	for _, d := range s.top.Load().disks {
		if !d.ok() || d.shelf.Hold() != nil {
			continue
		}
		err := f(d.shelf)
		d.shelf.Let()
		if err != nil {
			errs = append(errs, fmt.Errorf("disk %s: %w", d.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Flush makes durable what was acknowledged before, and removes files of what was
// deleted.
func (s *Store) Flush() error {
	return s.each(func(sh *shelf.Shelf) error { return errors.Join(sh.Flush(), sh.Reap()) })
}

// Tidy removes what has expired and what crashes left, and compacts.
func (s *Store) Tidy(ctx context.Context) error {
	_, err := s.Sweep(ctx)
	return errors.Join(err, s.each(func(sh *shelf.Shelf) error {
		_, err := sh.Orphans()
		if err == nil {
			_, err = sh.Compact(ctx, compactDead)
		}
		return err
	}))
}

// Scrubbed counts what Scrub found.
type Scrubbed struct {
	Bytes           int64
	Damaged, Mended int
}

// Scrub reads all blobs once, at the pace of the configuration. What is damaged is
// replaced where a copy exists, and logged.
func (s *Store) Scrub(ctx context.Context) (Scrubbed, error) {
	var out Scrubbed
	began := time.Now()
	pace := func(n int64) error {
		out.Bytes += n
		due := began.Add(time.Duration(float64(out.Bytes) / float64(s.cfg.ScrubBytesPerSecond) * float64(time.Second)))
		wait := time.Until(due)
		if wait < 10*time.Millisecond {
			return nil
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		}
	}
	err := s.each(func(sh *shelf.Shelf) error {
		return sh.Scrub(ctx, pace, func(key []byte, cause error) error {
			out.Damaged++
			mended, err := s.mendKey(sh, key)
			if mended {
				out.Mended++
			}
			s.cfg.Log.Error("stored data is damaged", "path", sh.Dir(), "key", string(key), "mended", mended, "err", errors.Join(cause, err))
			return nil
		})
	})
	return out, err
}

// mendKey replaces a damaged entry of a disk from another.
func (s *Store) mendKey(sh *shelf.Shelf, key []byte) (bool, error) {
	id, err := engine.PartOf(key)
	if err != nil {
		return false, err
	}
	p := engine.Part{ID: id, Copies: s.CopiesOfPart(id)}
	bad, ok, err := sh.Get(key)
	if err != nil || !ok {
		return false, err
	}
	good, _ := s.sound(p, bad, sh)
	if good == nil {
		return false, storage.ErrCorrupt
	}
	return true, s.mend(p, bad, *good)
}
