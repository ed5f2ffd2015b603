package tier_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/tier"
)

// TestRun: what Run is for happens without anybody asking, also after an outage, and
// ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	below := mem.New(0, time.Now)
	r := newRemote(below)
	s := newStore(t, tier.Config{
		Home: diskOn(t, &drivetest.Disk{}, time.Now, 1), Lower: level(r), Cache: newCache(t, 4<<20), Workers: 2,
		ScanEvery: 5 * time.Millisecond, PressureEvery: 5 * time.Millisecond, CollectEvery: 5 * time.Millisecond,
	})
	live, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- s.Run(live) }()
	b := create(t, s, storage.Settings{Tiers: storage.Tiers{Lower: "cold", Write: storage.WriteBack, DemoteAfter: time.Millisecond, NoPromote: true}})
	r.set(gone)
	put(t, b, "k", []byte("in an outage"))
	r.set(fine)
	want := map[string][]byte{"k": []byte("in an outage")}
	for i := range 8 {
		key := fmt.Sprint("k", i)
		put(t, b, key, []byte("is replaced"))
		want[key] = bytes.Repeat([]byte{byte(i)}, 1000*i*i+1)
		put(t, b, key, want[key])
	}
	until := time.Now().Add(time.Minute)
	for held(t, s, "tier capacity") > 0 || held(t, s, "tier cold") < 9 || blobs(t, below) > 9 {
		if time.Now().After(until) {
			t.Fatalf("%d are at home, %d below, with %d blobs", held(t, s, "tier capacity"), held(t, s, "tier cold"), blobs(t, below))
		}
	}
	for k, data := range want {
		check(t, b, k, data)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestFrontDoorSeesNothing: what a client is told is the same wherever the data is.
func TestFrontDoorSeesNothing(t *testing.T) {
	s := newStore(t, tier.Config{Home: mem.New(0, time.Now), Lower: level(mem.New(0, time.Now)), Cache: newCache(t, 4<<20)})
	b := create(t, s, storage.Settings{})
	put(t, b, "k", body(1, 5000))
	tell := func() string {
		t.Helper()
		stat, err := b.Stat(ctx, "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := b.Open(ctx, "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		l, err := b.List(ctx, storage.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := b.Versions(ctx, storage.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		info, err := b.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v %+v %+v %+v %+v", stat, o.Info(), l, v, info)
	}
	atHome := tell()
	for _, c := range []storage.Class{storage.Remote, storage.Hot, storage.Remote} {
		if err := s.Move(ctx, "b", "k", "", c); err != nil {
			t.Fatal(err)
		}
		for range 3 { // from below, and from memory
			if got := tell(); got != atHome {
				t.Errorf("in %s it says\n%s, and at home\n%s", c, got, atHome)
			}
			check(t, b, "k", body(1, 5000))
		}
	}
}
