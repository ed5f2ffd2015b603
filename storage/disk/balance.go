package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// Disk is what a person is told of a disk.
type Disk struct {
	ID, Dir     string
	Weight      float64
	Draining    bool
	Err         error // why it does not work
	Total, Free int64
}

// Disks lists the pool.
func (s *Store) Disks() []Disk {
	var out []Disk
	for _, d := range s.top.Load().disks {
		i := Disk{ID: d.ID, Weight: d.Weight, Draining: d.Draining}
		if !d.ok() {
			i.Err = d.missing()
		}
		if d.shelf != nil {
			i.Dir = d.shelf.Dir()
			if t, f, err := d.shelf.Room(); err == nil {
				i.Total, i.Free = t, f
			}
		}
		out = append(out, i)
	}
	return out
}

// Settled reports whether every object lies where it belongs.
func (s *Store) Settled() bool { return s.top.Load().pool.Settled }

// change writes a new pool to all disks, and uses it from then on.
func (s *Store) change(t *topology) error {
	t.pool.Epoch++
	for _, d := range t.disks {
		if d.shelf == nil {
			continue
		}
		if err := writeCard(s.cfg.fs, d.shelf.Dir(), card{Disk: d.ID, Pool: t.pool}); err != nil {
			return fmt.Errorf("telling disk %s of the pool: %w", d.ID, err)
		}
	}
	s.top.Store(t)
	return nil
}

// AddDisk takes the empty directory of a disk into the pool. A weight of 0 is its size
// in bytes, as the first disks' are. Balance then moves its share there.
func (s *Store) AddDisk(dir string, weight float64) (id string, err error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	for _, d := range s.top.Load().disks {
		if !d.ok() {
			return "", fmt.Errorf("adding a disk: %w", d.missing())
		}
	}
	return s.join(dir, weight, func(p *pool) {})
}

// ReplaceDisk puts the empty directory of a disk in the place of one that is away or
// has failed. What only that one held is lost, so every bucket must keep copies, unless
// lose says that it may be; Balance then makes the copies again.
func (s *Store) ReplaceDisk(old, dir string, weight float64, lose bool) (id string, err error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	t := s.top.Load()
	i := slices.IndexFunc(t.pool.Members, func(m member) bool { return m.ID == old })
	switch {
	case i < 0:
		return "", fmt.Errorf("%w: there is no disk %s", storage.ErrInvalid, old)
	case t.disks[i].ok():
		return "", fmt.Errorf("%w: disk %s works; add the other, and drain this one", storage.ErrInvalid, old)
	case s.CopiesMin() < 2 && !lose:
		return "", fmt.Errorf("%w: some buckets have no copies of what is on disk %s, which would be lost", storage.ErrInvalid, old)
	}
	id, err = s.join(dir, weight, func(p *pool) { p.Members = slices.Delete(p.Members, i, i+1) })
	if err == nil && t.disks[i].shelf != nil {
		t.disks[i].shelf.Retire()
	}
	return id, err
}

// join adds a disk, with what else changes in the pool at the same time.
func (s *Store) join(dir string, weight float64, also func(*pool)) (string, error) {
	if err := s.blank(dir); err != nil {
		return "", err
	}
	if weight == 0 {
		total, _, err := s.cfg.fs.Room(dir)
		if err != nil {
			return "", err
		}
		weight = float64(total)
	}
	t := s.top.Load()
	source := slices.IndexFunc(t.disks, (*disk).ok)
	if source < 0 {
		return "", fmt.Errorf("%w: no disk works", storage.ErrUnavailable)
	}
	sh, err := s.openShelf(dir, len(t.disks))
	if err != nil {
		return "", err
	}
	d := newDisk(member{ID: s.name(), Weight: weight}, sh)
	defer ledger{s}.Lock(engine.Part{})()
	if err := copyPart(t.disks[source], d, "", s.rev.Load()); err != nil {
		return "", errors.Join(err, sh.Close())
	}
	p := t.pool
	p.Members = slices.Clone(p.Members)
	also(&p)
	p.Members = append(p.Members, d.member)
	p.Settled = false
	if err := s.change(t.with(p, d)); err != nil {
		return "", errors.Join(err, sh.Close())
	}
	return d.ID, nil
}

// blank makes sure that a directory is there and holds nothing.
func (s *Store) blank(dir string) error {
	if err := s.cfg.fs.MkdirAll(dir); err != nil {
		return err
	}
	names, err := s.cfg.fs.List(dir)
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(names, func(n string) bool { return n == "lost+found" }); len(names) > 0 {
		return fmt.Errorf("%w: %s is not empty: it has %s", storage.ErrInvalid, dir, names[0])
	}
	return nil
}

// DrainDisk makes a disk give up what it holds. When Balance has moved all of it, the
// disk is out of the pool.
func (s *Store) DrainDisk(id string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	t := s.top.Load()
	i := slices.IndexFunc(t.pool.Members, func(m member) bool { return m.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: there is no disk %s", storage.ErrInvalid, id)
	}
	p := t.pool
	p.Members = slices.Clone(p.Members)
	p.Members[i].Draining = true
	left := 0
	for _, m := range p.Members {
		if !m.Draining {
			left++
		}
	}
	if left < max(s.CopiesMost(), 1) {
		return fmt.Errorf("%w: %d disks would be left, and a bucket keeps %d copies", storage.ErrInvalid, left, s.CopiesMost())
	}
	p.Settled = false
	return s.change(t.with(p))
}

// DropDisk takes a disk out that is away or has failed. What only it held is lost, so
// it is refused unless every bucket keeps copies, or lose says that this is meant. The
// copies are made again by Balance. Add another disk first, or after.
func (s *Store) DropDisk(id string, lose bool) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	t := s.top.Load()
	i := slices.IndexFunc(t.pool.Members, func(m member) bool { return m.ID == id })
	switch {
	case i < 0:
		return fmt.Errorf("%w: there is no disk %s", storage.ErrInvalid, id)
	case t.disks[i].ok():
		return fmt.Errorf("%w: disk %s works; drain it", storage.ErrInvalid, id)
	case len(t.disks) <= max(s.CopiesMost(), 1):
		return fmt.Errorf("%w: %d disks would be left, and a bucket keeps %d copies; add one first", storage.ErrInvalid, len(t.disks)-1, s.CopiesMost())
	case s.CopiesMin() < 2 && !lose:
		return fmt.Errorf("%w: some buckets have no copies of what is on disk %s, which would be lost", storage.ErrInvalid, id)
	}
	p := t.pool
	p.Members = slices.Delete(slices.Clone(p.Members), i, i+1)
	p.Settled = false
	gone := t.disks[i].shelf
	if err := s.change(t.with(p)); err != nil {
		return err
	}
	if gone != nil {
		gone.Retire()
	}
	return nil
}

// Progress of Balance. Total is what there was to look at when it began.
type Progress struct {
	Disk               string
	Seen, Total, Moved int64
	Failed             int64
	LastErr            error
}

// ErrChanged says that a disk came or went while Balance moved; to balance again helps.
var ErrChanged = errors.New("the pool was changed meanwhile")

// Balance moves everything home, beside all other work, and ends when it is done. What
// it cannot move it counts, and returns the last reason. After a crash or an error it
// can be called again.
func (s *Store) Balance(ctx context.Context, progress func(Progress)) error {
	t := s.top.Load()
	if t.pool.Settled {
		return nil
	}
	var failed error
	for _, d := range t.disks {
		p := Progress{Disk: d.ID}
		if !d.ok() {
			return d.missing()
		}
		if err := s.balanceDisk(ctx, t, d, &p, progress); err != nil {
			return err
		}
		if p.LastErr != nil {
			failed = p.LastErr
		}
	}
	if failed != nil && s.top.Load() != t {
		return ErrChanged
	}
	if failed != nil {
		return fmt.Errorf("some objects could not be moved: %w", failed)
	}
	return s.settle(t)
}

// balanceEvery parts, progress is told.
const balanceEvery = 256

func (s *Store) balanceDisk(ctx context.Context, t *topology, d *disk, p *Progress, progress func(Progress)) error {
	c := d.shelf.Scan(nil, nil, false)
	last := ""
	for c.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, c.Close())
		}
		key := c.Entry().Key
		id, err := engine.PartOf(key)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		p.Seen++
		if id == "" || id == last && !engine.IsNote(key) {
			continue
		}
		last = id
		moved, err := s.bringHome(t, d, id, key)
		if err != nil {
			p.Failed++
			p.LastErr = err
		} else if moved {
			p.Moved++
		}
		if progress != nil && p.Seen%balanceEvery == 0 {
			progress(*p)
		}
	}
	p.Total = p.Seen
	if progress != nil {
		progress(*p)
	}
	return c.Close()
}

// bringHome moves a part, or a note, that lies on d.
func (s *Store) bringHome(t *topology, d *disk, id string, key []byte) (bool, error) {
	p := engine.Part{ID: id, Copies: s.CopiesOfPart(id)}
	homes := t.homes(p)
	if len(homes) == 1 && homes[0] == d {
		return false, nil
	}
	defer ledger{s}.Lock(p)()
	if !engine.IsNote(key) {
		return true, s.gather(t, p, nil)
	}
	e, ok, err := d.shelf.Get(key)
	if err != nil || !ok {
		return false, err
	}
	here := false
	for _, h := range homes {
		if h == d {
			here = true
			continue
		}
		if err := h.shelf.Commit(e.Rev, storage.Synced, []engine.Change{{Key: e.Key, Value: e.Value, Weight: e.Weight}}); err != nil {
			return false, err
		}
	}
	if here {
		return false, nil
	}
	return true, d.shelf.Commit(e.Rev, storage.Synced, []engine.Change{{Key: key, Delete: true}})
}

// settle ends a balance, if the pool is still the one that was balanced.
func (s *Store) settle(t *topology) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if s.top.Load() != t {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrChanged)
	}
	p := t.pool
	p.Settled = true
	p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m member) bool { return m.Draining })
	if err := s.change(t.with(p)); err != nil {
		return err
	}
	for _, d := range t.disks {
		if d.Draining && d.shelf != nil {
			d.shelf.Retire()
		}
	}
	return nil
}
