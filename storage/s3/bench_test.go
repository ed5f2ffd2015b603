package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/s3/sigv4"
)

// onDisk serves a store of one disk, with a bucket.
func onDisk(b *testing.B) *world {
	b.Helper()
	d, err := disk.Open(disk.Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	w := serve(b, d, Config{})
	w.ok(w.main("PUT", "/data", ""))
	return w
}

// client has a connection for each of many at once.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
}

const concurrency = 8

// many runs f from many clients at once, and says how many bytes each moves.
func many(b *testing.B, size int64, f func(c *http.Client, n int64) error) {
	b.Helper()
	c := client()
	defer c.CloseIdleConnections()
	var next atomic.Int64
	b.SetBytes(size)
	b.SetParallelism(concurrency)
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := f(c, next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu is what the process has used: on a machine that others use, the measure that stays
// the same. Client and server are both in it.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var drains = make(chan []byte, 64)

// drain reads an answer with as little work as may be.
func drain(res *http.Response, err error, want int64) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var buf []byte
	select {
	case buf = <-drains:
	default:
		buf = make([]byte, 512<<10)
	}
	var n int64
	for {
		m, err := res.Body.Read(buf)
		n += int64(m)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	select {
	case drains <- buf:
	default:
	}
	if res.StatusCode/100 != 2 || want >= 0 && n != want {
		return fmt.Errorf("status %d, %d bytes", res.StatusCode, n)
	}
	return nil
}

func benchGet(b *testing.B, size int, objects int64) {
	w := onDisk(b)
	data := noise(size)
	for i := range objects {
		w.ok(w.as("MAIN", "PUT", fmt.Sprintf("/data/dir/object-%06d", i), data, nil))
	}
	s := w.signer("MAIN")
	s.Keys = &sigv4.Keys{}
	many(b, int64(size), func(c *http.Client, n int64) error {
		r, err := http.NewRequest("GET", fmt.Sprintf("%s/data/dir/object-%06d", w.url, n%objects), nil)
		if err != nil {
			return err
		}
		if err := s.Sign(r, sigv4.Empty, time.Now()); err != nil {
			return err
		}
		res, err := c.Do(r)
		return drain(res, err, int64(size))
	})
}

func benchPut(b *testing.B, size int, payload string, d storage.Durability) {
	w := onDisk(b)
	bk, err := w.space.Resolve(b.Context(), "main", "data")
	if err != nil {
		b.Fatal(err)
	}
	if err := bk.Configure(b.Context(), func(s *storage.Settings) error { s.Durability = d; return nil }); err != nil {
		b.Fatal(err)
	}
	data := noise(size)
	s := w.signer("MAIN")
	s.Keys = &sigv4.Keys{}
	many(b, int64(size), func(c *http.Client, n int64) error {
		r, err := http.NewRequest("PUT", fmt.Sprintf("%s/data/dir%02d/object-%06d", w.url, n%64, n%1000), bytes.NewReader(data))
		if err != nil {
			return err
		}
		if err := s.Sign(r, payload, time.Now()); err != nil {
			return err
		}
		res, err := c.Do(r)
		return drain(res, err, 0)
	})
}

func BenchmarkGet4K(b *testing.B)  { benchGet(b, 4<<10, 1000) }
func BenchmarkGet10M(b *testing.B) { benchGet(b, 10<<20, 8) }
func BenchmarkPut4K(b *testing.B)  { benchPut(b, 4<<10, sigv4.Unsigned, storage.Synced) }
func BenchmarkPut10M(b *testing.B) { benchPut(b, 10<<20, sigv4.Unsigned, storage.Synced) }

// BenchmarkPut10MWritten acknowledges what the operating system has, as a handler that
// writes files does.
func BenchmarkPut10MWritten(b *testing.B) { benchPut(b, 10<<20, sigv4.Unsigned, storage.Written) }

// BenchmarkPut10MSigned has the SHA-256 of the body checked as well.
func BenchmarkPut10MSigned(b *testing.B) {
	benchPut(b, 10<<20, sumHex(noise(10<<20)), storage.Written)
}

// BenchmarkPlain is what net/http does on this machine without a store: the measure for
// the others.
func BenchmarkPlain(b *testing.B) {
	data := noise(10 << 20)
	dir := b.TempDir()
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			n := len(data)
			if r.URL.Path == "/4k" {
				n = 4 << 10
			}
			w.Header().Set("Content-Length", fmt.Sprint(n))
			_, _ = w.Write(data[:n])
			return
		}
		sum := md5.New()
		to := io.Writer(sum)
		if r.URL.Path == "/file" {
			f, err := os.CreateTemp(dir, "")
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _, _ = f.Close(), os.Rename(f.Name(), filepath.Join(dir, "object")) }()
			to = io.MultiWriter(sum, f)
		}
		buf := make([]byte, 128<<10)
		_, _ = io.CopyBuffer(onlyWriter{to}, r.Body, buf)
		w.Header().Set("Etag", hex.EncodeToString(sum.Sum(nil)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(h)}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	url := "http://" + l.Addr().String()
	get := func(path string, size int64) func(*http.Client, int64) error {
		return func(c *http.Client, _ int64) error {
			res, err := c.Get(url + path)
			return drain(res, err, size)
		}
	}
	put := func(path string, body []byte) func(*http.Client, int64) error {
		return func(c *http.Client, _ int64) error {
			r, err := http.NewRequest("PUT", url+path, bytes.NewReader(body))
			if err != nil {
				return err
			}
			res, err := c.Do(r)
			return drain(res, err, 0)
		}
	}
	b.Run("get4K", func(b *testing.B) { many(b, 4<<10, get("/4k", 4<<10)) })
	b.Run("get10M", func(b *testing.B) { many(b, 10<<20, get("/", 10<<20)) })
	b.Run("put4K", func(b *testing.B) { many(b, 4<<10, put("/", data[:4<<10])) })
	b.Run("put10M", func(b *testing.B) { many(b, 10<<20, put("/", data)) })
	b.Run("putFile10M", func(b *testing.B) { many(b, 10<<20, put("/file", data)) })
}

// onlyWriter hides what else a writer can do.
type onlyWriter struct{ io.Writer }

// nobody is a ResponseWriter that throws away what it is given.
type nobody struct{ head http.Header }

func (n *nobody) Header() http.Header         { return n.head }
func (n *nobody) WriteHeader(int)             {}
func (n *nobody) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler is what the door and the store take of a GET, without net/http.
func BenchmarkHandler(b *testing.B) {
	w := onDisk(b)
	w.ok(w.as("MAIN", "PUT", "/data/dir/object", noise(4<<10), nil))
	r := w.request("GET", "/data/dir/object", nil, nil)
	if err := w.signer("MAIN").Sign(r, sigv4.Empty, time.Now()); err != nil {
		b.Fatal(err)
	}
	r.Host = r.URL.Host
	b.ReportAllocs()
	for b.Loop() {
		w.s3.ServeHTTP(&nobody{http.Header{}}, r)
	}
}
