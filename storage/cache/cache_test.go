package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/cache"
)

// source is a stored object that counts what is read of it.
type source struct {
	info   storage.Info
	body   []byte
	bad    int64 // from here on it is damaged, if it is above 0
	hold   chan struct{}
	reads  atomic.Int64
	closed atomic.Bool
}

func (s *source) Info() storage.Info { return s.info }
func (s *source) Close() error       { s.closed.Store(true); return nil }

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	s.reads.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	if s.closed.Load() {
		return 0, errors.New("it is closed")
	}
	n := copy(p, s.body[off:])
	if s.bad > 0 && off+int64(n) > s.bad {
		return int(max(s.bad-off, 0)), storage.ErrCorrupt
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *source) Extents(off, n int64) ([]storage.Extent, error) {
	p := make([]byte, n)
	_, err := s.ReadAt(p, off)
	return []storage.Extent{{Length: n, Bytes: p}}, err
}

func stored(revision uint64, n int) *source {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(revision, 0))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return &source{info: storage.Info{Key: "k", Size: int64(n), Revision: revision}, body: b}
}

func newCache(t *testing.T, cfg cache.Config) *cache.Cache {
	t.Helper()
	c, err := cache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read reads all of an object through the cache, and compares.
func read(t *testing.T, c *cache.Cache, s *source, owner *cache.Owner) {
	t.Helper()
	o := c.Wrap(s, s.info, owner)
	got, err := io.ReadAll(storage.Reader(o, 0, s.info.Size))
	if err := errors.Join(err, o.Close()); err != nil || !bytes.Equal(got, s.body) {
		t.Errorf("read %d of %d bytes, %v", len(got), len(s.body), err)
	}
}

func TestWhole(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 8 << 20})
	s := stored(1, 5000)
	if c.Whole(s.info) != nil {
		t.Fatal("it was there before it was read")
	}
	var owner cache.Owner
	read(t, c, s, &owner)
	o := c.Whole(s.info)
	if o == nil {
		t.Fatal("it is not there")
	}
	e, err := o.Extents(10, 100)
	if err != nil || len(e) != 1 || !bytes.Equal(e[0].Bytes, s.body[10:110]) {
		t.Errorf("got %v, %v", e, err)
	}
	if _, err := o.Extents(4000, 1001); !errors.Is(err, storage.ErrRange) {
		t.Errorf("got %v", err)
	}
	if owner.Objects.Load() != 1 || owner.Bytes.Load() != 5000 {
		t.Errorf("its owner has %d objects, %d bytes", owner.Objects.Load(), owner.Bytes.Load())
	}
	c.Forget(&owner)
	if c.Whole(s.info) != nil || c.Bytes() != 0 || owner.Bytes.Load() != 0 {
		t.Errorf("%d bytes are left", c.Bytes())
	}
}

func TestBound(t *testing.T) {
	const bound = 3 << 20
	c := newCache(t, cache.Config{BytesMax: bound})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range 400 {
				revision := 1 + rng.Uint64N(100)
				read(t, c, stored(revision, 1+int(revision%3)*60_000), nil)
				if n := c.Bytes(); n > bound {
					t.Errorf("it holds %d bytes", n)
				}
			}
		})
	}
	wg.Wait()
	if c.Bytes() < bound/2 {
		t.Errorf("it holds %d bytes only", c.Bytes())
	}
}

func TestScan(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 2 << 20})
	var used []*source
	for i := range 20 {
		s := stored(uint64(1+i), 50_000)
		used = append(used, s)
		for range 3 {
			read(t, c, s, nil)
		}
	}
	for i := range 2000 { // of what is read once
		read(t, c, stored(uint64(1000+i), 50_000), nil)
	}
	left := 0
	for _, s := range used {
		if c.Whole(s.info) != nil {
			left++
		}
	}
	if left < len(used) {
		t.Errorf("after a scan %d of %d objects that are used are there", left, len(used))
	}
}

func TestAsked(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 1})
	if c.Asked(7) || !c.Asked(7) || c.Asked(8) || !c.Asked(7) {
		t.Error("it does not remember what was asked for")
	}
}

func TestPin(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 8 << 20})
	pinned := stored(1, 3<<20+5)
	o := c.Wrap(pinned, pinned.info, nil)
	var told int64
	if err := o.Warm(context.Background(), true, func(n int64) { told += n }); err != nil || told != pinned.info.Size {
		t.Fatalf("%d bytes were warmed, %v", told, err)
	}
	if err := o.Close(); err != nil || !pinned.closed.Load() {
		t.Error("it is not closed", err)
	}
	big := stored(2, 4<<20)
	if err := c.Wrap(big, big.info, nil).Warm(context.Background(), true, nil); !errors.Is(err, storage.ErrFull) {
		t.Errorf("pinning more than the cache may gives %v", err)
	}
	for i := range 300 {
		read(t, c, stored(uint64(10+i), 200_000), nil)
	}
	before := pinned.reads.Load()
	pinned.closed.Store(false)
	read(t, c, pinned, nil)
	if n := pinned.reads.Load() - before; n != 0 {
		t.Errorf("%d blocks of what is pinned were read again", n)
	}
	c.Unpin(pinned.info)
	for i := range 300 {
		for range 3 {
			read(t, c, stored(uint64(1000+i), 200_000), nil)
		}
	}
	pinned.closed.Store(false)
	read(t, c, pinned, nil)
	if pinned.reads.Load() == before {
		t.Error("what is not pinned any more stays for ever")
	}
}

func TestReadAhead(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := newCache(t, cache.Config{BytesMax: 64 << 20, Metrics: reg})
	s := stored(1, 20<<20)
	read(t, c, s, nil)
	if n := s.reads.Load(); n != 20 {
		t.Errorf("it was read %d times", n)
	}
	if ahead := counted(t, reg, "polder_storage_cache_ahead_total"); ahead < 5 {
		t.Errorf("%v blocks of a sequential read were read ahead", ahead)
	}
	r := stored(2, 20<<20)
	o := c.Wrap(r, r.info, nil)
	before := counted(t, reg, "polder_storage_cache_ahead_total")
	for _, i := range []int64{19, 3, 11, 7, 1, 15} {
		if _, err := o.ReadAt(make([]byte, 10), i<<20); err != nil {
			t.Error(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if after := counted(t, reg, "polder_storage_cache_ahead_total"); after != before {
		t.Errorf("%v blocks of random reads were read ahead", after-before)
	}
}

func counted(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no " + name)
	return 0
}

func TestShared(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 64 << 20})
	s := stored(1, 100_000)
	s.hold = make(chan struct{})
	o := c.Wrap(s, s.info, nil)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			p := make([]byte, 1000)
			if _, err := o.ReadAt(p, 500); err != nil || !bytes.Equal(p, s.body[500:1500]) {
				t.Error("read wrong", err)
			}
		})
	}
	close(s.hold)
	wg.Wait()
	if n := s.reads.Load(); n > 1 {
		t.Errorf("it was read %d times", n)
	}
}

func TestDamage(t *testing.T) {
	c := newCache(t, cache.Config{BytesMax: 64 << 20})
	s := stored(1, 3<<20)
	s.bad = 2<<20 + 77
	o := c.Wrap(s, s.info, nil)
	p := make([]byte, 3<<20)
	n, err := o.ReadAt(p, 0)
	if int64(n) != s.bad || !errors.Is(err, storage.ErrCorrupt) || !bytes.Equal(p[:n], s.body[:n]) {
		t.Errorf("%d bytes came before %v", n, err)
	}
	if _, err := o.Extents(2<<20, 1000); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("extents of damage: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	newCache(t, cache.Config{BytesMax: 1 << 20, Metrics: reg})
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 7 {
		t.Errorf("%d metrics, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if _, err := cache.New(cache.Config{Metrics: reg}); err == nil {
		t.Error("two caches share their metrics")
	}
}

// TestYield: what others take of the memory goes from blocks, but for those that are
// pinned; and without room for a block, reads go past the cache.
func TestYield(t *testing.T) {
	const most = 12 << 20
	memory := budget.New(most)
	c := newCache(t, cache.Config{BytesMax: 8 << 20, Memory: memory})
	pinned := stored(1, 2<<20)
	if err := c.Wrap(pinned, pinned.info, nil).Warm(context.Background(), true, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		read(t, c, stored(uint64(2+i), 1<<20), nil)
	}
	if n := c.Bytes(); n < 7<<20 || n != memory.Used(budget.Cache) {
		t.Errorf("it holds %d bytes, of which the budget knows %d", n, memory.Used(budget.Cache))
	}
	for memory.Take(budget.Requests, 64<<10) {
		if n := c.Bytes() + memory.Used(budget.Requests); n > most {
			t.Fatalf("%d bytes are taken", n)
		}
	}
	if n := c.Bytes(); n < 2<<20 || n > 3<<20 {
		t.Errorf("it holds %d bytes, not what is pinned", n)
	}
	before := pinned.reads.Load()
	pinned.closed.Store(false)
	read(t, c, pinned, nil)
	if pinned.reads.Load() != before {
		t.Error("what is pinned was read again")
	}
	past := stored(20, 3<<20)
	read(t, c, past, nil)
	o := c.Wrap(past, past.info, nil)
	past.closed.Store(false)
	if e, err := o.Extents(5, 10); err != nil || !bytes.Equal(e[0].Bytes, past.body[5:15]) {
		t.Errorf("extents past the cache: %v", err)
	}
	memory.Give(budget.Requests, memory.Used(budget.Requests))
	read(t, c, stored(21, 1<<20), nil)
	if n := c.Bytes(); n < 3<<20 || n != memory.Used(budget.Cache) {
		t.Errorf("with room again it holds %d bytes, of which the budget knows %d", n, memory.Used(budget.Cache))
	}
	bad := stored(22, 1<<20)
	bad.bad = 10
	if _, err := c.Wrap(bad, bad.info, nil).ReadAt(make([]byte, 100), 0); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("damage: %v", err)
	}
	if n := c.Bytes(); n != memory.Used(budget.Cache) {
		t.Errorf("after damage it holds %d bytes, of which the budget knows %d", n, memory.Used(budget.Cache))
	}
}
