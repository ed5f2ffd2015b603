package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/storagetest"
	"polder.dev/polder/storage/tier"
)

func newTier(t testing.TB, now func() time.Time, s *remote.Store) *tier.Store {
	t.Helper()
	out, err := tier.New(tier.Config{
		Home: mem.New(0, now), Now: now, Default: storage.Tiers{Lower: "cold"},
		Lower: []tier.Level{{Name: "cold", Class: s.Class(), Store: s, Jurisdiction: s.Place().Jurisdiction, Timeout: 20 * time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sinking is a store whose objects go to the remote as soon as they are written.
type sinking struct {
	*tier.Store
	n atomic.Int64
}

type sinkingBucket struct {
	storage.Bucket
	s *sinking
}

func (s *sinking) CreateBucket(ctx context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	b, err := s.Store.CreateBucket(ctx, name, set)
	if err != nil {
		return nil, err
	}
	return &sinkingBucket{b, s}, nil
}

func (s *sinking) Bucket(ctx context.Context, name string) (storage.Bucket, error) {
	b, err := s.Store.Bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	return &sinkingBucket{b, s}, nil
}

func (b *sinkingBucket) sink(ctx context.Context, i storage.Info, err error) (storage.Info, error) {
	if err != nil {
		return i, err
	}
	err = b.s.Move(ctx, b.Name(), i.Key, i.Version, storage.Remote)
	if b.s.n.Add(1)%7 == 0 {
		err = errors.Join(err, b.s.Collect(ctx))
	}
	for _, kind := range []error{storage.ErrNoObject, storage.ErrNoVersion, storage.ErrDeleted} {
		if errors.Is(err, kind) {
			return i, nil // somebody replaced it
		}
	}
	return i, err
}

func (b *sinkingBucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	i, err := b.Bucket.Put(ctx, key, body, o)
	return b.sink(ctx, i, err)
}

func (b *sinkingBucket) Complete(ctx context.Context, key, upload string, parts []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	i, err := b.Bucket.Complete(ctx, key, upload, parts, o)
	return b.sink(ctx, i, err)
}

// TestTier: over a remote a tier keeps every promise, also those that the remote cannot.
func TestTier(t *testing.T) {
	// What moves data by itself is proved by the tier's own suite.
	limits := storagetest.Limits{Far: true}
	t.Run("S3", func(t *testing.T) {
		storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
			c, _ := s3World(t, now)
			return &sinking{Store: newTier(t, now, newS3(t, c))}
		}, limits)
	})
	t.Run("Swift", func(t *testing.T) {
		storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
			c, _ := swiftWorld(t, now)
			return &sinking{Store: newTier(t, now, newSwift(t, c))}
		}, limits)
	})
}

// TestTierOutage takes the remote away while objects go down, and while they are read.
func TestTierOutage(t *testing.T) {
	quick := func(c *remote.Common) { c.Tries = 2 }
	both(t, quick, func(t *testing.T, r *remote.Store, b *between, _ storage.Store) {
		ctx := t.Context()
		s := newTier(t, time.Now, r)
		bk, err := s.CreateBucket(ctx, "b", storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteBack, NoPromote: true}})
		if err != nil {
			t.Fatal(err)
		}
		through, err := s.CreateBucket(ctx, "through", storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteThrough}})
		if err != nil {
			t.Fatal(err)
		}
		body := pattern(9 << 20)
		store(t, bk, "cold", body, storage.PutOptions{})
		if err := s.Move(ctx, "b", "cold", "", storage.Remote); err != nil {
			t.Fatal(err)
		}
		o, err := bk.Open(ctx, "cold", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 300_000)
		if _, err := o.ReadAt(head, 0); err != nil || !bytes.Equal(head, body[:len(head)]) {
			t.Fatal("reading while all is well:", err)
		}

		b.say(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
		got, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
		if !errors.Is(err, storage.ErrUnavailable) || !bytes.Equal(got, body[:len(got)]) {
			t.Errorf("the remote went after %d bytes: %v", len(got), err)
		}
		store(t, bk, "queued", body, storage.PutOptions{})
		if got, err := load(bk, "queued"); err != nil || !bytes.Equal(got, body) {
			t.Errorf("what waits for the remote is %d bytes, %v", len(got), err)
		}
		if err := s.Drain(ctx); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("draining into nothing: %v", err)
		}
		if _, err := through.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{}); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("writing through to nothing: %v", err)
		}

		// In the middle of a body, once; then it is back.
		cut := true
		b.say(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && r.ContentLength > 1<<20 && cut {
				cut = false
				_, _ = io.CopyN(io.Discard, r.Body, 500_000)
				panic(http.ErrAbortHandler)
			}
			return false
		})
		if err := s.Move(ctx, "b", "queued", "", storage.Remote); err != nil {
			t.Log("the move was cut:", err)
			if err := s.Move(ctx, "b", "queued", "", storage.Remote); err != nil {
				t.Fatal(err)
			}
		}
		if cut {
			t.Error("nothing was cut")
		}
		if got, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size)); err != nil || !bytes.Equal(got, body) {
			t.Errorf("after the outage %d bytes, %v", len(got), err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		for _, k := range []string{"cold", "queued"} {
			if got, err := load(bk, k); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s is %d bytes, %v", k, len(got), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
