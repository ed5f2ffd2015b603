package remote_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/storagetest"
)

// between stands between a client and its remote, and may answer in its place.
type between struct {
	url      string
	requests atomic.Int64
	mu       sync.Mutex
	seen     []string
	answer   func(w http.ResponseWriter, r *http.Request) bool
}

func stand(t testing.TB, target string) *between {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	p := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = u.Scheme, u.Host },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		b.mu.Lock()
		b.seen = append(b.seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
		answer := b.answer
		b.mu.Unlock()
		if answer == nil || !answer(w, r) {
			p.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

func (b *between) say(f func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

// both runs a test on S3 and on Swift; change makes their common configuration.
func both(t *testing.T, change func(*remote.Common), test func(t *testing.T, s *remote.Store, b *between, m storage.Store)) {
	direct(t, change, func(t *testing.T, s, _ *remote.Store, b *between, m storage.Store) { test(t, s, b, m) })
}

// direct is both with a store that is not changed, d, beside the one that is.
func direct(t *testing.T, change func(*remote.Common), test func(t *testing.T, s, d *remote.Store, b *between, m storage.Store)) {
	for _, name := range []string{"S3", "Swift"} {
		t.Run(name, func(t *testing.T) {
			var s, d *remote.Store
			var b *between
			var m storage.Store
			if name == "S3" {
				var c remote.S3
				c, m = s3World(t, time.Now)
				d = newS3(t, c)
				b = stand(t, c.Endpoint)
				// The signature is for the host that the client speaks to.
				change(&c.Common)
				c.Endpoint = b.url
				s = newS3(t, c)
			} else {
				var c remote.Swift
				c, m = swiftWorld(t, time.Now)
				d = newSwift(t, c)
				b = stand(t, strings.TrimSuffix(c.AuthURL, "/auth/v1.0"))
				change(&c.Common)
				c.AuthURL = b.url + "/auth/v1.0"
				s = newSwift(t, c)
			}
			test(t, s, d, b, m)
		})
	}
}

func same(*remote.Common) {}

func makeBucket(t *testing.T, s storage.Store, name string) storage.Bucket {
	t.Helper()
	b, err := s.CreateBucket(t.Context(), name, storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func store(t *testing.T, b storage.Bucket, key string, body []byte, o storage.PutOptions) storage.Info {
	t.Helper()
	i, err := b.Put(t.Context(), key, bytes.NewReader(body), o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func load(b storage.Bucket, key string) ([]byte, error) {
	o, err := b.Open(context.Background(), key, storage.ReadOptions{})
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	return out, errors.Join(err, o.Close())
}

func pattern(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i*7 + i>>8 + i>>16)
	}
	return out
}

// TestOneRemoteBucket keeps all buckets in one that is there, each below a prefix.
func TestOneRemoteBucket(t *testing.T) {
	limits := func(expiry string) storagetest.Limits {
		return storagetest.Limits{
			Far: true, MetaBytesMax: 900, Usage: "one remote bucket counts for all", Replaced: remote.ErrReplaced,
			Skip: map[string]string{
				"names":                  "a prefix takes of the length of keys",
				"versions":               "versions are a setting of the one remote bucket",
				"suspended versions":     "versions are a setting of the one remote bucket",
				"pages of versions":      "versions are a setting of the one remote bucket",
				"random against a model": "it is about versions",
				"guards":                 "it is about versions",
				"locks":                  "it is about versions",
				"usage":                  "it is about versions",
				"expiry":                 expiry,
				"plain ETags":            "ETags of equal bodies are alike",
			},
		}
	}
	t.Run("S3", func(t *testing.T) {
		storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
			c, _ := s3World(t, now)
			makeBucket(t, newS3(t, c), "everything")
			c.Layout = remote.Layout{Bucket: "everything", Prefix: "ours/"}
			return newS3(t, c)
		}, limits("S3 has no time at which an object ends"))
	})
	t.Run("Swift", func(t *testing.T) {
		storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
			c, _ := swiftWorld(t, now)
			makeBucket(t, newSwift(t, c), "everything")
			c.Layout = remote.Layout{Bucket: "everything", Prefix: "ours/"}
			return newSwift(t, c)
		}, limits("the remote's own sweep removes what has expired"))
	})
}

// TestInPlace shows what others stored as it is, and changes nothing where it may not.
func TestInPlace(t *testing.T) {
	shown := func(c *remote.Common) {
		c.Layout = remote.Layout{OnlyShown: true, Show: map[string]remote.Shown{
			"archive": {Bucket: "theirs", Prefix: "2024/", ReadOnly: true}, "work": {Bucket: "theirs"},
		}}
	}
	direct(t, shown, func(t *testing.T, s, d *remote.Store, _ *between, m storage.Store) {
		ctx := t.Context()
		theirs := theirBucket(t, d, m)
		store(t, theirs, "2024/a", []byte("theirs"), storage.PutOptions{Meta: storage.Meta{ContentType: "text/x", User: map[string]string{"who": "them"}, Headers: map[string]string{"Content-Language": "nl"}}})
		store(t, theirs, "2024/d/b", pattern(3<<20), storage.PutOptions{})
		store(t, theirs, "2025/c", []byte("other"), storage.PutOptions{})
		l, err := s.Buckets(ctx, "", 0)
		if err != nil || len(l) != 2 || l[0].Name != "archive" || l[1].Name != "work" {
			t.Fatalf("buckets %+v, %v", l, err)
		}
		b, err := s.Bucket(ctx, "archive")
		if err != nil {
			t.Fatal(err)
		}
		i, err := b.Stat(ctx, "a", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := storage.Meta{ContentType: "text/x", User: map[string]string{"who": "them"}, Headers: map[string]string{"Content-Language": "nl"}}
		if diff := cmp.Diff(want, i.Meta); diff != "" || i.Size != 6 || i.ETag != fmt.Sprintf("%x", md5.Sum([]byte("theirs"))) {
			t.Errorf("%+v: %s", i, diff)
		}
		if got, err := load(b, "d/b"); err != nil || !bytes.Equal(got, pattern(3<<20)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		page, err := b.List(ctx, storage.ListOptions{Delimiter: "/"})
		if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "a" || !cmp.Equal(page.Prefixes, []string{"d/"}) {
			t.Errorf("%+v, %v", page, err)
		}
		_, err = b.Put(ctx, "a", strings.NewReader("x"), storage.PutOptions{})
		if !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("writing to be read only: %v", err)
		}
		if _, err := b.Delete(ctx, "a", storage.DeleteOptions{}); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("deleting: %v", err)
		}
		if err := s.DeleteBucket(ctx, "work"); !errors.Is(err, remote.ErrCannot) {
			t.Errorf("deleting a bucket that is shown: %v", err)
		}
		if _, err := s.CreateBucket(ctx, "new", storage.Settings{}); !errors.Is(err, remote.ErrCannot) {
			t.Errorf("making a bucket: %v", err)
		}
		w, err := s.Bucket(ctx, "work")
		if err != nil {
			t.Fatal(err)
		}
		store(t, w, "2025/new", []byte("ours"), storage.PutOptions{Meta: storage.Meta{ContentType: "text/plain", Tags: map[string]string{"t": "v"}}})
		back, _, err := raw(theirs, "2025/new")
		if err != nil || string(back) != "ours" {
			t.Errorf("what others read is %q, %v", back, err)
		}
	})
}

// theirBucket makes a bucket by the protocol, and opens it in the remote's own store.
func theirBucket(t *testing.T, direct, m storage.Store) storage.Bucket {
	t.Helper()
	makeBucket(t, direct, "theirs")
	l, err := m.Buckets(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range l {
		if strings.HasSuffix(i.Name, "theirs") {
			b, err := m.Bucket(t.Context(), i.Name)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatal("the remote has no such bucket")
	return nil
}

func raw(b storage.Bucket, key string) ([]byte, storage.Info, error) {
	o, err := b.Open(context.Background(), key, storage.ReadOptions{})
	if err != nil {
		return nil, storage.Info{}, err
	}
	out, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	return out, o.Info(), errors.Join(err, o.Close())
}

// TestRequests counts what a reader costs the remote.
func TestRequests(t *testing.T) {
	both(t, same, func(t *testing.T, s *remote.Store, b *between, _ storage.Store) {
		bk := makeBucket(t, s, "bucket")
		body := pattern(9 << 20)
		store(t, bk, "k", body, storage.PutOptions{Size: int64(len(body))})
		o, err := bk.Open(t.Context(), "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before := b.requests.Load()
		p := make([]byte, 1000)
		for off := 0; off < len(body); off += len(p) {
			n, err := o.ReadAt(p, int64(off))
			if want := min(len(p), len(body)-off); n != want || err != nil && err != io.EOF || !bytes.Equal(p[:n], body[off:off+want]) {
				t.Fatalf("at %d: %d bytes, %v", off, n, err)
			}
		}
		// Windows of 1, 2, 4 and 8 MiB.
		if n := b.requests.Load() - before; n != 4 {
			t.Errorf("9 MiB in pieces of 1,000 bytes took %d requests", n)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLarge stores what no buffer holds, with what only its end tells.
func TestLarge(t *testing.T) {
	small := func(c *remote.Common) { c.BufferBytes = storage.PartBytesMin }
	both(t, small, func(t *testing.T, s *remote.Store, _ *between, _ storage.Store) {
		bk := makeBucket(t, s, "bucket")
		body := pattern(2*storage.PartBytesMin + 12345)
		sum := fmt.Sprintf("%x", md5.Sum(body))
		for what, o := range map[string]storage.PutOptions{
			"streamed":     {Size: int64(len(body)), MD5: sum},
			"unknown size": {},
			"sealed": {Size: int64(len(body)), Seal: func(m *storage.Meta) error {
				m.Checksums = map[string]string{"x": "y"}
				return nil
			}},
		} {
			i := store(t, bk, "k", body, o)
			if i.ETag != sum || i.Size != int64(len(body)) || (i.Meta.Checksums["x"] == "y") != (what == "sealed") {
				t.Errorf("%s: %+v", what, i)
			}
			if got, err := load(bk, "k"); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes, %v", what, len(got), err)
			}
		}
		gone := errors.New("gone")
		for what, r := range map[string]io.Reader{"cut": &failing{bytes.NewReader(body), gone}, "refused": bytes.NewReader(body)} {
			o := storage.PutOptions{}
			if what == "refused" {
				o.Seal = func(*storage.Meta) error { return gone }
			}
			if _, err := bk.Put(t.Context(), "k", r, o); !errors.Is(err, gone) {
				t.Errorf("%s: %v", what, err)
			}
		}
		i := store(t, bk, "k", body, storage.PutOptions{Opaque: true})
		if !strings.HasSuffix(i.ETag, "-3") {
			t.Errorf("an opaque body has ETag %s", i.ETag)
		}
		if _, err := bk.Delete(t.Context(), "k", storage.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := s.DeleteBucket(t.Context(), "bucket"); err != nil {
			t.Error("something was left behind:", err)
		}
	})
}

type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}
