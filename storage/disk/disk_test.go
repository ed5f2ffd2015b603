package disk_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/disk/drive"
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

// unsynced is the machine's file system, but for syncs, which are most of the time.
type unsynced struct{ drive.OS }

type unsyncedFile struct{ drive.File }

func (unsyncedFile) Sync() error { return nil }

func (u unsynced) Create(name string) (drive.File, error) {
	f, err := u.OS.Create(name)
	return unsyncedFile{f}, err
}

func (u unsynced) Open(name string) (drive.File, error) {
	f, err := u.OS.Open(name)
	return unsyncedFile{f}, err
}

func (unsynced) SyncDir(string) error { return nil }

func TestConformance(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
			return open(t, disk.Config{Dirs: []string{t.TempDir()}, Now: now, ReserveBytes: 1}.On(unsynced{}))
		})
	})
	t.Run("three disks", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
			return open(t, small(3, now).On(&drivetest.Disk{}))
		})
	})
}

// TestDirectory is on the machine's disk, with Run beside, closed and opened again.
func TestDirectory(t *testing.T) {
	t.Parallel()
	c := disk.Config{Dirs: []string{t.TempDir()}, ReserveBytes: 1, FlushEvery: 5 * time.Millisecond, TidyEvery: 10 * time.Millisecond}
	want := map[string][]byte{}
	for round := range 3 {
		s := open(t, c)
		if _, err := disk.Open(c); err == nil {
			t.Fatal("two stores were opened in one directory")
		}
		run, stop := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- s.Run(run) }()
		b := bucket(t, s, storage.Settings{Durability: storage.Written})
		check(t, b, want)
		for range 2 { // what is replaced has to go
			for k, v := range fill(t, b, 9+round) {
				want[k] = v
			}
		}
		for left := -1; left != len(want)/3; { // large ones have a file each
			left = files(t, c.Dirs[0])
		}
		check(t, b, want)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// files counts the blobs that have one.
func files(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
