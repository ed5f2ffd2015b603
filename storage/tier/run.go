package tier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"polder.dev/polder/storage"
)

// Run moves data until ctx ends: what waits goes down, what is old or in the way leaves
// the home, and what nobody refers to is removed. What goes wrong is logged and tried
// again. A home that has a Run of its own has to be run beside.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range s.levels {
		for range s.cfg.Workers {
			wg.Go(func() { s.work(ctx, l) })
		}
	}
	every := func(d time.Duration, also <-chan struct{}, what string, f func(context.Context) error) {
		wg.Go(func() {
			t := time.NewTicker(d)
			defer t.Stop()
			for {
				if err := f(ctx); err != nil && ctx.Err() == nil {
					s.cfg.Log.Error(what, "err", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				case <-also:
				}
			}
		})
	}
	missed := make(chan struct{}, 1)
	every(s.cfg.ScanEvery, missed, "the entries could not be looked at", s.Scan)
	every(s.cfg.PressureEvery, s.squeeze, "the home could not be relieved", func(ctx context.Context) error {
		for _, l := range s.levels {
			if l.queue.missed() {
				select {
				case missed <- struct{}{}:
				default:
				}
			}
		}
		return s.Relieve(ctx)
	})
	every(s.cfg.CollectEvery, nil, "what nobody refers to could not be removed", s.Collect)
	wg.Wait()
	return nil
}

// scanPage is how many entries are read at once.
const scanPage = 1000

// each calls f for all versions of a bucket that have data.
func (b *bucket) each(ctx context.Context, f func(i storage.Info)) error {
	o := storage.ListOptions{Limit: scanPage}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, err := b.home.Versions(ctx, o)
		if errors.Is(err, storage.ErrNoBucket) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking at bucket %s: %w", b.Name(), err)
		}
		for _, i := range l.Objects {
			if !i.Deleted {
				f(i)
			}
		}
		if !l.More {
			return nil
		}
		o.After, o.AfterID = l.Next, l.NextID
	}
}

// Scan looks at all entries: what a policy wants below and is not there waits to go
// down, and so does what was not used for too long. It counts what each tier holds.
func (s *Store) Scan(ctx context.Context) error {
	all, err := s.all(ctx)
	if err != nil {
		return err
	}
	sums := map[*level]*storage.Count{}
	for _, b := range all {
		p := b.policy.Load()
		err := b.each(ctx, func(i storage.Info) {
			s.count(sums, i)
			if p.lower == nil || i.Size == 0 || i.Whereabouts.Away {
				return
			}
			b.wrote(p, i)
			if p.DemoteAfter > 0 && b.movable(p, i) && s.cfg.Now().Sub(s.uses.last(i.Revision, i.Modified)) > p.DemoteAfter {
				p.lower.queue.add(task{kind: demote, bucket: b, key: i.Key, version: i.Version, revision: i.Revision})
			}
		})
		if err != nil {
			return err
		}
	}
	s.meters.held(s, sums)
	return nil
}

// movable reports whether data may leave the home when there is a reason.
func (b *bucket) movable(p *policy, i storage.Info) bool {
	return p.lower != nil && i.Size > 0 && i.Size >= p.DemoteBytesMin && !i.Whereabouts.Away && !b.pinned(p, i.Key)
}

func (b *bucket) pinned(p *policy, key string) bool { return p.pins(key) || b.pins.has(key) }

// fill is what is used of the home's room; both are 0 where it has no bounds.
func (s *Store) fill(ctx context.Context) (used, total int64, err error) {
	t, ok := s.home.(storage.Tier)
	if !ok {
		return 0, 0, nil
	}
	total, free, err := t.Room(ctx)
	return total - free, total, err
}
