package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

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

func benchPut(b *testing.B, size int, payload string) {
	w := onDisk(b)
	data := noise(size)
	s := w.signer("MAIN")
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
func BenchmarkPut4K(b *testing.B)  { benchPut(b, 4<<10, sigv4.Unsigned) }
func BenchmarkPut10M(b *testing.B) { benchPut(b, 10<<20, sigv4.Unsigned) }

// BenchmarkPut10MSigned has the SHA-256 of the body checked as well.
func BenchmarkPut10MSigned(b *testing.B) {
	sum := sumHex(noise(10 << 20))
	benchPut(b, 10<<20, sum)
}

// BenchmarkPlain is what net/http does on this machine without a store: the measure for
// the others.
func BenchmarkPlain(b *testing.B) {
	data := noise(10 << 20)
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
		buf := make([]byte, 128<<10)
		_, _ = io.CopyBuffer(onlyWriter{sum}, r.Body, buf)
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
	put := func(body []byte) func(*http.Client, int64) error {
		return func(c *http.Client, _ int64) error {
			r, err := http.NewRequest("PUT", url, bytes.NewReader(body))
			if err != nil {
				return err
			}
			res, err := c.Do(r)
			return drain(res, err, 0)
		}
	}
	b.Run("get4K", func(b *testing.B) { many(b, 4<<10, get("/4k", 4<<10)) })
	b.Run("get10M", func(b *testing.B) { many(b, 10<<20, get("/", 10<<20)) })
	b.Run("put4K", func(b *testing.B) { many(b, 4<<10, put(data[:4<<10])) })
	b.Run("put10M", func(b *testing.B) { many(b, 10<<20, put(data)) })
}

// onlyWriter hides what else a writer can do.
type onlyWriter struct{ io.Writer }
