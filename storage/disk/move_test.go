package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drivetest"
)

// sink drops the data of an object, as if a lower tier had it.
func sink(t *testing.T, b storage.Bucket, key, place string) storage.Info {
	t.Helper()
	i, err := b.Stat(ctx, key, storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i, err = b.(storage.Relocator).Relocate(ctx, key, storage.Relocation{
		Revision: i.Revision, From: i.Whereabouts, To: storage.Whereabouts{Place: place, Away: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func loose(t *testing.T, s *disk.Store) []storage.Loose {
	t.Helper()
	l, err := s.Loose(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNotesMove: notes of places follow their objects when disks come and go.
func TestNotesMove(t *testing.T) {
	t.Parallel()
	for copies := 1; copies <= 2; copies++ {
		t.Run(fmt.Sprintf("%d copies", copies), func(t *testing.T) {
			s := open(t, small(2, time.Now).On(&drivetest.Disk{}))
			b := bucket(t, s, storage.Settings{Copies: copies})
			want := fill(t, b, 30)
			for k := range want {
				sink(t, b, k, "place of "+k)
			}
			for i := range 10 {
				if _, err := b.Delete(ctx, fmt.Sprintf("key%d", i), storage.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.AddDisk("/disk2", 0); err != nil {
				t.Fatal(err)
			}
			if err := s.Forget(ctx, loose(t, s)[0].ID); err != nil { // before it has moved
				t.Fatal(err)
			}
			if n := len(loose(t, s)); n != 9 {
				t.Errorf("%d places are loose while parts move", n)
			}
			if err := s.DrainDisk(s.Disks()[0].ID); err != nil {
				t.Fatal(err)
			}
			balance(t, s, nil)
			all := loose(t, s)
			if len(all) != 9 {
				t.Errorf("%d places are loose afterwards", len(all))
			}
			for _, n := range all {
				if err := s.Forget(ctx, n.ID); err != nil {
					t.Error(err)
				}
			}
			if n := len(loose(t, s)); n != 0 {
				t.Errorf("%d places cannot be forgotten", n)
			}
			for i := 10; i < 30; i++ {
				key := fmt.Sprintf("key%d", i)
				info, err := b.Stat(ctx, key, storage.ReadOptions{})
				if err != nil || info.Whereabouts.Place != "place of "+key || !info.Whereabouts.Away {
					t.Errorf("%s is at %+v, %v", key, info.Whereabouts, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullDiskSinks: a disk without room for anything else lets data go.
func TestFullDiskSinks(t *testing.T) {
	t.Parallel()
	c := small(1, time.Now)
	c.ReserveBytes = 1 << 20
	s := open(t, c.On(&drivetest.Disk{BytesMax: 8 << 20}))
	b := bucket(t, s, storage.Settings{})
	body := bytes.Repeat([]byte("x"), 300_000)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = put(b, fmt.Sprintf("key%d", n), body)
	}
	if !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	for err = nil; err == nil; { // the last bytes
		err = put(b, "small", body[:1000])
	}
	if !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	claim, err := b.(storage.Relocator).Claim(ctx, "key0", 1, "place")
	if err != nil {
		t.Fatal("a full disk notes no place:", err)
	}
	sink(t, b, "key0", "place")
	sink(t, b, "key1", "another")
	if err := s.Forget(ctx, claim.ID); err != nil {
		t.Error(err)
	}
	if _, err := b.Delete(ctx, "key0", storage.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(b, "new", body); err != nil {
		t.Error("there is no room after all:", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
