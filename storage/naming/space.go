package naming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// Space is the names of a store's buckets. All buckets that clients see are made and
// deleted through it; one process has one Space for a store.
type Space struct {
	store storage.Store

	mu     sync.RWMutex
	owners map[string]string   // bucket to account
	owned  map[string][]string // account to buckets, sorted as names are in it
	making sync.Mutex
}

// Open reads the names that there are.
func Open(ctx context.Context, store storage.Store) (*Space, error) {
	s := &Space{store: store, owners: map[string]string{}, owned: map[string][]string{}}
	for after := ""; ; {
		page, err := store.Buckets(ctx, after, storage.PageMax)
		if err != nil {
			return nil, fmt.Errorf("reading the names of buckets: %w", err)
		}
		for _, b := range page {
			after = b.Name
			if !Private(b.Name) {
				s.enter(b.Name, b.Settings.Labels[iam.LabelOwner])
			}
		}
		if len(page) < storage.PageMax {
			return s, nil
		}
	}
}

// Store is the store that the names are of.
func (s *Space) Store() storage.Store { return s.store }

// Private says that a bucket is the store's own.
func Private(bucket string) bool { return strings.HasPrefix(bucket, ".") }

// Name is how a bucket's clients call it.
func Name(bucket string) string {
	if _, name, ok := strings.Cut(bucket, "/"); ok {
		return name
	}
	return bucket
}

// Resolve finds the bucket that an account's client means, as S3 does: the account's own
// before another's. It returns storage.ErrNoBucket.
func (s *Space) Resolve(ctx context.Context, account, name string) (storage.Bucket, error) {
	s.mu.RLock()
	full, ok := s.find(account, name)
	if !ok {
		_, ok = s.owners[name]
		full = name
	}
	s.mu.RUnlock()
	if !ok || Private(full) {
		return nil, fmt.Errorf("bucket %s: %w", name, storage.ErrNoBucket)
	}
	return s.store.Bucket(ctx, full)
}

// Container finds a container of an account, and of no other.
func (s *Space) Container(ctx context.Context, account, name string) (storage.Bucket, error) {
	s.mu.RLock()
	full, ok := s.find(account, name)
	s.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("container %s of account %s: %w", name, account, storage.ErrNoBucket)
	}
	return s.store.Bucket(ctx, full)
}

// find returns an account's own bucket of a name, in the store's words.
func (s *Space) find(account, name string) (string, bool) {
	if account == "" {
		return "", false
	}
	if full := account + "/" + name; s.owners[full] == account {
		return full, true
	}
	return name, s.owners[name] == account && !strings.Contains(name, "/")
}

// ErrTaken says that another account has a bucket of this name; it comes with
// storage.ErrBucketExists.
var ErrTaken = errors.New("the name is another account's")

// CreateBucket makes a bucket by a name that all accounts share. It returns
// storage.ErrBucketExists where the account has one, with ErrTaken where another has.
func (s *Space) CreateBucket(ctx context.Context, account, name string, set storage.Settings) (storage.Bucket, error) {
	if err := CheckS3(name); err != nil {
		return nil, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.RLock()
	_, mine := s.find(account, name)
	_, there := s.owners[name]
	s.mu.RUnlock()
	switch {
	case mine:
		return nil, fmt.Errorf("bucket %s: %w", name, storage.ErrBucketExists)
	case there:
		return nil, fmt.Errorf("bucket %s: %w: %w", name, storage.ErrBucketExists, ErrTaken)
	}
	return s.create(ctx, account, name, set)
}

// CreateContainer makes a container in an account, under the name that all share where
// that is free. It returns storage.ErrBucketExists where the account has one.
func (s *Space) CreateContainer(ctx context.Context, account, name string, set storage.Settings) (storage.Bucket, error) {
	if err := CheckSwift(account, name); err != nil {
		return nil, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.RLock()
	_, mine := s.find(account, name)
	_, there := s.owners[name]
	s.mu.RUnlock()
	if mine {
		return nil, fmt.Errorf("container %s of account %s: %w", name, account, storage.ErrBucketExists)
	}
	if there || CheckS3(name) != nil {
		name = account + "/" + name
	}
	return s.create(ctx, account, name, set)
}

func (s *Space) create(ctx context.Context, account, full string, set storage.Settings) (storage.Bucket, error) {
	labels := map[string]string{iam.LabelOwner: account}
	for k, v := range set.Labels {
		if k != iam.LabelOwner {
			labels[k] = v
		}
	}
	set.Labels = labels
	b, err := s.store.CreateBucket(ctx, full, set)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.enter(full, account)
	s.mu.Unlock()
	return b, nil
}

// Delete removes a bucket that Resolve or Container found, if it is empty.
func (s *Space) Delete(ctx context.Context, b storage.Bucket) error {
	s.making.Lock()
	defer s.making.Unlock()
	full := b.Name()
	if err := s.store.DeleteBucket(ctx, full); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.owners[full]
	delete(s.owners, full)
	if i, ok := s.place(account, full); ok {
		s.owned[account] = slices.Delete(s.owned[account], i, i+1)
	}
	if len(s.owned[account]) == 0 {
		delete(s.owned, account)
	}
	return nil
}

// enter adds a bucket to the tables.
func (s *Space) enter(full, account string) {
	s.owners[full] = account
	if i, ok := s.place(account, full); !ok {
		s.owned[account] = slices.Insert(s.owned[account], i, full)
	}
}

// place finds a bucket among its account's, which are in the order of their clients' names.
func (s *Space) place(account, full string) (int, bool) {
	return slices.BinarySearchFunc(s.owned[account], Name(full), func(e, name string) int { return strings.Compare(Name(e), name) })
}

// Accounts lists the accounts that have buckets, by name.
func (s *Space) Accounts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(s.owned))
	for a := range s.owned {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// Owned lists an account's buckets in the order of their clients' names; Name gives
// those. What the caller does with the slice concerns nobody else.
func (s *Space) Owned(account string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.owned[account])
}
