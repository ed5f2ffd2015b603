package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"polder.dev/polder/storage"
)

var _ storage.Relocator = (*bucket)(nil)

// loosen notes that the place of a version which goes has nobody that refers to it.
func (t *transaction) loosen(f *found) {
	if f.place != "" {
		t.note(f.rev, f.place)
	}
}

func (t *transaction) note(version uint64, place string) []byte {
	k := looseKey(t.b.number, t.newRev(), version, t.key)
	t.changes = append(t.changes, Change{Key: k, Value: []byte(place), Weight: -1, Spare: true})
	return k
}

func (b *bucket) Claim(_ context.Context, key string, revision uint64, place string) (storage.Loose, error) {
	out := storage.Loose{Place: place}
	if _, err := b.begin(key); err != nil {
		return out, err
	}
	if place == "" {
		return out, fmt.Errorf("%w: a place needs a name", storage.ErrInvalid)
	}
	err := b.transact(key, func(t *transaction) error {
		t.synced = true
		out.ID = string(t.note(revision, place))
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("claiming a place for %s: %w", key, err)
	}
	return out, nil
}

// revision finds the version with a revision, or nil.
func (b *bucket) revision(p Part, key string, rev uint64) (*found, error) {
	f, err := b.get(p, currentKey(b.number, key))
	if err != nil || f != nil && f.rev == rev {
		return f, err
	}
	return b.get(p, olderKey(b.number, key, rev))
}

// located finds a version for Relocate.
func (b *bucket) located(p Part, key string, r *storage.Relocation) (*found, error) {
	f, err := b.revision(p, key, r.Revision)
	switch {
	case err != nil:
		return nil, err
	case f == nil || f.marker:
		return nil, fmt.Errorf("revision %d: %w", r.Revision, storage.ErrNoVersion)
	case f.whereabouts() != r.From:
		return nil, fmt.Errorf("%w: the data lies at %+v, not at %+v", storage.ErrPrecondition, f.whereabouts(), r.From)
	}
	return f, nil
}

func (b *bucket) Relocate(ctx context.Context, key string, r storage.Relocation) (storage.Info, error) {
	set, err := b.begin(key)
	if err != nil {
		return storage.Info{}, err
	}
	if r.To.Away && r.To.Place == "" {
		return storage.Info{}, fmt.Errorf("%w: data that is away lies at a place", storage.ErrInvalid)
	}
	p := b.part(key, &set)
	in := &incoming{}
	if r.From.Away && !r.To.Away {
		f, err := b.located(p, key, &r) // before the data is read; it counts below
		if err == nil {
			set.PlainETag = true // the caller has verified it
			in, err = b.receive(ctx, p, &set, r.Data, &storage.PutOptions{Size: f.size})
		}
		if err != nil {
			return storage.Info{}, fmt.Errorf("moving %s: %w", key, err)
		}
	}
	defer in.discard()
	var info storage.Info
	err = b.transact(key, func(t *transaction) error {
		f, err := b.located(t.part, key, &r)
		if err != nil {
			return err
		}
		t.synced = true
		if err := t.relocate(f, &r, in); err != nil {
			return err
		}
		v := *f.version
		v.place, v.sum, v.state = r.To.Place, r.To.Sum, f.next(&r)
		info = v.info(key, f.latest)
		return nil
	})
	if err != nil {
		return storage.Info{}, fmt.Errorf("moving %s: %w", key, err)
	}
	return info, nil
}

// next is the state that a version has after a relocation. What was made of parts comes
// back as a whole, whose parts keep nothing but their sizes and ETags.
func (f *found) next(r *storage.Relocation) state {
	switch {
	case r.To.Away:
		return stateAway
	case !r.From.Away:
		return f.state
	case f.upload != 0:
		return stateWhole
	}
	return stateNative
}

func (t *transaction) relocate(f *found, r *storage.Relocation, in *incoming) error {
	v := *f.version
	v.place, v.sum, v.state = r.To.Place, r.To.Sum, f.next(r)
	c := Change{Key: f.entry.Key, Value: v.encode(), Weight: f.entry.Weight}
	switch {
	case r.To.Away && !r.From.Away && f.size == 0:
		return fmt.Errorf("%w: there is no data to move", storage.ErrInvalid)
	case r.To.Away:
		c.Spare = true
	case r.From.Away:
		c.Data, c.Stage = in.data, in.stage
	default:
		c.From = f.entry.Key
	}
	t.changes = append(t.changes, c)
	if r.To.Away && f.upload != 0 && f.state == stateNative {
		if err := t.empty(f.upload); err != nil {
			return err
		}
	}
	if f.place != "" && f.place != r.To.Place {
		t.note(f.rev, f.place)
	}
	if r.Claim != "" {
		t.changes = append(t.changes, Change{Key: []byte(r.Claim), Delete: true})
	}
	return nil
}

// empty drops the data of an object's parts. Their values change with it, so that what
// makes copies on several disks alike can tell.
func (t *transaction) empty(upload uint64) error {
	p := partsPrefix(t.b.number, t.key, upload)
	c := t.b.store.ledger.Scan(p, after(p), false)
	for c.Next() {
		e := c.Entry()
		v, err := decode(e.Value)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		v.state = stateAway
		t.changes = append(t.changes, Change{Key: e.Key, Value: v.encode(), Weight: e.Weight, Spare: true})
	}
	return c.Close()
}

func (b *bucket) Preview(_ context.Context, key, id string, refs []storage.PartRef) (out storage.Object, err error) {
	err = b.tries(key, func(p Part) error {
		out, err = b.preview(p, key, id, refs)
		return err
	})
	return out, err
}

func (b *bucket) preview(p Part, key, id string, refs []storage.PartRef) (storage.Object, error) {
	u, n, err := b.upload(p, key, id)
	if err != nil {
		return nil, err
	}
	v, keep, err := b.assemble(key, n, refs)
	if err != nil {
		return nil, err
	}
	v.meta = u.meta
	obj := &object{info: v.info(key, false)}
	if err := b.openPieces(obj, p, n, v.size, keep); err != nil {
		_ = obj.Close()
		return nil, fmt.Errorf("opening the parts of %s: %w", key, err)
	}
	return obj, nil
}

// Loose implements storage.Mover.
func (s *Store) Loose(ctx context.Context, from string, limit int) ([]storage.Loose, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	first := []byte{kindLoose}
	if from != "" {
		first = append([]byte(from), 0)
	}
	var all []Entry
	c := s.ledger.Scan(first, []byte{kindLoose + 1}, false)
	for len(all) < limit && c.Next() {
		all = append(all, c.Entry())
	}
	if err := c.Close(); err != nil {
		return nil, fmt.Errorf("listing loose places: %w", err)
	}
	var out []storage.Loose
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		used, err := s.referred(e)
		switch {
		case err != nil:
			return out, fmt.Errorf("listing loose places: %w", err)
		case used:
			err = s.Forget(ctx, string(e.Key))
		default:
			out = append(out, storage.Loose{ID: string(e.Key), Place: string(e.Value)})
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// referred reports whether the version that a place was for refers to it. That can be
// where copies of an entry were made alike after a crash, or after a disk had refused:
// the entry is then as one disk has it, and the note as another.
func (s *Store) referred(note Entry) (bool, error) {
	id, err := PartOf(note.Key)
	if err != nil {
		return false, err
	}
	s.mu.RLock()
	b := s.numbers[binary.BigEndian.Uint64(note.Key[1:])]
	s.mu.RUnlock()
	if b == nil {
		return false, nil
	}
	p := Part{ID: id, Copies: b.copies()}
	defer s.ledger.Lock(p)()
	key, place := string(note.Key[looseHead:]), string(note.Value)
	if rev := binary.BigEndian.Uint64(note.Key[17:]); rev != 0 {
		f, err := b.revision(p, key, rev)
		return f != nil && f.place == place, err
	}
	f, err := b.get(p, currentKey(b.number, key))
	if err == nil && (f == nil || f.place != place) {
		f, err = b.older(key, func(v *version) bool { return v.place == place })
	}
	return f != nil && err == nil, err
}

// Forget implements storage.Mover.
func (s *Store) Forget(_ context.Context, id string) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	k := []byte(id)
	part, err := PartOf(k)
	if err != nil || k[0] != kindLoose {
		return fmt.Errorf("%w: %q is no note of a place", storage.ErrInvalid, id)
	}
	p := Part{ID: part, Copies: s.CopiesOfPart(part)}
	s.mu.RLock()
	if s.numbers[binary.BigEndian.Uint64(k[1:])] == nil {
		p.Copies = s.ledger.CopiesMax() // nobody knows any more how many there were
	}
	s.mu.RUnlock()
	defer s.ledger.Lock(p)()
	err = s.ledger.Commit(Batch{Part: p, Rev: s.ledger.Rev(), Durability: storage.Written, Changes: []Change{{Key: k, Delete: true}}})
	if err != nil {
		return fmt.Errorf("forgetting a place: %w", err)
	}
	return nil
}
