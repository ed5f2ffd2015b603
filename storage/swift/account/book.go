// Package account keeps what Swift's clients say of their accounts: metadata, quotas,
// keys of temporary URLs, access control. Each account is an object of a private bucket.
// Only the Swift door imports it; one process has one Book for a store.
//
// An account needs no record to exist: without one it has no metadata.
package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"polder.dev/polder/storage"
)

const bucketName = ".accounts"

// Record is what is kept of an account.
type Record struct {
	Created time.Time `json:"created,omitzero"`
	// Deleted is when an operator deleted the account; zero is never.
	Deleted time.Time `json:"deleted,omitzero"`
	// Headers are what GET and HEAD answer: X-Account-Meta-*.
	Headers map[string]string `json:"headers,omitempty"`
}

// Book is all records. What it returns is never older than what was last put.
type Book struct {
	bucket storage.Bucket

	mu    sync.RWMutex
	known map[string]Record
}

// knownMax bounds what is remembered.
const knownMax = 10_000

// Open finds the bucket, and makes it when there is none.
func Open(ctx context.Context, s storage.Store) (*Book, error) {
	b, err := s.Bucket(ctx, bucketName)
	if errors.Is(err, storage.ErrNoBucket) {
		// Without an account's record none of its containers can be reached, so that it must
		// not be on one disk alone where there are two.
		b, err = s.CreateBucket(ctx, bucketName, storage.Settings{Copies: 2})
		if errors.Is(err, storage.ErrInvalid) {
			b, err = s.CreateBucket(ctx, bucketName, storage.Settings{})
		}
		if errors.Is(err, storage.ErrBucketExists) {
			b, err = s.Bucket(ctx, bucketName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the book of accounts: %w", err)
	}
	return &Book{bucket: b, known: map[string]Record{}}, nil
}

// Find returns an account's record, which is not to be changed; ok says that there is one.
func (b *Book) Find(ctx context.Context, name string) (r Record, ok bool, err error) {
	b.mu.RLock()
	r, ok = b.known[name]
	b.mu.RUnlock()
	if ok {
		return r, !r.Created.IsZero(), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err = b.read(ctx, name)
	return r, !r.Created.IsZero(), err
}

// read asks the bucket, and remembers; the caller holds mu.
func (b *Book) read(ctx context.Context, name string) (Record, error) {
	if r, ok := b.known[name]; ok {
		return r, nil
	}
	var r Record
	o, err := b.bucket.Open(ctx, name, storage.ReadOptions{})
	switch {
	case errors.Is(err, storage.ErrNoObject), errors.Is(err, storage.ErrInvalid):
	case err != nil:
		return r, fmt.Errorf("reading account %s: %w", name, err)
	default:
		defer func() { _ = o.Close() }() // it was only read
		data, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			return r, fmt.Errorf("reading account %s: %w", name, err)
		}
	}
	b.remember(name, r)
	return r, nil
}

func (b *Book) remember(name string, r Record) {
	if len(b.known) >= knownMax {
		clear(b.known)
	}
	b.known[name] = r
}

// Change edits an account's record, and makes one where there is none.
func (b *Book) Change(ctx context.Context, name string, now time.Time, change func(*Record) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.read(ctx, name)
	if err != nil {
		return err
	}
	r.Headers = maps.Clone(r.Headers)
	if r.Headers == nil {
		r.Headers = map[string]string{}
	}
	if r.Created.IsZero() {
		r.Created = now
	}
	if err := change(&r); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keeping account %s: %w", name, err)
	}
	if _, err := b.bucket.Put(ctx, name, strings.NewReader(string(data)), storage.PutOptions{Size: int64(len(data))}); err != nil {
		delete(b.known, name) // what was kept is not known
		return fmt.Errorf("keeping account %s: %w", name, err)
	}
	b.remember(name, r)
	return nil
}
