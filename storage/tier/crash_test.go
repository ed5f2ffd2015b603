package tier_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/storagetest"
	"polder.dev/polder/storage/tier"
)

var (
	rounds = flag.Int("rounds", 2, "power cuts of each kind")
	seeded = flag.Uint64("seed", 0, "of the power cuts; 0 takes one at random")
)

// life is a store of two disk tiers whose power is cut again and again, while clients
// work with it and data moves. Both tiers are on one made-up disk, so that the power of
// both goes at the same moment.
type life struct {
	t       *testing.T
	rng     *rand.Rand
	drive   *drivetest.Disk
	set     storage.Settings
	history *storagetest.History
	clients uint32
	kill    bool
	disks   int
}

func TestPowerCut(t *testing.T) {
	for _, c := range []struct {
		name       string
		write      storage.Write
		durability storage.Durability
		kill       bool
		copies     int
	}{
		{"moved", storage.WriteHome, storage.Synced, false, 1},
		{"written back", storage.WriteBack, storage.Synced, false, 1},
		{"written through", storage.WriteThrough, storage.Synced, false, 1},
		{"killed, only written", storage.WriteBack, storage.Written, true, 1},
		{"two copies", storage.WriteBack, storage.Synced, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed := *seeded
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Log("seed", seed)
			rng := rand.New(rand.NewPCG(seed, 7))
			var l *life
			for i := range *rounds {
				if i%10 == 0 {
					l = &life{
						t: t, rng: rng, drive: &drivetest.Disk{}, kill: c.kill, history: &storagetest.History{}, disks: c.copies,
						set: storage.Settings{
							Durability: c.durability, Versioning: storage.Versioning(rng.IntN(3)), Copies: c.copies,
							Tiers: storage.Tiers{Lower: "cold", Write: c.write, DemoteAfter: 1},
						},
					}
					s := l.open()
					create(t, s, l.set)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
				l.round()
				if t.Failed() {
					t.Fatalf("in round %d", i)
				}
			}
		})
	}
}

func (l *life) disk(dirs ...string) *disk.Store {
	s, err := disk.Open(disk.Config{
		Dirs: dirs, VolumeBytes: 256 << 10, CacheBytes: 1 << 20, ReserveBytes: 1, FlushBytes: 128 << 10, Seed: l.rng.Uint64(),
	}.On(l.drive))
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// open opens both tiers as they are after a cut.
func (l *life) open() *tier.Store {
	return newStore(l.t, tier.Config{
		Home: l.disk([]string{"/home0", "/home1"}[:l.disks]...), Lower: level(l.disk("/cold")), Cache: newCache(l.t, 1<<20), Workers: 2,
	})
}

func (l *life) round() {
	s := l.open()
	b, err := s.Bucket(ctx, "b")
	if err != nil {
		l.t.Fatal(err)
	}
	l.look(s, b)
	live, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	left := l.rng.IntN(150)
	var mu sync.Mutex
	cut := make(chan struct{})
	step := func() bool { // one less until the power is cut
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 || left < 0 && live.Err() == nil {
			left = -1 << 40
			close(cut)
			stop()
		}
		return left > -1<<39
	}
	for range 5 {
		c := l.client(b)
		wg.Go(func() {
			for step() {
				if err := c.Step(ctx); err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	movers := rand.New(rand.NewPCG(l.rng.Uint64(), 0))
	wg.Go(func() { l.stir(live, s, movers) })
	wg.Go(func() {
		for live.Err() == nil {
			for _, f := range []func(context.Context) error{s.Scan, s.Drain, s.Collect} {
				if err := f(live); err != nil && live.Err() == nil {
					l.t.Error(err)
				}
			}
		}
	})
	<-cut
	l.history.Cut()
	after := l.drive.Cut(l.rng, l.kill)
	wg.Wait()
	_ = s.Close() // it has no power
	l.drive = after
}

// stir moves data up and down.
func (l *life) stir(live context.Context, s *tier.Store, rng *rand.Rand) {
	for live.Err() == nil {
		key := storagetest.Key(rng.IntN(8))
		err := s.Move(live, "b", key, "", []storage.Class{storage.Hot, storage.Remote}[rng.IntN(2)])
		if err != nil && live.Err() == nil && !errors.Is(err, storage.ErrNoObject) && !errors.Is(err, storage.ErrNoVersion) {
			l.t.Error(err)
			return
		}
	}
}

func (l *life) client(b storage.Bucket) *storagetest.Client {
	l.clients++
	return &storagetest.Client{
		Bucket: b, History: l.history, Life: l.history.Life(), Rng: rand.New(rand.NewPCG(l.rng.Uint64(), 0)), Keys: 8,
		Sizes: []int{20, 600, 5000, 40_000, 140_000, 300_000}, Name: l.clients,
	}
}

// look reads everything after a cut, all versions included, and asks whether it can be;
// and whether nothing is below that no entry refers to.
func (l *life) look(s *tier.Store, b storage.Bucket) {
	c := l.client(b)
	for i := range c.Keys {
		if err := c.Read(ctx, storagetest.Key(i)); err != nil {
			l.t.Error(err)
		}
	}
	for _, why := range l.history.Check() {
		l.t.Error(why)
	}
	all, err := b.Versions(ctx, storage.ListOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, i := range all.Objects {
		if i.Deleted {
			continue
		}
		o, err := b.Open(ctx, i.Key, storage.ReadOptions{Version: i.Version})
		if err != nil {
			l.t.Error(err)
			continue
		}
		if _, err := storage.Reader(o, 0, i.Size).WriteTo(io.Discard); err != nil {
			l.t.Error(err)
		}
		if err := o.Close(); err != nil {
			l.t.Error(err)
		}
	}
	if err := s.Collect(ctx); err != nil {
		l.t.Fatal(err)
	}
	where, err := s.Where(ctx, "b")
	if err != nil {
		l.t.Fatal(err)
	}
	if n := blobs(l.t, s.Below("cold")); n != where[2].Objects {
		l.t.Errorf("%d blobs are below, and entries refer to %d", n, where[2].Objects)
	}
}

// TestCutBetween: the power goes after the copy is below and before the entry says so,
// and right after that.
func TestCutBetween(t *testing.T) {
	for _, point := range []string{"claimed", "copied", "moved"} {
		t.Run(point, func(t *testing.T) {
			drive := &drivetest.Disk{}
			l := &life{t: t, rng: rand.New(rand.NewPCG(1, 1)), drive: drive, disks: 1}
			home := l.disk("/home0")
			below := &cutting{Store: l.disk("/cold"), point: point}
			s := newStore(t, tier.Config{Home: home, Lower: level(below)})
			b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold"}})
			data := body(1, 300_000)
			put(t, b, "k", data)
			cut := func() { l.drive = drive.Cut(l.rng, false) }
			below.cut = cut
			if err := s.Move(ctx, "b", "k", "", storage.Remote); err != nil {
				t.Fatal(err)
			}
			if point == "moved" {
				cut()
			}
			_ = s.Close() // it has no power
			s = newStore(t, tier.Config{Home: l.disk("/home0"), Lower: level(l.disk("/cold"))})
			if b, err := s.Bucket(ctx, "b"); err != nil {
				t.Fatal(err)
			} else {
				check(t, b, "k", data)
			}
			if err := s.Collect(ctx); err != nil {
				t.Fatal(err)
			}
			want := map[string]int64{"claimed": 0, "copied": 0, "moved": 1}[point]
			if n := held(t, s, "tier cold"); n != want {
				t.Errorf("entries refer to %d blobs below", n)
			}
			if n := blobs(t, s.Below("cold")); n != want {
				t.Errorf("%d blobs are below", n)
			}
		})
	}
}

// cutting cuts the power before or after a blob is stored.
type cutting struct {
	storage.Store
	point string
	cut   func()
}

func (c *cutting) CreateBucket(ctx context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	b, err := c.Store.CreateBucket(ctx, name, set)
	return &cuttingBucket{b, c}, err
}

type cuttingBucket struct {
	storage.Bucket
	c *cutting
}

func (b *cuttingBucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	if b.c.point == "claimed" {
		b.c.cut()
	}
	i, err := b.Bucket.Put(ctx, key, body, o)
	if b.c.point == "copied" {
		b.c.cut()
	}
	return i, err
}
