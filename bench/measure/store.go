package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
)

const (
	smallBytes  = 4 << 10
	largeBytes  = 10 << 20
	measureTime = 4 * time.Second
)

// measureStore: the object store's core, called, beside plain files on the same disk, in
// turns. What comes through the front door is measureDoors'.
func measureStore(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "store")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := disk.Open(disk.Config{Dirs: []string{filepath.Join(dir, "pool")}})
	if err != nil {
		return err
	}
	buckets := map[string]storage.Bucket{}
	for name, set := range map[string]storage.Settings{"synced": {}, "written": {Durability: storage.Written}} {
		if buckets[name], err = s.CreateBucket(ctx, name, set); err != nil {
			return err
		}
	}
	plain := plainFiles(filepath.Join(dir, "plain"))
	if err := os.MkdirAll(string(plain), 0o755); err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(runCtx) })
	err = b.race(storeRaces(buckets, plain))
	stop()
	wg.Wait()
	return errors.Join(err, s.Close())
}

// race is one number: an operation that many clients do at once.
type race struct {
	what    string
	clients int
	bytes   int
	note    string
	op      func(i int, body []byte) error
}

func storeRaces(bk map[string]storage.Bucket, plain plainFiles) []race {
	put := func(bucket string) func(int, []byte) error {
		return func(i int, body []byte) error {
			_, err := bk[bucket].Put(context.Background(), key(i), bytes.NewReader(body), storage.PutOptions{Size: int64(len(body))})
			return err
		}
	}
	get := func(i int, body []byte) error {
		o, err := bk["synced"].Open(context.Background(), key(i), storage.ReadOptions{})
		if err != nil {
			return err
		}
		_, err = o.ReadAt(body, 0)
		return errors.Join(err, o.Close())
	}
	return []race{
		{"PUT 4 KiB, called by 64, MD5, synced", 64, smallBytes, "", put("synced")},
		{"PUT 4 KiB, called by 64, MD5, written", 64, smallBytes, "", put("written")},
		{"plain file of 4 KiB, by 64, created, written and fsynced", 64, smallBytes, "baseline", plain.put(true)},
		{"GET 4 KiB, called by 64", 64, smallBytes, "", get},
		{"PUT 10 MiB, called by 8, MD5, synced", 8, largeBytes, "", put("synced")},
		{"PUT 10 MiB, called by 8, MD5, written", 8, largeBytes, "", put("written")},
		{"plain file of 10 MiB, by 8, created, written and fsynced", 8, largeBytes, "baseline, no MD5", plain.put(true)},
		{"GET 10 MiB, called by 8", 8, largeBytes, "", get},
	}
}

func key(i int) string { return fmt.Sprintf("dir%03d/object-%08d", i%500, i) }

// race runs all in turns.
func (b *bench) race(races []race) error {
	rates := make([][]float64, len(races))
	for range b.runs {
		for i, r := range races {
			rate, err := r.run()
			if err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	for i, r := range races {
		unit := "/s"
		if r.bytes == largeBytes {
			unit = "MiB/s"
			for j := range rates[i] {
				rates[i][j] *= largeBytes >> 20
			}
		}
		b.add(r.what, unit, rates[i], r.note)
	}
	return nil
}

// window of names that large objects are put under, again and again.
const window = 16

// run counts operations in measureTime, or until each name had its turn, if that takes
// longer: reads go over what was put before.
func (r race) run() (rate float64, err error) {
	var wg sync.WaitGroup
	var count atomic.Int64
	var failed atomic.Pointer[error]
	bodies := make([][]byte, r.clients)
	for c := range bodies {
		bodies[c] = make([]byte, r.bytes)
		_, _ = rand.NewChaCha8([32]byte{byte(c)}).Read(bodies[c]) // it never fails
	}
	syscall.Sync() // what others left to be written is not this one's
	began := time.Now()
	for c, body := range bodies {
		wg.Go(func() {
			names := 1_000
			if r.bytes == largeBytes {
				names = window
			}
			for i := c; time.Since(began) < measureTime || i < names; i += r.clients {
				if err := r.op(r.bytes+i%names, body); err != nil {
					failed.Store(&err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		err = *p
	}
	return float64(count.Load()) / time.Since(began).Seconds(), err
}

// plainFiles is what the store is measured against: a file for each object.
type plainFiles string

func (p plainFiles) path(name string) string {
	return filepath.Join(string(p), strings.ReplaceAll(name, "/", "_"))
}

func (p plainFiles) put(sync bool) func(int, []byte) error {
	return func(i int, body []byte) error { return p.write(key(i), bytes.NewReader(body), sync) }
}

// write writes beside the file and renames, as what replaces a file must.
func (p plainFiles) write(name string, r io.Reader, sync bool) error {
	f, err := os.CreateTemp(string(p), "new-")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if sync && err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Rename(f.Name(), p.path(name)))
}
