package tier

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"polder.dev/polder/storage"
)

// collectPage is how many notes are read at once.
const collectPage = 1000

// Collect removes from lower tiers what no entry refers to: of objects that were
// overwritten, deleted, or moved elsewhere, and of copies that a crash or an outage
// cut off. What is being read waits. The notes are durable before the first byte goes.
func (s *Store) Collect(ctx context.Context) error {
	s.collect.Lock()
	defer s.collect.Unlock()
	s.places.begin()
	var mu sync.Mutex
	failed := map[string]error{} // tiers
	for after := ""; ; {
		notes, err := s.home.Loose(ctx, after, collectPage)
		if err != nil {
			return err
		}
		if len(notes) == 0 {
			break
		}
		after = notes[len(notes)-1].ID
		if err := s.home.Flush(); err != nil {
			return fmt.Errorf("before removing what nobody refers to: %w", err)
		}
		err = parallel(s.cfg.Workers, notes, func(n storage.Loose) error {
			at, ok := parsePlace(n.Place)
			l := s.level(at.level)
			mu.Lock()
			skip := failed[at.level] != nil
			mu.Unlock()
			if skip {
				return nil
			}
			if !ok || l == nil {
				mu.Lock()
				defer mu.Unlock()
				failed[at.level] = fmt.Errorf("%w: bytes are left in tier %q, which is not there", storage.ErrUnavailable, at.level)
				return nil
			}
			return s.discard(ctx, l, at, n, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				failed[at.level] = err
			})
		})
		if err != nil {
			return err
		}
	}
	var errs []error
	for _, err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// discard removes the data of a place and then the note; failed is told if the tier
// does not let it.
func (s *Store) discard(ctx context.Context, l *level, at place, n storage.Loose, failed func(error)) error {
	done, ok := s.places.doom(at.String())
	if !ok {
		return nil
	}
	defer done()
	if err := l.remove(ctx, at.key); err != nil {
		failed(err)
		return nil
	}
	s.meters.collected.WithLabelValues(l.Name).Inc()
	return s.home.Forget(ctx, n.ID)
}
