package tier

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"polder.dev/polder/storage"
)

// cold is what could leave the home.
type cold struct {
	task
	level *level
	last  time.Time
	size  int64
}

// coldest keeps as many of those that were not used for longest as make up need bytes.
type coldest struct {
	need int64
	all  []cold
}

const coldMax = 10_000

func (c *coldest) add(x cold) {
	if c.all = append(c.all, x); len(c.all) >= 2*coldMax {
		c.trim()
	}
}

// trim sorts, the coldest first, and leaves out what is not needed.
func (c *coldest) trim() {
	slices.SortFunc(c.all, func(a, b cold) int {
		return cmp.Or(a.last.Compare(b.last), cmp.Compare(a.revision, b.revision))
	})
	var sum int64
	for i := range c.all {
		if sum += c.all[i].size; sum >= c.need || i+1 == coldMax {
			c.all = c.all[:i+1]
			return
		}
	}
}

// Relieve has data leave the home while that is fuller than HighWater: what was not used
// for longest first, until LowWater is reached. What a policy wants below and is not yet
// there stays; it is on its way, and then may leave. Room is counted as bytes leave; a
// disk may take a while to have them free.
func (s *Store) Relieve(ctx context.Context) error {
	used, total, err := s.fill(ctx)
	if err != nil || total == 0 || float64(used) <= s.cfg.HighWater*float64(total) {
		return err
	}
	c := &coldest{need: used - int64(s.cfg.LowWater*float64(total))}
	all, err := s.all(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		p := b.policy.Load()
		if p.lower == nil {
			continue
		}
		err := b.each(ctx, func(i storage.Info) {
			switch {
			case p.copies() && i.Whereabouts.Place == "":
				b.wrote(p, i)
			case b.movable(p, i):
				t := task{kind: demote, bucket: b, key: i.Key, version: i.Version, revision: i.Revision}
				c.add(cold{t, p.lower, s.uses.last(i.Revision, i.Modified), i.Size})
			}
		})
		if err != nil {
			return err
		}
	}
	c.trim()
	return parallel(s.cfg.Workers, c.all, func(x cold) error { return s.do(ctx, x.level, x.task) })
}

// parallel calls f for all items, a few at once, and ends with the first errors.
func parallel[T any](workers int, items []T, f func(T) error) error {
	var mu sync.Mutex
	var errs []error
	next := 0
	take := func() (item T, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(items) || len(errs) > 0 {
			return item, false
		}
		next++
		return items[next-1], true
	}
	var wg sync.WaitGroup
	for range min(workers, len(items)) {
		wg.Go(func() {
			for {
				item, ok := take()
				if !ok {
					return
				}
				if err := f(item); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
