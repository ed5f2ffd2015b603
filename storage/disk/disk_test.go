package disk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drivetest"
	"polder.dev/polder/storage/storagetest"
)

// small makes borders come often: volumes, flushes of the index, the reserve.
func small(dirs int, now func() time.Time) disk.Config {
	c := disk.Config{Now: now, VolumeBytes: 1 << 20, CacheBytes: 1 << 20, ReserveBytes: 1, FlushBytes: 4 << 20}
	for i := range dirs {
		c.Dirs = append(c.Dirs, fmt.Sprintf("/disk%d", i))
	}
	return c
}

func open(t *testing.T, c disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// looked runs a store's Run, as long as the test.
func looked(t *testing.T, s *disk.Store) *disk.Store {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
			return open(t, disk.Config{Dirs: []string{t.TempDir()}, Now: now, ReserveBytes: 1})
		})
	})
	t.Run("three disks", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
			return open(t, small(3, now).On(&drivetest.Disk{}))
		})
	})
}
