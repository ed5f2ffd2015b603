package tier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/tier"
)

// weather is what a remote store goes through.
type weather int32

const (
	fine  weather = iota
	gone          // it refuses
	hangs         // it never answers
	rots          // it stores something else
)

// remote is a store that can be out of order.
type remote struct {
	storage.Store
	is    atomic.Int32
	hung  atomic.Int64 // calls that hang now
	woken chan struct{}
}

func newRemote(s storage.Store) *remote { return &remote{Store: s, woken: make(chan struct{})} }

func (r *remote) set(w weather) { r.is.Store(int32(w)) }

var errGone = errors.New("connection refused")

// ask fails or hangs as the weather is. A call that hangs does not heed its context.
func (r *remote) ask() error {
	switch weather(r.is.Load()) {
	case gone:
		return errGone
	case hangs:
		r.hung.Add(1)
		<-r.woken
		r.hung.Add(-1)
		return errGone
	}
	return nil
}

func (r *remote) Bucket(ctx context.Context, name string) (storage.Bucket, error) {
	if err := r.ask(); err != nil {
		return nil, err
	}
	b, err := r.Store.Bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	return &remoteBucket{b, r}, nil
}

func (r *remote) CreateBucket(ctx context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	if err := r.ask(); err != nil {
		return nil, err
	}
	b, err := r.Store.CreateBucket(ctx, name, set)
	if err != nil {
		return nil, err
	}
	return &remoteBucket{b, r}, nil
}

type remoteBucket struct {
	storage.Bucket
	r *remote
}

func (b *remoteBucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	if err := b.r.ask(); err != nil {
		return storage.Info{}, err
	}
	if weather(b.r.is.Load()) == rots {
		all, err := io.ReadAll(body)
		if err != nil || len(all) == 0 {
			return storage.Info{}, err
		}
		all[len(all)/2] ^= 1
		return b.Bucket.Put(ctx, key, bytes.NewReader(all), storage.PutOptions{})
	}
	return b.Bucket.Put(ctx, key, body, o)
}

func (b *remoteBucket) Open(ctx context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	if err := b.r.ask(); err != nil {
		return nil, err
	}
	return b.Bucket.Open(ctx, key, o)
}

func (b *remoteBucket) Delete(ctx context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	if err := b.r.ask(); err != nil {
		return storage.Deletion{}, err
	}
	return b.Bucket.Delete(ctx, key, o)
}

// blobs counts what a lower tier holds, or a test would not see what is left behind.
func blobs(t testing.TB, s storage.Store) int64 {
	t.Helper()
	b, err := s.Bucket(ctx, "polder-tier")
	if errors.Is(err, storage.ErrNoBucket) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return i.Usage.Objects.Number
}

func wantErr(t testing.TB, err error, kinds ...error) {
	t.Helper()
	for _, k := range kinds {
		if !errors.Is(err, k) {
			t.Errorf("got error %v, want %v", err, k)
		}
	}
}

func TestOutage(t *testing.T) {
	for _, w := range []weather{gone, hangs} {
		t.Run(map[weather]string{gone: "gone", hangs: "hangs"}[w], func(t *testing.T) {
			t.Parallel()
			below := mem.New(0, time.Now)
			r := newRemote(below)
			lower := level(r)
			lower[0].Timeout = time.Minute
			if w == hangs {
				lower[0].Timeout = 500 * time.Millisecond // long enough for what does not hang
			}
			s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: lower, Cache: newCache(t, 8<<20)})
			back := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteBack}})
			through, err := s.CreateBucket(ctx, "through", storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteThrough}})
			if err != nil {
				t.Fatal(err)
			}
			cached, cold, large := body(1, 1000), body(2, 1000), body(3, 3<<20)
			put(t, back, "cached", cached)
			put(t, back, "cold", cold)
			put(t, through, "k", []byte("old"))
			for _, k := range []string{"cached", "cold"} {
				if err := s.Move(ctx, "b", k, "", storage.Remote); err != nil {
					t.Fatal(err)
				}
			}
			check(t, back, "cached", cached)

			r.set(w)
			check(t, back, "cached", cached) // from memory
			check(t, through, "k", []byte("old"))
			_, err = get(back, "cold")
			wantErr(t, err, storage.ErrUnavailable)
			put(t, back, "queued", large) // and waits
			check(t, back, "queued", large)
			wantErr(t, s.Drain(ctx), storage.ErrUnavailable)
			for _, n := range []int{3, 3 << 20} {
				_, err = through.Put(ctx, "k", bytes.NewReader(body(4, n)), storage.PutOptions{})
				wantErr(t, err, storage.ErrUnavailable)
			}
			check(t, through, "k", []byte("old")) // what fails leaves nothing behind
			u, err := through.Begin(ctx, "k", storage.Meta{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := through.PutPart(ctx, "k", u.ID, 1, strings.NewReader("part"), storage.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = through.Complete(ctx, "k", u.ID, []storage.PartRef{{Number: 1}}, storage.CompleteOptions{})
			wantErr(t, err, storage.ErrUnavailable)
			check(t, through, "k", []byte("old"))
			if _, err := back.Delete(ctx, "cached", storage.DeleteOptions{}); err != nil {
				t.Error(err)
			}
			wantErr(t, s.Collect(ctx), storage.ErrUnavailable)

			r.set(fine)
			close(r.woken)
			if err := s.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			check(t, back, "cold", cold)
			check(t, back, "queued", large)
			if _, err = through.Complete(ctx, "k", u.ID, []storage.PartRef{{Number: 1}}, storage.CompleteOptions{}); err != nil {
				t.Error(err)
			}
			check(t, through, "k", []byte("part"))
			if err := s.Collect(ctx); err != nil {
				t.Error(err)
			}
			if n := blobs(t, below); n != 3 { // cold, queued, k
				t.Errorf("%d blobs are below", n)
			}
		})
	}
}

// TestRot: what a tier does not store as it was given is not relied on.
func TestRot(t *testing.T) {
	below := mem.New(0, time.Now)
	r := newRemote(below)
	reg := prometheus.NewRegistry()
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(r), Metrics: reg})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold"}})
	data := body(1, 300_000)
	put(t, b, "k", data)
	r.set(rots)
	wantErr(t, s.Move(ctx, "b", "k", "", storage.Remote), storage.ErrCorrupt)
	check(t, b, "k", data)
	r.set(fine)
	if err := s.Move(ctx, "b", "k", "", storage.Remote); err != nil {
		t.Fatal(err)
	}
	// What rots below later is not brought home.
	blob, err := below.Bucket(ctx, "polder-tier")
	if err != nil {
		t.Fatal(err)
	}
	l, err := blob.List(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range l.Objects {
		put(t, blob, o.Key, body(2, 300_000))
	}
	wantErr(t, s.Move(ctx, "b", "k", "", storage.Hot), storage.ErrCorrupt)
	if n := held(t, s, "tier hot"); n != 0 {
		t.Errorf("the home took %d objects", n)
	}
	for _, o := range l.Objects {
		put(t, blob, o.Key, []byte("short"))
	}
	_, err = get(b, "k")
	wantErr(t, err, storage.ErrCorrupt)
	for _, o := range l.Objects {
		if _, err := blob.Delete(ctx, o.Key, storage.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, s.Move(ctx, "b", "k", "", storage.Hot), storage.ErrCorrupt)
	_, err = get(b, "k")
	wantErr(t, err, storage.ErrCorrupt)
}

// TestReader: who reads data below reads on while it is overwritten, and removed after.
func TestReader(t *testing.T) {
	below := mem.New(0, time.Now)
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(below)})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold"}})
	data := body(1, 200_000)
	put(t, b, "k", data)
	if err := s.Move(ctx, "b", "k", "", storage.Remote); err != nil {
		t.Fatal(err)
	}
	o, err := b.Open(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "k", []byte("new"))
	if err := s.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, below); n != 1 {
		t.Errorf("%d blobs are there while one is read", n)
	}
	got, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes were read, %v", len(got), err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, below); n != 0 {
		t.Errorf("%d blobs are there when nobody needs one", n)
	}
}
