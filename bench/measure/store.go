package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
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

// measureStore: the object store's core beside plain files on the same disk, in turns.
func measureStore(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "store")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return b.storeSpeed(ctx, dir)
}

// storeSpeed measures small and large objects, by calls and over HTTP.
func (b *bench) storeSpeed(ctx context.Context, dir string) error {
	s, err := disk.Open(disk.Config{Dirs: []string{filepath.Join(dir, "pool")}})
	if err != nil {
		return err
	}
	buckets := map[string]storage.Bucket{}
	for name, set := range map[string]storage.Settings{
		"synced": {}, "written": {Durability: storage.Written}, "plain": {Durability: storage.Written, PlainETag: true},
	} {
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
	server := httptest.NewServer(handler(buckets, plain))
	web := &web{url: server.URL, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	err = b.race(storeRaces(buckets, plain, web))
	server.Close()
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

func storeRaces(bk map[string]storage.Bucket, plain plainFiles, w *web) []race {
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
		{"PUT 4 KiB, called, MD5, synced", 64, smallBytes, "", put("synced")},
		{"PUT 4 KiB, called, MD5, written", 64, smallBytes, "", put("written")},
		{"plain file of 4 KiB, created, written and fsynced", 64, smallBytes, "baseline", plain.put(true)},
		{"GET 4 KiB, called", 64, smallBytes, "", get},
		{"PUT 4 KiB, HTTP, MD5, synced", 64, smallBytes, "", w.put("synced")},
		{"PUT 4 KiB, HTTP, plain file, MD5, fsynced", 64, smallBytes, "baseline", w.put("file-sync")},
		{"GET 4 KiB, HTTP", 64, smallBytes, "", w.get("synced")},
		{"GET 4 KiB, HTTP, plain file", 64, smallBytes, "baseline", w.get("file-sync")},
		{"PUT 10 MiB, HTTP, MD5, synced", 8, largeBytes, "", w.put("synced")},
		{"PUT 10 MiB, HTTP, plain file, MD5, fsynced", 8, largeBytes, "baseline", w.put("file-sync")},
		{"PUT 10 MiB, HTTP, MD5, written", 8, largeBytes, "", w.put("written")},
		{"PUT 10 MiB, HTTP, plain file, MD5", 8, largeBytes, "baseline", w.put("file")},
		{"PUT 10 MiB, HTTP, plain ETag, written", 8, largeBytes, "", w.put("plain")},
		{"PUT 10 MiB, HTTP, MD5 of a discarded body", 8, largeBytes, "baseline", w.put("discard")},
		{"GET 10 MiB, HTTP", 8, largeBytes, "", w.get("synced")},
		{"GET 10 MiB, HTTP, plain file", 8, largeBytes, "baseline", w.get("file")},
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
	syscall.Sync() // what others left to be written is not this one's
	began := time.Now()
	for c := range r.clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), uint64(r.bytes)))
			body := make([]byte, r.bytes)
			for i := range body {
				body[i] = byte(rng.Uint32())
			}
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

// handler is the least front door: PUT and GET of /BUCKET/KEY.
func handler(buckets map[string]storage.Bucket, plain plainFiles) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, key, _ := strings.Cut(r.URL.Path[1:], "/")
		var err error
		switch b := buckets[name]; {
		case b != nil && r.Method == http.MethodPut:
			var i storage.Info
			i, err = b.Put(r.Context(), key, r.Body, storage.PutOptions{Size: r.ContentLength})
			w.Header().Set("ETag", i.ETag)
		case b != nil:
			err = serve(w, r, b, key)
		case r.Method == http.MethodPut:
			h := md5.New()
			if body := io.TeeReader(r.Body, h); name == "discard" {
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, 128<<10))
			} else {
				err = plain.write(key, body, name == "file-sync")
			}
			w.Header().Set("ETag", fmt.Sprintf("%x", h.Sum(nil)))
		default:
			http.ServeFile(w, r, plain.path(key))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func serve(w http.ResponseWriter, r *http.Request, b storage.Bucket, key string) error {
	o, err := b.Open(r.Context(), key, storage.ReadOptions{})
	if err != nil {
		return err
	}
	i := o.Info()
	w.Header().Set("ETag", i.ETag)
	w.Header().Set("Content-Length", strconv.FormatInt(i.Size, 10))
	_, err = storage.Reader(o, 0, i.Size).WriteTo(w)
	return errors.Join(err, o.Close())
}

// web is a client of handler, in the same process.
type web struct {
	url    string
	client *http.Client
}

func (w *web) put(bucket string) func(int, []byte) error {
	return func(i int, body []byte) error { return w.do(http.MethodPut, bucket, i, bytes.NewReader(body)) }
}

func (w *web) get(bucket string) func(int, []byte) error {
	return func(i int, _ []byte) error { return w.do(http.MethodGet, bucket, i, nil) }
}

func (w *web) do(method, bucket string, i int, body io.Reader) error {
	req, err := http.NewRequest(method, w.url+"/"+bucket+"/"+key(i), body)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 128<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
