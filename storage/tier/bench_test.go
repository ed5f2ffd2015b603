package tier_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/tier"
)

// BenchmarkHotGet reads objects that are in memory over HTTP: of a store of tiers whose
// home is on the disk, and of a plain map beside, which is what net/http can do. The
// client writes and reads bytes and no more, so that it takes little of the cores.
func BenchmarkHotGet(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 10 << 20} {
		bodies := map[string][]byte{}
		for i := range 64 {
			bodies[fmt.Sprintf("/dir/object-%04d", i)] = body(uint64(i), size)
		}
		b.Run(fmt.Sprintf("%dK/tier", size>>10), func(b *testing.B) { hammer(b, tiers(b, bodies), bodies, size) })
		b.Run(fmt.Sprintf("%dK/plain", size>>10), func(b *testing.B) { hammer(b, plain(bodies), bodies, size) })
	}
}

// plain serves bytes of a map.
func plain(bodies map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Length", strconv.Itoa(len(data)))
		h.Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(data) // the client may be gone
	})
}

// tiers serves a bucket as a front door does: the object is opened, told of, and sent by
// its extents.
func tiers(b *testing.B, bodies map[string][]byte) http.Handler {
	home, err := disk.Open(disk.Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	s := newStore(b, tier.Config{Home: home, Cache: newCache(b, 2<<30), Log: slog.New(slog.DiscardHandler)})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	bucket := create(b, s, storage.Settings{Durability: storage.Written})
	for k, data := range bodies {
		put(b, bucket, k[1:], data)
	}
	if _, err := s.Warm(ctx, "b", tier.Warm{Hot: true}, nil); err != nil {
		b.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, err := bucket.Open(r.Context(), r.URL.Path[1:], storage.ReadOptions{})
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer func() { _ = o.Close() }() // it was only read
		i := o.Info()
		h := w.Header()
		h.Set("Content-Length", strconv.FormatInt(i.Size, 10))
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Etag", `"`+i.ETag+`"`)
		h.Set("Last-Modified", i.Modified.Format(http.TimeFormat))
		for off := int64(0); off < i.Size; {
			es, err := o.Extents(off, i.Size-off)
			if err != nil || len(es) == 0 || es[0].File != nil {
				b.Error("it is not in memory", err)
				return
			}
			for _, e := range es {
				if _, err := w.Write(e.Bytes); err != nil {
					return
				}
				off += e.Length
			}
		}
	})
}

// hammer asks for objects from several connections, one request after the other.
func hammer(b *testing.B, h http.Handler, bodies map[string][]byte, size int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }() // it ends with Close
	defer func() { _ = server.Close() }()
	var paths []string
	for p := range bodies {
		paths = append(paths, p)
	}
	b.SetBytes(int64(size))
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		r := bufio.NewReaderSize(c, 64<<10)
		for n := 0; p.Next(); n++ {
			if err := ask(c, r, paths[n%len(paths)], size); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// ask sends a request and reads the answer away.
func ask(c net.Conn, r *bufio.Reader, path string, size int) error {
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch s := strings.TrimSpace(string(line)); {
		case first && s != "HTTP/1.1 200 OK":
			return fmt.Errorf("the answer is %q", s)
		case strings.HasPrefix(s, "Content-Length: "):
			if length, err = strconv.Atoi(s[len("Content-Length: "):]); err != nil {
				return err
			}
		case s == "":
			if length != size {
				return fmt.Errorf("%d bytes come, of %d", length, size)
			}
			_, err := r.Discard(length)
			return err
		}
	}
}

// BenchmarkHotOpen is a hot GET without HTTP.
func BenchmarkHotOpen(b *testing.B) {
	home, err := disk.Open(disk.Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	s := newStore(b, tier.Config{Home: home, Cache: newCache(b, 1<<30)})
	defer func() { _ = s.Close() }()
	bucket := create(b, s, storage.Settings{})
	put(b, bucket, "dir/object", body(1, 4096))
	if _, err := s.Warm(ctx, "b", tier.Warm{Hot: true}, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		o, err := bucket.Open(ctx, "dir/object", storage.ReadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if e, err := o.Extents(0, 4096); err != nil || len(e[0].Bytes) != 4096 {
			b.Fatal(err)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
