package disk

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// ledger implements engine.Ledger over the disks.
type ledger struct{ s *Store }

var _ engine.Ledger = ledger{}

func (l ledger) Rev() uint64 { return l.s.rev.Add(1) }

func (l ledger) CopiesMax() int {
	n := 0
	for _, d := range l.s.top.Load().disks {
		if !d.Draining {
			n++
		}
	}
	return n
}

func (l ledger) Close() error {
	l.s.admin.Lock()
	defer l.s.admin.Unlock()
	return l.s.closeShelves()
}

func (l ledger) Lock(p engine.Part) func() {
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.ID)) // a hash never fails
	m := &l.s.lock[h.Sum32()%uint32(len(l.s.lock))]
	m.Lock()
	return m.Unlock
}

// stable calls f with the topology, and again if a disk was taken out under it.
func (l ledger) stable(f func(*topology) error) error {
	for {
		t := l.s.top.Load()
		if err := f(t); !errors.Is(err, shelf.ErrGone) || l.s.top.Load() == t {
			return err
		}
	}
}

// Get asks the part's first disk that works. While parts move, it asks all.
func (l ledger) Get(p engine.Part, key []byte) (e engine.Entry, ok bool, err error) {
	err = l.stable(func(t *topology) error {
		e, ok, err = l.find(t, p, key)
		return err
	})
	return e, ok, err
}

func (l ledger) find(t *topology, p engine.Part, key []byte) (engine.Entry, bool, error) {
	homes := t.homes(p)
	if t.pool.Settled {
		for _, d := range homes {
			if d.ok() {
				return d.shelf.Get(key)
			}
		}
		return engine.Entry{}, false, homes[0].missing()
	}
	var best engine.Entry
	found := false
	for _, d := range t.disks {
		if !d.ok() {
			return engine.Entry{}, false, d.missing()
		}
		e, ok, err := d.shelf.Get(key)
		if err != nil {
			return e, false, err
		}
		if ok && (!found || e.Rev > best.Rev) {
			best, found = e, true
		}
	}
	return best, found, nil
}

// Scan merges the disks. It fails if one is away whose entries no other has.
func (l ledger) Scan(from, to []byte, reverse bool) (c engine.Cursor) {
	_ = l.stable(func(t *topology) error {
		for _, d := range t.disks {
			if !d.ok() {
				continue
			}
			if err := d.shelf.Hold(); err != nil {
				return err
			}
			defer d.shelf.Let() // its cursors hold it from then on
		}
		c = l.scan(t, from, to, reverse)
		return nil
	})
	return c
}

func (l ledger) scan(t *topology, from, to []byte, reverse bool) engine.Cursor {
	var all []engine.Cursor
	var missing error
	for _, d := range t.disks {
		if d.ok() {
			all = append(all, d.shelf.Scan(from, to, reverse))
		} else if !bytes.HasPrefix(from, engine.BucketRange()[0]) && !l.covered(from) { // buckets are on every disk
			missing = d.missing()
		}
	}
	if len(all) == 1 && missing == nil {
		return all[0]
	}
	return &merge{cursors: all, reverse: reverse, err: missing}
}

// covered reports whether the buckets of entries from a key on keep more copies than disks
// are away: the one bucket of the key, or all where several share the range.
func (l ledger) covered(from []byte) bool {
	away := 0
	for _, d := range l.s.top.Load().disks {
		if !d.ok() {
			away++
		}
	}
	return l.s.Store != nil && l.s.CopiesFrom(from) > away
}

func (l ledger) Usage(prefix []byte) (storage.Count, error) {
	var out storage.Count
	for _, d := range l.s.top.Load().disks {
		if d.shelf != nil {
			u := d.shelf.Usage(prefix)
			out.Number += u.Number
			out.Bytes += u.Bytes
		}
	}
	return out, nil
}

// stage writes a blob to each home.
type stage struct {
	homes  []*disk
	stages []*shelf.Stage
	size   int64
}

func (l ledger) Stage(p engine.Part, size int64) (engine.Stage, error) {
	g := &stage{homes: l.s.top.Load().homes(p)}
	for _, d := range g.homes {
		if !d.ok() {
			g.Discard()
			return nil, d.missing()
		}
		one, err := d.shelf.Stage(size)
		if err != nil {
			g.Discard()
			return nil, err
		}
		g.stages = append(g.stages, one)
	}
	return g, nil
}

// Take leaves copies to be written: a file has one place.
func (l ledger) Take(p engine.Part, h *storage.Handover) (engine.Stage, error) {
	homes := l.s.top.Load().homes(p)
	if len(homes) != 1 {
		return nil, fmt.Errorf("%w: %d copies are kept", storage.ErrNoHandover, len(homes))
	}
	if !homes[0].ok() {
		return nil, homes[0].missing()
	}
	one, err := homes[0].shelf.Take(h)
	if err != nil {
		return nil, err
	}
	return &stage{homes: homes, stages: []*shelf.Stage{one}, size: h.Size}, nil
}

func (g *stage) Write(p []byte) (int, error) {
	for _, one := range g.stages {
		if _, err := one.Write(p); err != nil {
			return 0, err
		}
	}
	g.size += int64(len(p))
	return len(p), nil
}

func (g *stage) Discard() {
	for _, one := range g.stages {
		one.Discard()
	}
}

// on returns the stage of a disk; if the part has moved there since, it is copied.
func (g *stage) on(d *disk) (*shelf.Stage, error) {
	for i, h := range g.homes {
		if h.ID == d.ID {
			return g.stages[i], nil
		}
	}
	if len(g.stages) == 0 {
		return nil, fmt.Errorf("%w: nothing was staged", storage.ErrInvalid)
	}
	to, err := d.shelf.Stage(g.size)
	if err != nil {
		return nil, err
	}
	g.homes, g.stages = append(g.homes, d), append(g.stages, to)
	return to, g.stages[0].CopyTo(to)
}

// Commit writes to all homes of a part at once.
func (l ledger) Commit(b engine.Batch) error {
	return l.stable(func(t *topology) error { return l.commit(t, b) })
}

func (l ledger) commit(t *topology, b engine.Batch) error {
	homes := t.homes(b.Part)
	for _, d := range homes {
		if !d.ok() {
			return d.missing()
		}
	}
	if !t.pool.Settled && b.Part.ID != "" {
		if err := l.s.gather(t, b.Part, &b); err != nil {
			return err
		}
	}
	if len(homes) == 1 {
		changes, err := changesOn(homes[0], b)
		if err != nil {
			return err
		}
		return homes[0].shelf.Commit(b.Rev, b.Durability, changes)
	}
	errs := make([]error, len(homes))
	done := make([]func(), len(homes))
	var wg sync.WaitGroup
	for i, d := range homes {
		done[i] = func() {}
		changes, err := changesOn(d, b)
		if errs[i] = err; err != nil {
			continue
		}
		wg.Go(func() { done[i], errs[i] = d.shelf.CommitShared(b.Rev, b.Durability, changes) })
	}
	wg.Wait()
	err := l.s.undo(b.Part, homes, errs)
	for _, f := range done {
		f()
	}
	return err
}

// changesOn are a batch's changes with the stages of one disk.
func changesOn(d *disk, b engine.Batch) ([]engine.Change, error) {
	changes := make([]engine.Change, len(b.Changes))
	copy(changes, b.Changes)
	for i := range changes {
		if changes[i].Stage == nil {
			continue
		}
		one, err := changes[i].Stage.(*stage).on(d)
		if err != nil {
			return nil, err
		}
		changes[i].Stage = one
	}
	return changes, nil
}

// undo makes copies alike again where a commit has succeeded on some disks only: as
// they were, from a disk that refused. A disk that failed decides nothing; when it is
// opened again, what others have replaces what it has.
func (s *Store) undo(p engine.Part, homes []*disk, errs []error) error {
	err := errors.Join(errs...)
	if err == nil || p.ID == "" {
		return err
	}
	for i, old := range homes {
		if errs[i] == nil || !old.ok() {
			continue
		}
		for j, d := range homes {
			if errs[j] == nil && d.ok() {
				if e := copyPart(old, d, p.ID, s.rev.Add(1)); e != nil {
					return fmt.Errorf("%w: %w", storage.ErrUnavailable, errors.Join(err, e))
				}
			}
		}
		return err
	}
	return err
}
