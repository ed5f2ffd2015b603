package disk

import (
	"bytes"
	"errors"
	"fmt"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// entriesOf reads all of a part on a disk.
func entriesOf(d *disk, id string) ([]engine.Entry, error) {
	ranges := engine.RangesOf(id)
	if id == "" {
		ranges = [][2][]byte{engine.BucketRange()}
	}
	var out []engine.Entry
	for _, r := range ranges {
		c := d.shelf.Scan(r[0], r[1], false)
		for c.Next() {
			out = append(out, c.Entry())
		}
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// copyPart makes a part on one disk as it is on another, durably and at once.
func copyPart(from, to *disk, id string, rev uint64) error {
	want, err := entriesOf(from, id)
	if err != nil {
		return err
	}
	have, err := entriesOf(to, id)
	if err != nil {
		return err
	}
	there := map[string]engine.Entry{}
	for _, e := range have {
		there[string(e.Key)] = e
	}
	var changes []engine.Change
	defer func() {
		for _, c := range changes {
			if c.Stage != nil {
				c.Stage.Discard()
			}
		}
	}()
	for _, e := range want {
		old, ok := there[string(e.Key)]
		delete(there, string(e.Key))
		if ok && bytes.Equal(old.Value, e.Value) && old.Weight == e.Weight {
			continue
		}
		c, err := carry(e, to.shelf)
		if err != nil {
			return fmt.Errorf("copying %q from disk %s: %w", e.Key, from.ID, err)
		}
		changes = append(changes, c)
	}
	for k := range there {
		changes = append(changes, engine.Change{Key: []byte(k), Delete: true})
	}
	if len(changes) == 0 {
		return nil
	}
	return to.shelf.Commit(rev, storage.Synced, changes)
}

// gather brings a part home before it is changed, while the pool is not settled: a
// part that lies elsewhere is copied to all its homes, and then removed there. So what
// is on a disk that is no home is never newer, nor older, than what is at home. Notes
// of expiry are no such part; their removal goes to every disk.
func (s *Store) gather(t *topology, p engine.Part, b *engine.Batch) error {
	homes := t.homes(p)
	home := map[string]bool{}
	for _, d := range homes {
		home[d.ID] = true
	}
	for _, d := range t.disks {
		if !d.ok() {
			return d.missing()
		}
	}
	source, err := s.holder(t, p)
	if err != nil {
		return err
	}
	if source != nil {
		for _, d := range homes {
			if d == source {
				continue
			}
			if err := copyPart(source, d, p.ID, s.rev.Load()); err != nil {
				return fmt.Errorf("moving a part to disk %s: %w", d.ID, err)
			}
		}
	}
	for _, d := range t.disks {
		if home[d.ID] {
			continue
		}
		if err := removePart(d, p.ID, s.rev.Load()); err != nil {
			return fmt.Errorf("removing a part from disk %s: %w", d.ID, err)
		}
		if b != nil {
			if err := forget(d, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget takes the notes that a batch removes off a disk as well.
func forget(d *disk, b *engine.Batch) error {
	var notes []engine.Change
	for _, c := range b.Changes {
		if c.Delete && engine.IsNote(c.Key) {
			if _, ok, err := d.shelf.Get(c.Key); err != nil {
				return err
			} else if ok {
				notes = append(notes, c)
			}
		}
	}
	if len(notes) == 0 {
		return nil
	}
	return d.shelf.Commit(b.Rev, storage.Synced, notes)
}

// holder finds the disk with the newest entry of a part, homes first; nil if none has
// any.
func (s *Store) holder(t *topology, p engine.Part) (*disk, error) {
	var best *disk
	var rev uint64
	look := func(d *disk) error {
		es, err := entriesOf(d, p.ID)
		for _, e := range es {
			if best == nil || e.Rev > rev {
				best, rev = d, e.Rev
			}
		}
		return err
	}
	var errs []error
	homes := t.homes(p)
	for _, d := range homes {
		errs = append(errs, look(d))
	}
	for _, d := range t.disks {
		errs = append(errs, look(d))
	}
	return best, errors.Join(errs...)
}

func removePart(d *disk, id string, rev uint64) error {
	es, err := entriesOf(d, id)
	if err != nil || len(es) == 0 {
		return err
	}
	var changes []engine.Change
	for _, e := range es {
		changes = append(changes, engine.Change{Key: e.Key, Delete: true})
	}
	return d.shelf.Commit(rev, storage.Synced, changes)
}

// reconcile makes the copies of parts alike that a crash may have caught between one
// disk and another: the disk whose log saw the last change decides.
func (s *Store) reconcile() error {
	t := s.top.Load()
	touched := s.touched
	s.touched = nil
	for id, last := range touched {
		if id == "" {
			continue
		}
		if err := s.reconcilePart(t, id, last); err != nil {
			return err
		}
	}
	if last, ok := touched[""]; ok {
		for i, d := range t.disks {
			if i != last.disk && d.ok() {
				if err := copyPart(t.disks[last.disk], d, "", last.rev); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Store) reconcilePart(t *topology, id string, last touch) error {
	p := engine.Part{ID: id, Copies: s.CopiesOfPart(id)}
	homes := t.homes(p)
	if p.Copies < 2 {
		return nil
	}
	for _, d := range homes {
		if d.ID != t.disks[last.disk].ID && d.ok() {
			if err := copyPart(t.disks[last.disk], d, id, last.rev); err != nil {
				return err
			}
		}
	}
	return nil
}
