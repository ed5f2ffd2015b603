package tier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/storagetest"
	"polder.dev/polder/storage/tier"
)

var ctx = context.Background()

func diskOn(t testing.TB, d *drivetest.Disk, now func() time.Time, n int) *disk.Store {
	t.Helper()
	var dirs []string
	for i := range n {
		dirs = append(dirs, fmt.Sprintf("/disk%d", i))
	}
	s, err := disk.Open(disk.Config{
		Dirs: dirs, Now: now, VolumeBytes: 1 << 20, CacheBytes: 1 << 20, ReserveBytes: 1, FlushBytes: 4 << 20,
	}.On(d))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newCache(t testing.TB, bytes int64) *cache.Cache {
	t.Helper()
	c, err := cache.New(cache.Config{BytesMax: bytes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newStore(t testing.TB, cfg tier.Config) *tier.Store {
	t.Helper()
	s, err := tier.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// level over a store.
func level(s storage.Store) []tier.Level {
	return []tier.Level{{Name: "cold", Class: storage.Remote, Store: s}}
}

// sinking is a store whose objects' data goes down as soon as they are written, and
// whose garbage is removed all the time.
type sinking struct {
	*tier.Store
	up bool // and comes home again
	n  atomic.Int64
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

type sinkingBucket struct {
	storage.Bucket
	s *sinking
}

func (b *sinkingBucket) sink(key, version string) error {
	err := b.s.Move(ctx, b.Name(), key, version, storage.Remote)
	if err == nil && b.s.up {
		err = b.s.Move(ctx, b.Name(), key, version, storage.Hot)
	}
	if b.s.n.Add(1)%7 == 0 {
		err = errors.Join(err, b.s.Collect(ctx))
	}
	for _, kind := range []error{storage.ErrNoObject, storage.ErrNoVersion, storage.ErrDeleted} {
		if errors.Is(err, kind) {
			return nil // somebody replaced it
		}
	}
	return err
}

func (b *sinkingBucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	i, err := b.Bucket.Put(ctx, key, body, o)
	if err == nil {
		err = b.sink(key, i.Version)
	}
	return i, err
}

func (b *sinkingBucket) Complete(ctx context.Context, key, upload string, parts []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	i, err := b.Bucket.Complete(ctx, key, upload, parts, o)
	if err == nil {
		err = b.sink(key, i.Version)
	}
	return i, err
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name  string
		disks bool
		dirs  int // of the home; 1
		cache int64
		set   storage.Tiers
		sink  bool
		up    bool
	}{
		{name: "cache", cache: 16 << 20},
		{name: "written through, cache", cache: 16 << 20, set: storage.Tiers{Lower: "cold", Write: storage.WriteThrough}},
		{name: "all below", set: storage.Tiers{Lower: "cold"}, sink: true},
		{name: "down and up", set: storage.Tiers{Lower: "cold"}, sink: true, up: true},
		{name: "disks, all below, cache", disks: true, cache: 16 << 20, set: storage.Tiers{Lower: "cold", Write: storage.WriteBack}, sink: true},
		{name: "three disks at home, all below", disks: true, dirs: 3, set: storage.Tiers{Lower: "cold"}, sink: true},
		{name: "disks, down and up", disks: true, cache: 16 << 20, set: storage.Tiers{Lower: "cold"}, sink: true, up: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
				cfg := tier.Config{Now: now, Default: c.set}
				if c.disks {
					cfg.Home, cfg.Lower = diskOn(t, &drivetest.Disk{}, now, max(c.dirs, 1)), level(diskOn(t, &drivetest.Disk{}, now, 1))
				} else {
					cfg.Home, cfg.Lower = mem.New(0, now), level(mem.New(0, now))
				}
				if c.cache > 0 {
					cfg.Cache = newCache(t, c.cache)
				}
				s := newStore(t, cfg)
				if c.sink {
					return &sinking{Store: s, up: c.up}
				}
				return s
			})
		})
	}
}

// body is of a size, and unlike that of any other seed.
func body(seed uint64, n int) []byte {
	out := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 9))
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

func put(t testing.TB, b storage.Bucket, key string, data []byte) storage.Info {
	t.Helper()
	i, err := b.Put(ctx, key, bytes.NewReader(data), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func get(b storage.Bucket, key string) ([]byte, error) {
	o, err := b.Open(ctx, key, storage.ReadOptions{})
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	return data, errors.Join(err, o.Close())
}

func check(t testing.TB, b storage.Bucket, key string, want []byte) {
	t.Helper()
	if got, err := get(b, key); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, %v; %d were put", key, len(got), err, len(want))
	}
}

func create(t testing.TB, s storage.Store, set storage.Settings) storage.Bucket {
	t.Helper()
	b, err := s.CreateBucket(ctx, "b", set)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// held tells how many objects a tier holds of bucket b.
func held(t testing.TB, s *tier.Store, name string) int64 {
	t.Helper()
	all, err := s.Where(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if h.Place.Name == name {
			return h.Objects
		}
	}
	t.Fatal(fmt.Errorf("no tier is named %s: %+v", name, all))
	return 0
}
