package mem_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(_ *testing.T, now func() time.Time) storage.Store { return mem.New(0, now) })
}

func TestFull(t *testing.T) {
	ctx := context.Background()
	s := mem.New(1<<20, time.Now)
	b, err := s.CreateBucket(ctx, "b", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100_000, 500_000} {
		for i := 0; err == nil; i++ {
			_, err = b.Put(ctx, string(rune('a'+i)), bytes.NewReader(make([]byte, n)), storage.PutOptions{})
		}
		if !errors.Is(err, storage.ErrFull) {
			t.Errorf("filling it ends with %v", err)
		}
		l, _ := b.List(ctx, storage.ListOptions{})
		for _, o := range l.Objects {
			if _, err := b.Delete(ctx, o.Key, storage.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
		total, free, err := s.Room(ctx)
		if err != nil || total != 1<<20 || free != total {
			t.Errorf("%d of %d are free in the end, %v", free, total, err)
		}
	}
}
