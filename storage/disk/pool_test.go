package disk_test

import (
	"errors"
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

// TestPool adds, drains and loses disks, while clients work with the store.
func TestPool(t *testing.T) {
	t.Parallel()
	for copies := 1; copies <= 2; copies++ {
		t.Run(fmt.Sprintf("%d copies", copies), func(t *testing.T) { testPool(t, copies) })
	}
}

func testPool(t *testing.T, copies int) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	d := &drivetest.Disk{}
	s := open(t, small(2, time.Now).On(d))
	b := bucket(t, s, storage.Settings{Copies: copies})
	want := fill(t, b, 60)
	var h storagetest.History
	var wg sync.WaitGroup
	end := make(chan struct{})
	c, err := s.CreateBucket(ctx, "clients", storage.Settings{Copies: copies, Versioning: storage.Versioned})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		cl := &storagetest.Client{Bucket: c, History: &h, Rng: rand.New(rand.NewPCG(seed, uint64(i))), Keys: 12, Sizes: []int{20, 5000, 200_000}, Name: uint32(i)}
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := cl.Step(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	id, err := s.AddDisk("/disk2", 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	balance(t, s, func(p disk.Progress) { seen += p.Moved })
	if seen == 0 || len(d.Names("/disk2/blobs/")) == 0 {
		t.Errorf("%d parts moved to the new disk", seen)
	}
	check(t, b, want)
	first := s.Disks()[0].ID
	if err := s.DrainDisk(first); err != nil {
		t.Fatal(err)
	}
	balance(t, s, nil)
	close(end)
	wg.Wait()
	if n := len(s.Disks()); n != 2 || s.Disks()[1].ID != id {
		t.Errorf("%d disks are left", n)
	}
	check(t, b, want)
	for _, why := range h.Check() {
		t.Error(why)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := small(0, time.Now).On(d)
	cfg.Dirs = []string{"/disk0", "/disk1", "/disk2"}
	if _, err := disk.Open(cfg); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a disk that was taken out was taken in again: %v", err)
	}
	cfg.Dirs = []string{"/disk1"}
	if _, err := disk.Open(cfg); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a disk that is away was not missed: %v", err)
	}
	lose(t, cfg, copies, want)
}

func balance(t *testing.T, s *disk.Store, progress func(disk.Progress)) {
	t.Helper()
	if err := s.Balance(ctx, progress); err != nil {
		t.Fatal(err)
	}
	if !s.Settled() {
		t.Error("the store is not settled")
	}
}

// lose opens the store without one of its disks, and replaces it.
func lose(t *testing.T, cfg disk.Config, copies int, want map[string][]byte) {
	cfg.Missing = true
	s := open(t, cfg)
	b := bucket(t, s, storage.Settings{})
	away := 0
	for k, body := range want {
		got, err := get(b, k)
		switch {
		case errors.Is(err, storage.ErrUnavailable):
			away++
		case err != nil || string(got) != string(body):
			t.Errorf("%s: %v", k, err)
		}
	}
	lost := ""
	for _, d := range s.Disks() {
		if d.Err != nil {
			lost = d.ID
		}
	}
	if copies == 1 {
		if away == 0 {
			t.Error("objects of a disk that is away were found")
		}
		if err := s.DropDisk(lost, false); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("the only copies were dropped: %v", err)
		}
		if _, err := s.ReplaceDisk(lost, "/disk3", 0, false); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("the only copies were replaced: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if away > 0 {
		t.Errorf("%d objects with copies are away", away)
	}
	if err := s.DropDisk(lost, false); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("one disk was left for two copies: %v", err)
	}
	if _, err := s.ReplaceDisk(lost, "/disk3", 0, false); err != nil {
		t.Fatal(err)
	}
	balance(t, s, nil)
	check(t, b, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestShares: disks get what their weights say, and a new one takes only its share.
func TestShares(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	s := open(t, small(3, time.Now).On(d))
	b := bucket(t, s, storage.Settings{Durability: storage.Written})
	for i := range 1200 {
		if err := put(b, fmt.Sprint("k", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddDisk("/disk3", 3<<40); err != nil {
		t.Fatal(err)
	}
	moved := map[string]int64{}
	balance(t, s, func(p disk.Progress) { moved[p.Disk] = p.Moved })
	sum := int64(0)
	for _, n := range moved {
		sum += n
	}
	if sum < 520 || sum > 680 { // half the weight is the new disk's
		t.Errorf("%d of 1200 moved", sum)
	}
}
