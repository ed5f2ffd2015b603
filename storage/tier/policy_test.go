package tier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/residency"
	"polder.dev/polder/storage/tier"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)} }

// look finds what is due and does it.
func look(t testing.TB, s *tier.Store) {
	t.Helper()
	if err := s.Scan(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAge(t *testing.T) {
	c := newClock()
	s := newStore(t, tier.Config{Home: mem.New(0, c.now), Lower: level(mem.New(0, c.now)), Now: c.now})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{
		Lower: "cold", DemoteAfter: time.Hour, DemoteBytesMin: 10, Pinned: []string{"keep/"},
	}})
	bodies := map[string][]byte{"used": body(1, 100), "unused": body(2, 100), "small": body(3, 9), "keep/it": body(4, 100)}
	for k, data := range bodies {
		put(t, b, k, data)
	}
	c.pass(59 * time.Minute)
	check(t, b, "used", bodies["used"])
	look(t, s)
	if n := held(t, s, "tier cold"); n != 0 {
		t.Errorf("%d objects went down too early", n)
	}
	c.pass(2 * time.Minute)
	look(t, s)
	if n := held(t, s, "tier cold"); n != 1 {
		t.Errorf("%d objects are below; one was not used", n)
	}
	c.pass(time.Hour)
	look(t, s)
	if n := held(t, s, "tier hot"); n != 2 {
		t.Errorf("%d objects are at home; one is small and one pinned", n)
	}
	for k, data := range bodies {
		check(t, b, k, data)
	}
	// What is used again and again comes home, and its copy stays below.
	check(t, b, "unused", bodies["unused"])
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if n, m := held(t, s, "tier hot"), held(t, s, "tier cold"); n != 3 || m != 2 {
		t.Errorf("%d objects are at home, %d below", n, m)
	}
}

// TestTransition moves a version as a lifecycle's rule says.
func TestTransition(t *testing.T) {
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(mem.New(0, time.Now))})
	b := create(t, s, storage.Settings{Versioning: storage.Versioned})
	old, err := b.Put(ctx, "k", strings.NewReader("old"), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "k", []byte("new"))
	stale := old
	stale.Revision++
	for i, step := range []struct {
		of    storage.Info
		class storage.Class
		moved bool
		below int64
	}{
		{old, storage.Remote, true, 1}, {old, storage.Remote, false, 1}, {old, storage.Hot, true, 1}, {old, storage.Hot, false, 1},
		{stale, storage.Remote, false, 1},
	} {
		moved, err := s.Transition(ctx, b, step.of, step.class)
		if err != nil || moved != step.moved {
			t.Errorf("step %d: moved is %t, %v", i, moved, err)
		}
		if n := held(t, s, "tier cold"); n != step.below {
			t.Errorf("step %d: %d are below", i, n)
		}
	}
	check(t, b, "k", []byte("new"))
	_, err = s.Transition(ctx, b, old, storage.Capacity)
	wantErr(t, err, storage.ErrInvalid)
}

func TestWriteBack(t *testing.T) {
	home, below := mem.New(0, time.Now), mem.New(0, time.Now)
	reg := prometheus.NewRegistry()
	s := newStore(t, tier.Config{Home: home, Lower: level(below), Metrics: reg})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteBack}})
	for i := range 5 {
		put(t, b, fmt.Sprint("k", i), body(uint64(i), 1000))
	}
	put(t, b, "empty", nil)
	if n := blobs(t, below); n != 0 {
		t.Errorf("%d are below before anybody copied them", n)
	}
	// The next start finds what waits from the entries.
	again := newStore(t, tier.Config{Home: home, Lower: level(below)})
	look(t, again)
	if n := blobs(t, below); n != 5 {
		t.Errorf("%d are below", n)
	}
	if err := s.Drain(ctx); err != nil { // all is done already
		t.Fatal(err)
	}
	if n := blobs(t, below); n != 5 {
		t.Errorf("%d are below, copied again", n)
	}
	if err := s.Scan(ctx); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	got, err := testutil.GatherAndCount(reg, "polder_storage_tier_objects", "polder_storage_tier_unflushed")
	if err != nil || got != 3 {
		t.Errorf("%d metrics, %v", got, err)
	}
}

func TestPressure(t *testing.T) {
	c := newClock()
	home, below := mem.New(1_000_000, c.now), mem.New(0, c.now)
	r := newRemote(below)
	s := newStore(t, tier.Config{Home: home, Lower: level(r), Now: c.now, HighWater: 0.8, LowWater: 0.5})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold", Pinned: []string{"pin"}}})
	back, err := s.CreateBucket(ctx, "back", storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteBack}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "pin", body(1, 100_000))
	put(t, back, "unflushed", body(2, 100_000))
	for i := range 7 {
		c.pass(time.Minute)
		put(t, b, fmt.Sprint("k", i), body(uint64(10+i), 100_000))
	}
	c.pass(time.Minute)
	check(t, b, "k0", body(10, 100_000))
	r.set(gone)
	wantErr(t, s.Relieve(ctx), storage.ErrUnavailable)
	if n := held(t, s, "tier hot"); n != 8 {
		t.Errorf("%d objects are at home; none could leave", n)
	}
	r.set(fine)
	if err := s.Relieve(ctx); err != nil {
		t.Fatal(err)
	}
	if _, free, err := home.Room(ctx); err != nil || free < 500_000 || free > 600_000 {
		t.Errorf("%d bytes are free at home, %v", free, err)
	}
	r.set(gone) // so that only what is at home can be read
	for _, k := range []string{"pin", "k0", "k5", "k6"} {
		if _, err := get(b, k); err != nil {
			t.Errorf("%s, which is pinned or was used last, has left: %v", k, err)
		}
	}
	check(t, back, "unflushed", body(2, 100_000))
	for _, k := range []string{"k1", "k2"} {
		_, err := get(b, k)
		wantErr(t, err, storage.ErrUnavailable)
	}
}

func TestWarm(t *testing.T) {
	below := mem.New(0, time.Now)
	r := newRemote(below)
	cc := newCache(t, 16<<20)
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(r), Cache: cc})
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold"}})
	var total int64
	for i := range 6 {
		data := body(uint64(i), 1+i*600_000)
		put(t, b, fmt.Sprintf("set/%d", i), data)
		total += int64(len(data))
	}
	put(t, b, "other", body(9, 1000))
	for _, k := range []string{"set/0", "set/1", "set/2", "set/3", "set/4", "set/5", "other"} {
		if err := s.Move(ctx, "b", k, "", storage.Remote); err != nil {
			t.Fatal(err)
		}
	}
	var last tier.Progress
	calls := 0
	pin, err := s.Warm(ctx, "b", tier.Warm{Prefix: "set/", Hot: true, Pin: true}, func(p tier.Progress) {
		if p.Bytes < last.Bytes || p.Objects < last.Objects || p.BytesTotal != total || p.ObjectsTotal != 6 {
			t.Errorf("progress went from %+v to %+v", last, p)
		}
		last = p
		calls++
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != (tier.Progress{Objects: 6, ObjectsTotal: 6, Bytes: total, BytesTotal: total}) || calls < 12 {
		t.Errorf("after %d calls progress is %+v", calls, last)
	}
	r.set(gone)
	for i := range 6 {
		check(t, b, fmt.Sprintf("set/%d", i), body(uint64(i), 1+i*600_000))
	}
	if all, err := s.Where(ctx, "b"); err != nil || all[0].Objects != 6 || all[0].Bytes != total {
		t.Errorf("memory holds %+v, %v", all[0], err)
	}
	o, err := b.Open(ctx, "set/5", storage.ReadOptions{}) // it is of several blocks
	if err != nil {
		t.Fatal(err)
	}
	if es, err := o.Extents(1<<20+5, 1000); err != nil || len(es) != 1 || !bytes.Equal(es[0].Bytes, body(5, 3_000_001)[1<<20+5:1<<20+1005]) {
		t.Errorf("got %d extents, %v", len(es), err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	r.set(fine)
	// A pinned object does not leave for being old or in the way.
	err = b.Configure(ctx, func(set *storage.Settings) error { set.Tiers.DemoteAfter = 1; return nil })
	if err != nil {
		t.Fatal(err)
	}
	look(t, s)
	if n := held(t, s, "tier hot"); n != 6 {
		t.Errorf("%d pinned objects are at home", n)
	}
	pin.Release()
	pin.Release()
	look(t, s)
	if n := held(t, s, "tier hot"); n != 0 {
		t.Errorf("%d objects stay that are not pinned any more", n)
	}
	if pin, err = s.Warm(ctx, "b", tier.Warm{Keys: []string{"set/1", "other"}}, nil); err != nil {
		t.Fatal(err)
	}
	pin.Release()
	if n := held(t, s, "tier hot"); n != 2 {
		t.Errorf("%d objects were warmed", n)
	}
	_, err = s.Warm(ctx, "b", tier.Warm{Keys: []string{"set/1", "none"}, Pin: true}, nil)
	wantErr(t, err, storage.ErrNoObject)
	_, err = s.Warm(ctx, "none", tier.Warm{}, nil)
	wantErr(t, err, storage.ErrNoBucket)
}

func TestResidency(t *testing.T) {
	cold, abroad := mem.New(0, time.Now), mem.New(0, time.Now)
	s := newStore(t, tier.Config{
		Home: mem.New(0, time.Now), HomeJurisdiction: "eu/de", Cache: newCache(t, 4<<20), CacheJurisdiction: "eu/de",
		Lower: []tier.Level{
			{Name: "cold", Class: storage.Capacity, Store: cold, Jurisdiction: "eu/fr"},
			{Name: "abroad", Class: storage.Remote, Store: abroad, Jurisdiction: "us"},
		},
	})
	eu := storage.Residency{Home: "eu"}
	for _, c := range []struct {
		name string
		set  storage.Settings
		says string
	}{
		{"remote", storage.Settings{Residency: eu, Tiers: storage.Tiers{Lower: "abroad"}}, "tier abroad in us"},
		{"home", storage.Settings{Residency: storage.Residency{Home: "us"}}, "tier hot in eu/de"},
		{"a part of it", storage.Settings{Residency: storage.Residency{Home: "eu/de"}, Tiers: storage.Tiers{Lower: "cold"}}, "tier cold in eu/fr"},
	} {
		_, err := s.CreateBucket(ctx, "refused", c.set)
		wantErr(t, err, storage.ErrForbiddenPlace)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q is not in: %v", c.name, c.says, err)
		}
	}
	b := create(t, s, storage.Settings{Residency: eu, Tiers: storage.Tiers{Lower: "cold"}})
	put(t, b, "k", body(1, 1000))
	err := b.Configure(ctx, func(set *storage.Settings) error { set.Tiers.Lower = "abroad"; return nil })
	wantErr(t, err, storage.ErrForbiddenPlace)
	wantErr(t, s.Move(ctx, "b", "k", "", storage.Remote), storage.ErrForbiddenPlace)
	if n := blobs(t, abroad); n != 0 {
		t.Errorf("%d blobs are abroad", n)
	}
	if err := s.Move(ctx, "b", "k", "", storage.Capacity); err != nil {
		t.Fatal(err)
	}
	narrow := func(set *storage.Settings) error {
		set.Residency, set.Tiers = storage.Residency{Home: "eu/de"}, storage.Tiers{}
		return nil
	}
	wantErr(t, b.Configure(ctx, narrow), storage.ErrForbiddenPlace) // data is in France
	check(t, b, "k", body(1, 1000))
	put(t, b, "k", body(2, 1000))
	check(t, b, "k", body(2, 1000))
	check(t, b, "k", body(2, 1000))
	if err := b.Configure(ctx, narrow); err != nil {
		t.Error(err)
	}
	if n := blobs(t, cold); n != 0 {
		t.Errorf("%d blobs of what was deleted are still in France", n)
	}
	all, err := s.Where(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	want := []residency.Holding{
		{Place: residency.Place{Name: "cache in memory", Jurisdiction: "eu/de"}, Class: storage.Hot, Objects: 2, Bytes: 2000}, // of the old version as well
		{Place: residency.Place{Name: "tier hot", Jurisdiction: "eu/de"}, Class: storage.Hot, Objects: 1, Bytes: 1000},
		{Place: residency.Place{Name: "tier cold", Jurisdiction: "eu/fr"}, Class: storage.Capacity},
		{Place: residency.Place{Name: "tier abroad", Jurisdiction: "us"}, Class: storage.Remote},
	}
	if d := cmp.Diff(want, all); d != "" {
		t.Errorf("got + where - was wanted:\n%s", d)
	}
}

// TestResidencyOfMemory: memory is a place like any other.
func TestResidencyOfMemory(t *testing.T) {
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), HomeJurisdiction: "eu", Cache: newCache(t, 4<<20), CacheJurisdiction: "us"})
	_, err := s.CreateBucket(ctx, "b", storage.Settings{Residency: storage.Residency{Home: "eu"}})
	wantErr(t, err, storage.ErrForbiddenPlace)
	b := create(t, s, storage.Settings{})
	put(t, b, "k", body(1, 1000))
	check(t, b, "k", body(1, 1000))
	o, err := b.Open(ctx, "k", storage.ReadOptions{}) // through memory, from now on
	if err != nil {
		t.Fatal(err)
	}
	bind := func(noHot bool) error {
		return b.Configure(ctx, func(set *storage.Settings) error {
			set.Residency.Home, set.Tiers.NoHot = "eu", noHot
			return nil
		})
	}
	wantErr(t, bind(false), storage.ErrForbiddenPlace)
	if err := bind(true); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if all, err := s.Where(ctx, "b"); err != nil || all[0].Bytes != 0 {
		t.Errorf("memory holds %+v, %v", all[0], err)
	}
}

func TestPoliciesRefused(t *testing.T) {
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(mem.New(0, time.Now))})
	for _, p := range []storage.Tiers{
		{Lower: "none"}, {Write: storage.WriteBack}, {DemoteAfter: time.Hour}, {Lower: "cold", Write: 9}, {Lower: "cold", DemoteAfter: -1},
		{Pinned: make([]string, 2000)},
	} {
		_, err := s.CreateBucket(ctx, "b", storage.Settings{Tiers: p})
		wantErr(t, err, storage.ErrInvalid)
	}
	for _, c := range []tier.Config{
		{}, {Home: mem.New(0, time.Now), HomeJurisdiction: "EU"}, {Home: mem.New(0, time.Now), HighWater: 0.5, LowWater: 0.9},
		{Home: mem.New(0, time.Now), Lower: []tier.Level{{Name: "a/b", Store: mem.New(0, time.Now)}}},
		{Home: mem.New(0, time.Now), Default: storage.Tiers{Lower: "none"}},
	} {
		_, err := tier.New(c)
		wantErr(t, err, storage.ErrInvalid)
	}
}

// TestOldSettings: what earlier programs wrote means no policy and no bounds.
func TestOldSettings(t *testing.T) {
	var set storage.Settings
	old := `{"Durability":1,"Versioning":0,"Copies":1,"PlainETag":false,"UploadAgeMax":0,"Labels":null}`
	if err := json.Unmarshal([]byte(old), &set); err != nil || set.Residency.Bound() || set.Tiers.Lower != "" {
		t.Errorf("%+v, %v", set, err)
	}
}
