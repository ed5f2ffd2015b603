package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
)

// Store implements storage.Store over a ledger.
type Store struct {
	ledger Ledger
	now    func() time.Time
	digest *Digester
	memory *budget.Budget
	closed atomic.Bool

	mu      sync.RWMutex
	buckets map[string]*bucket
	numbers map[uint64]*bucket
	making  sync.Mutex // one bucket is made or deleted at a time
}

var _ storage.Store = (*Store)(nil)

// New reads the buckets of a ledger. It takes the ledger over: Close closes it. Large
// buffers of bodies are of memory, which may be nil.
func New(ledger Ledger, now func() time.Time, memory *budget.Budget) (*Store, error) {
	s := &Store{ledger: ledger, now: now, digest: NewDigester(), memory: memory, buckets: map[string]*bucket{}, numbers: map[uint64]*bucket{}}
	c := ledger.Scan([]byte{kindBucket}, []byte{kindBucket + 1}, false)
	for c.Next() {
		e := c.Entry()
		var v bucketValue
		if err := json.Unmarshal(e.Value, &v); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("%w: bucket %q: %w", storage.ErrCorrupt, e.Key[1:], err)
		}
		name := string(e.Key[1:])
		s.enter(newBucket(s, name, v))
	}
	if err := c.Close(); err != nil {
		return nil, fmt.Errorf("reading the buckets: %w", err)
	}
	return s, nil
}

// CopiesOfPart returns how many copies of a part its bucket keeps.
func (s *Store) CopiesOfPart(id string) int {
	if len(id) < 8 {
		return 1
	}
	number := binary.BigEndian.Uint64([]byte(id))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.numbers[number]; b != nil {
		return b.copies()
	}
	return 1
}

// CopiesMin and CopiesMost are over all buckets; 1 if there are none.
func (s *Store) CopiesMin() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := 0
	for _, b := range s.buckets {
		if c := b.copies(); out == 0 || c < out {
			out = c
		}
	}
	return max(out, 1)
}

// CopiesFrom is how many copies there are of what a scan from a key on finds: it stays
// within the key's bucket, or goes through notes, which may be any bucket's.
func (s *Store) CopiesFrom(key []byte) int {
	if len(key) < UsageBytes || IsNote(key) {
		return s.CopiesMin()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.numbers[binary.BigEndian.Uint64(key[1:UsageBytes])]; b != nil {
		return b.copies()
	}
	return 1
}

// CopiesMost is the most that a bucket keeps.
func (s *Store) CopiesMost() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := 1
	for _, b := range s.buckets {
		out = max(out, b.copies())
	}
	return out
}

// enter adds a bucket to the tables.
func (s *Store) enter(b *bucket) {
	s.buckets[b.name] = b
	s.numbers[b.number] = b
}

func (s *Store) CreateBucket(_ context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	if err := storage.CheckBucket(name); err != nil {
		return nil, err
	}
	if err := s.check(&set); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	s.making.Lock()
	defer s.making.Unlock()
	if _, err := s.bucket(name); err == nil {
		return nil, fmt.Errorf("bucket %s: %w", name, storage.ErrBucketExists)
	}
	rev := s.ledger.Rev()
	v := bucketValue{Number: rev, Created: s.now().UTC(), Settings: set}
	if err := s.commitBucket(name, rev, v.encode()); err != nil {
		return nil, fmt.Errorf("making bucket %s: %w", name, err)
	}
	b := newBucket(s, name, v)
	s.mu.Lock()
	s.enter(b)
	s.mu.Unlock()
	return b, nil
}

// check refuses settings that cannot be kept.
func (s *Store) check(set *storage.Settings) error {
	if set.Copies == 0 {
		set.Copies = 1
	}
	if n := s.ledger.CopiesMax(); set.Copies < 0 || set.Copies > n {
		return fmt.Errorf("%w: %d copies need as many disks, and there are %d", storage.ErrInvalid, set.Copies, n)
	}
	if set.Durability > storage.Written || set.Versioning > storage.Suspended {
		return fmt.Errorf("%w: unknown durability or versioning", storage.ErrInvalid)
	}
	return nil
}

// commitBucket writes or, with a nil value, deletes a bucket's entry on every disk.
func (s *Store) commitBucket(name string, rev uint64, value []byte) error {
	return s.ledger.Commit(Batch{Rev: rev, Changes: []Change{{Key: bucketKey(name), Value: value, Delete: value == nil, Weight: -1}}})
}

func (s *Store) bucket(name string) (*bucket, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.buckets[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("bucket %s: %w", name, storage.ErrNoBucket)
}

func (s *Store) Bucket(_ context.Context, name string) (storage.Bucket, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	b, err := s.bucket(name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) Buckets(ctx context.Context, after string, limit int) ([]storage.BucketInfo, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	s.mu.RLock()
	names := slices.Sorted(maps.Keys(s.buckets))
	s.mu.RUnlock()
	from, _ := slices.BinarySearch(names, after+"\x00")
	var out []storage.BucketInfo
	for _, n := range names[from:] {
		if limit > 0 && len(out) == limit {
			break
		}
		b, err := s.bucket(n)
		if err != nil {
			continue // deleted meanwhile
		}
		i, err := b.Info(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	s.making.Lock()
	defer s.making.Unlock()
	b, err := s.bucket(name)
	if err != nil {
		return err
	}
	b.mu.Lock() // waits for writers, and none can come
	defer b.mu.Unlock()
	for _, kind := range []byte{kindCurrent, kindOlder} {
		any, err := s.any(space(kind, b.number))
		if err != nil {
			return fmt.Errorf("deleting bucket %s: %w", name, err)
		}
		if any {
			return fmt.Errorf("bucket %s: %w", name, storage.ErrNotEmpty)
		}
	}
	if err := b.abortAll(ctx); err != nil {
		return fmt.Errorf("deleting bucket %s: %w", name, err)
	}
	if err := s.commitBucket(name, s.ledger.Rev(), nil); err != nil {
		return fmt.Errorf("deleting bucket %s: %w", name, err)
	}
	b.gone = true
	s.mu.Lock()
	delete(s.buckets, name)
	delete(s.numbers, b.number)
	s.mu.Unlock()
	return nil
}

// any reports whether an entry begins with prefix.
func (s *Store) any(prefix []byte) (bool, error) {
	c := s.ledger.Scan(prefix, after(prefix), false)
	found := c.Next()
	return found, c.Close()
}

func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return storage.ErrClosed
	}
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.buckets))
	s.mu.RUnlock()
	for _, b := range all {
		b.mu.Lock() // waits for writers
		b.gone = true
		b.mu.Unlock()
	}
	s.digest.Close()
	return s.ledger.Close()
}
