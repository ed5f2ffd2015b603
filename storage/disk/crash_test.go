package disk_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/storagetest"
)

var (
	rounds = flag.Int("rounds", 2, "power cuts of each kind")
	seeded = flag.Uint64("seed", 0, "of the power cuts; 0 takes one at random")
)

// life is a store whose power is cut again and again, while clients work with it.
type life struct {
	t       *testing.T
	rng     *rand.Rand
	drive   *drivetest.Disk
	cfg     disk.Config
	set     storage.Settings
	history *storagetest.History
	clients uint32
	kill    bool // only the program dies: what was written stays
}

// livesRounds is after how many cuts a life begins anew, with an empty store.
const livesRounds = 10

func TestPowerCut(t *testing.T) {
	for _, c := range []struct {
		name          string
		disks, copies int
		durability    storage.Durability
		kill          bool
	}{
		{"one disk", 1, 1, storage.Synced, false},
		{"three disks", 3, 1, storage.Synced, false},
		{"two copies on three disks", 3, 2, storage.Synced, false},
		{"killed, only written", 1, 1, storage.Written, true},
		{"killed, two copies", 2, 2, storage.Written, true},
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
				if i%livesRounds == 0 {
					l = &life{
						t: t, rng: rng, drive: &drivetest.Disk{}, kill: c.kill, history: &storagetest.History{},
						set: storage.Settings{Copies: c.copies, Durability: c.durability, Versioning: storage.Versioning(rng.IntN(3))},
						cfg: small(c.disks, time.Now),
					}
					l.cfg.VolumeBytes, l.cfg.FlushBytes, l.cfg.ScrubBytesPerSecond = 256<<10, 128<<10, 1<<40
					l.found()
				}
				l.round()
				if t.Failed() {
					t.Fatalf("in round %d", i)
				}
			}
		})
	}
}

func (l *life) open() *disk.Store {
	l.cfg.Seed = l.rng.Uint64()
	s, err := disk.Open(l.cfg.On(l.drive))
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *life) found() {
	s := l.open()
	if _, err := s.CreateBucket(context.Background(), "b", l.set); err != nil {
		l.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// round opens the store, looks at all of it, works with it, and cuts the power.
func (l *life) round() {
	s := l.open()
	b, err := s.Bucket(context.Background(), "b")
	if err != nil {
		l.t.Fatal(err)
	}
	l.look(s, b)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	left := l.rng.IntN(150)
	var mu sync.Mutex
	cut := make(chan struct{})
	step := func() bool { // one less until the power is cut
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 || left < 0 && ctx.Err() == nil {
			left = -1 << 40
			close(cut)
			stop()
		}
		return left > -1<<39
	}
	for range 6 {
		c := l.client(b)
		wg.Go(func() {
			for step() {
				if err := c.Step(context.Background()); err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() { l.upset(ctx, s) })
	<-cut
	l.history.Cut()
	after := l.drive.Cut(l.rng, l.kill)
	wg.Wait()
	_ = s.Close() // it has no power
	l.drive = after
}

func (l *life) client(b storage.Bucket) *storagetest.Client {
	l.clients++
	return &storagetest.Client{
		Bucket: b, History: l.history, Life: l.history.Life(), Rng: rand.New(rand.NewPCG(l.rng.Uint64(), 0)), Keys: 8,
		Sizes: []int{20, 600, 5000, 40_000, 140_000, 300_000}, Name: l.clients,
	}
}

// upset does beside the clients what a store does now and then.
func (l *life) upset(ctx context.Context, s *disk.Store) {
	for ctx.Err() == nil {
		for _, f := range []func() error{
			s.Flush,
			func() error { return s.Tidy(ctx) },
			func() error { _, err := s.Scrub(ctx); return err },
		} {
			if err := f(); err != nil && ctx.Err() == nil {
				l.t.Error(err)
				return
			}
		}
	}
}

// look reads everything after a cut, and asks whether it can be.
func (l *life) look(s *disk.Store, b storage.Bucket) {
	ctx := context.Background()
	c := l.client(b)
	for i := range c.Keys {
		if err := c.Read(ctx, storagetest.Key(i)); err != nil {
			l.t.Error(err)
		}
	}
	for _, why := range l.history.Check() {
		l.t.Error(why)
	}
	for i, r := range s.Recovered() {
		if r.Damaged > 0 || r.Rebuilt {
			l.t.Errorf("disk %d: %+v", i, r)
		}
	}
	if found, err := s.Scrub(ctx); err != nil || found.Damaged > 0 {
		l.t.Errorf("scrubbing found %+v, %v", found, err)
	}
	l.count(b)
}

// count compares the books with what is there.
func (l *life) count(b storage.Bucket) {
	i, err := b.Info(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	all, err := b.Versions(context.Background(), storage.ListOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	var got storage.Usage
	for _, o := range all.Objects {
		to := &got.Older
		if o.Latest && !o.Deleted {
			to = &got.Objects
		}
		to.Number++
		to.Bytes += o.Size
	}
	got.Parts = i.Usage.Parts
	if got != i.Usage {
		l.t.Errorf("the books say %+v, and there is %+v", i.Usage, got)
	}
}

// TestPowerCutWritten: what was only written may be lost, but is never torn.
func TestPowerCutWritten(t *testing.T) {
	t.Parallel()
	seed := *seeded
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Log("seed", seed)
	for i := range *rounds {
		l := &life{
			t: t, rng: rand.New(rand.NewPCG(seed, uint64(i))), drive: &drivetest.Disk{}, history: &storagetest.History{},
			set: storage.Settings{Durability: storage.Written}, cfg: small(1, time.Now),
		}
		l.cfg.VolumeBytes, l.cfg.FlushBytes, l.cfg.ScrubBytesPerSecond = 256<<10, 128<<10, 1<<40
		l.found()
		l.round()
		l.history = &storagetest.History{} // no more is promised than that all is whole
		s := l.open()
		b, err := s.Bucket(context.Background(), "b")
		if err != nil {
			t.Fatal(err)
		}
		c := l.client(b)
		for k := range c.Keys {
			if err := c.Read(context.Background(), storagetest.Key(k)); err != nil {
				t.Fatal(fmt.Errorf("round %d: %w", i, err))
			}
		}
		if found, err := s.Scrub(context.Background()); err != nil || found.Damaged > 0 {
			t.Fatalf("round %d: scrubbing found %+v, %v", i, found, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
