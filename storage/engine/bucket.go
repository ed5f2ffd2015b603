package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// bucket implements storage.Bucket.
type bucket struct {
	store  *Store
	name   string
	number uint64

	// mu is held for reading by who commits, for writing by who changes the bucket. It
	// is taken before a part's lock.
	mu    sync.RWMutex
	value bucketValue
	gone  bool

	// What the ledger, or who holds no lock, asks of value.Settings: Copies, and whether
	// there may be older versions.
	copied    atomic.Int32
	versioned atomic.Bool
}

var _ storage.Bucket = (*bucket)(nil)

func newBucket(s *Store, name string, v bucketValue) *bucket {
	b := &bucket{store: s, name: name, number: v.Number, value: v}
	b.show(&v.Settings)
	return b
}

func (b *bucket) Name() string { return b.name }

// copies may be asked by the ledger while it works for a holder of mu.
func (b *bucket) copies() int { return int(b.copied.Load()) }

// settings are those of now, or an error where there is no bucket any more.
func (b *bucket) settings() (storage.Settings, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.value.Settings, b.alive()
}

func (b *bucket) alive() error {
	switch {
	case b.store.closed.Load():
		return storage.ErrClosed
	case b.gone:
		return fmt.Errorf("bucket %s: %w", b.name, storage.ErrNoBucket)
	}
	return nil
}

// part is where all of a key lies.
func (b *bucket) part(key string, set *storage.Settings) Part {
	id := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(key)), b.number)
	return Part{ID: string(append(id, key...)), Copies: max(set.Copies, 1)}
}

func (b *bucket) Info(context.Context) (storage.BucketInfo, error) {
	b.mu.RLock()
	v, err := b.value, b.alive()
	b.mu.RUnlock()
	if err != nil {
		return storage.BucketInfo{}, err
	}
	out := storage.BucketInfo{Name: b.name, Created: v.Created, Settings: v.Settings}
	out.Settings.Labels = maps.Clone(v.Settings.Labels)
	copies := int64(max(v.Settings.Copies, 1))
	for kind, to := range map[byte]*storage.Count{kindCurrent: &out.Usage.Objects, kindOlder: &out.Usage.Older, kindPart: &out.Usage.Parts} {
		n, err := b.store.ledger.Usage(space(kind, b.number))
		if err != nil {
			return storage.BucketInfo{}, fmt.Errorf("usage of bucket %s: %w", b.name, err)
		}
		*to = storage.Count{Number: n.Number / copies, Bytes: n.Bytes / copies}
	}
	return out, nil
}

func (b *bucket) Configure(_ context.Context, change func(*storage.Settings) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.alive(); err != nil {
		return err
	}
	before := b.value.encode()
	v := b.value
	v.Settings.Labels = maps.Clone(v.Settings.Labels)
	if err := change(&v.Settings); err != nil {
		return err
	}
	if err := b.store.check(&v.Settings); err != nil {
		return fmt.Errorf("bucket %s: %w", b.name, err)
	}
	if err := b.allowed(&v.Settings); err != nil {
		return fmt.Errorf("bucket %s: %w", b.name, err)
	}
	to := v.encode()
	if bytes.Equal(to, before) {
		return nil // what stays as it is costs no disk a sync
	}
	if err := b.store.commitBucket(b.name, b.store.ledger.Rev(), to); err != nil {
		return fmt.Errorf("configuring bucket %s: %w", b.name, err)
	}
	b.value = v
	b.show(&v.Settings)
	return nil
}

func (b *bucket) show(set *storage.Settings) {
	b.copied.Store(int32(max(set.Copies, 1)))
	b.versioned.Store(set.Versioning != storage.Unversioned)
}

// allowed refuses changes that what is stored contradicts.
func (b *bucket) allowed(to *storage.Settings) error {
	if lock.Enabled(b.value.Settings) && (!lock.Enabled(*to) || to.Versioning != storage.Versioned) {
		return fmt.Errorf("%w: a bucket with object lock keeps it, and keeps versions", storage.ErrInvalid)
	}
	if b.value.Settings.Versioning != storage.Unversioned && to.Versioning == storage.Unversioned {
		return fmt.Errorf("%w: versioning can be suspended, not undone", storage.ErrInvalid)
	}
	if to.Copies == max(b.value.Settings.Copies, 1) {
		return nil
	}
	for _, kind := range []byte{kindCurrent, kindOlder, kindUpload, kindPart} {
		any, err := b.store.any(space(kind, b.number))
		if err != nil {
			return err
		}
		if any {
			return fmt.Errorf("%w: the number of copies can change only while the bucket is empty", storage.ErrInvalid)
		}
	}
	return nil
}

// transact decides and commits a change of one key. decide sees nothing but committed
// state, and nobody else changes the key until it is committed.
func (b *bucket) transact(key string, decide func(t *transaction) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if err := b.alive(); err != nil {
		return err
	}
	t := &transaction{b: b, key: key, set: &b.value.Settings, part: b.part(key, &b.value.Settings)}
	defer b.store.ledger.Lock(t.part)()
	if err := decide(t); err != nil {
		return err
	}
	if len(t.changes) == 0 {
		return nil
	}
	if t.rev == 0 {
		t.rev = b.store.ledger.Rev()
	}
	batch := Batch{Part: t.part, Rev: t.rev, Durability: t.set.Durability, Changes: t.changes}
	if t.synced {
		batch.Durability = storage.Synced
	}
	return b.store.ledger.Commit(batch)
}
