package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

func (b *bucket) Abort(_ context.Context, key, id string) error {
	if _, err := b.begin(key); err != nil {
		return err
	}
	return b.transact(key, func(t *transaction) error { return t.abort(id) })
}

func (t *transaction) abort(id string) error {
	u, n, err := t.b.upload(t.part, t.key, id)
	if err != nil {
		return err
	}
	t.changes = append(t.changes, Change{Key: u.entry.Key, Delete: true})
	return t.dropParts(n, nil)
}

// abortAll aborts all uploads of a bucket that is held for writing.
func (b *bucket) abortAll(ctx context.Context) error {
	uploads, err := b.uploadsBefore(time.Time{})
	if err != nil {
		return err
	}
	for _, u := range uploads {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &transaction{b: b, key: u.Key, set: &b.value.Settings, part: b.part(u.Key, &b.value.Settings)}
		if err := t.abort(u.ID); err != nil {
			return err
		}
		batch := Batch{Part: t.part, Rev: b.store.ledger.Rev(), Durability: t.set.Durability, Changes: t.changes}
		if err := b.store.ledger.Commit(batch); err != nil {
			return err
		}
	}
	return nil
}

// uploadsBefore lists the uploads that were begun before a time, or all.
func (b *bucket) uploadsBefore(limit time.Time) ([]storage.Upload, error) {
	sp := space(kindUpload, b.number)
	c := b.store.ledger.Scan(sp, after(sp), false)
	var out []storage.Upload
	for c.Next() {
		u, err := uploadOf(objectKey(c.Entry().Key), c.Entry())
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		if limit.IsZero() || u.Begun.Before(limit) {
			out = append(out, u)
		}
	}
	return out, c.Close()
}

// Sweep removes what has expired, and aborts uploads that were left behind.
func (s *Store) Sweep(ctx context.Context) (storage.Swept, error) {
	var out storage.Swept
	if s.closed.Load() {
		return out, storage.ErrClosed
	}
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.buckets))
	s.mu.RUnlock()
	byNumber := map[uint64]*bucket{}
	for _, b := range all {
		byNumber[b.number] = b
		set, err := b.settings()
		if err != nil {
			continue // it is gone
		}
		old, err := b.uploadsBefore(s.now().Add(-set.UploadAge()))
		if err != nil {
			return out, fmt.Errorf("sweeping bucket %s: %w", b.name, err)
		}
		for _, u := range old {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			if b.Abort(ctx, u.Key, u.ID) == nil { // else somebody else did
				out.Uploads++
			}
		}
	}
	n, err := s.sweepExpired(ctx, byNumber)
	out.Objects = n
	return out, err
}

// sweepExpired goes through what was to expire by now.
func (s *Store) sweepExpired(ctx context.Context, buckets map[uint64]*bucket) (int, error) {
	var due []Entry
	c := s.ledger.Scan(space(kindExpiry, 0), space(kindExpiry, uint64(s.now().Unix())+1), false)
	for c.Next() {
		due = append(due, c.Entry())
	}
	if err := c.Close(); err != nil {
		return 0, fmt.Errorf("sweeping: %w", err)
	}
	n := 0
	for _, e := range due {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		number, rev, key := binary.BigEndian.Uint64(e.Key[9:]), binary.BigEndian.Uint64(e.Key[17:]), string(e.Key[25:])
		b := buckets[number]
		if b == nil {
			// The bucket is gone, and with it the object; the note remains.
			p := Part{ID: string(e.Key[9:17]) + key, Copies: 1}
			if err := s.ledger.Commit(Batch{Part: p, Rev: s.ledger.Rev(), Changes: []Change{{Key: e.Key, Delete: true}}}); err != nil {
				return n, err
			}
			continue
		}
		gone, err := b.expire(key, rev, e.Key)
		if err != nil {
			return n, fmt.Errorf("sweeping %s: %w", key, err)
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// expire removes a version, unless it was given another time since.
func (b *bucket) expire(key string, rev uint64, note []byte) (gone bool, err error) {
	err = b.transact(key, func(t *transaction) error {
		t.changes = append(t.changes, Change{Key: note, Delete: true})
		f, err := b.newest(t.part, key)
		if err == nil && f != nil && f.rev != rev {
			f, err = b.get(t.part, olderKey(b.number, key, rev))
		}
		if err != nil || f == nil || f.marker || !b.expired(f.version) {
			return err
		}
		if !f.latest || t.set.Versioning == storage.Unversioned {
			if l, err := lock.Of(f.meta); err != nil || l.Removable(b.store.now(), false) != nil {
				return nil // a lock is stronger than what the version was to expire at
			}
			gone = true
			return t.drop(f)
		}
		gone = true
		_, err = t.remove(storage.DeleteOptions{})
		return err
	})
	return gone, err
}
