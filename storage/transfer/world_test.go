package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3"
)

// world is a store in memory behind its S3 door, with a gate in front that tests may
// put what they like into.
type world struct {
	t      testing.TB
	c      *Client
	url    string
	states string

	mu   sync.Mutex
	gate func(w http.ResponseWriter, r *http.Request, next http.Handler)
	seen []string // METHOD /path?query of requests
}

const bucketName = "data"

func newWorld(t testing.TB) *world {
	t.Helper()
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	return serve(t, m)
}

func serve(t testing.TB, store storage.Store) *world {
	t.Helper()
	users, err := iam.NewUsers([]iam.User{{Account: "main", Name: "root", AccessKey: "KEY", SecretKey: "a-secret", Roles: []string{"admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	space, err := naming.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	door, err := s3.New(s3.Config{Space: space, Directory: users})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, states: t.TempDir()}
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen = append(w.seen, r.Method+" "+r.URL.RequestURI())
		gate := w.gate
		w.mu.Unlock()
		if gate != nil {
			gate(rw, r, door)
			return
		}
		door.ServeHTTP(rw, r)
	}))
	t.Cleanup(h.Close)
	w.url = h.URL
	w.c = w.client(Config{})
	if err := w.c.CreateBucket(t.Context(), bucketName, BucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// client is another one of the same store.
func (w *world) client(cfg Config) *Client {
	w.t.Helper()
	cfg.Endpoint, cfg.AccessKey, cfg.SecretKey = w.url, "KEY", "a-secret"
	cfg.Backoff = time.Millisecond
	if cfg.StateDir == "" {
		cfg.StateDir = w.states
	}
	if cfg.PartBytes == 0 {
		cfg.PartBytes = PartBytesMin
	}
	c, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) through(gate func(http.ResponseWriter, *http.Request, http.Handler)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = gate
}

// count counts the requests that begin so since the last call.
func (w *world) count(begin string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.seen {
		if strings.HasPrefix(s, begin) {
			n++
		}
	}
	w.seen = nil
	return n
}

func at(key string) Address { return Address{Bucket: bucketName, Key: key} }

func local(elements ...string) Address { return Address{Path: filepath.Join(elements...)} }

// put stores an object.
func (w *world) put(key, text string) {
	w.t.Helper()
	if err := w.c.Write(w.t.Context(), strings.NewReader(text), at(key), &Meter{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(key string) string {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.c.Read(w.t.Context(), at(key), "", &b, &Meter{}); err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// keys lists a bucket.
func (w *world) keys() (out []string) {
	w.t.Helper()
	for e, err := range w.c.List(w.t.Context(), at(""), true) {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, e.Key)
	}
	return out
}

// outcome is what a Run did.
type outcome struct {
	*Meter
	done   []string // ACTION TO, or FROM where there is no TO
	failed []error
	err    error
}

func run(ctx context.Context, c *Client, p *Plan, dry bool) outcome {
	defer p.Close()
	o := outcome{Meter: &Meter{}}
	o.err = c.Run(ctx, p, dry, o.Meter, func(r Result) {
		switch {
		case r.Err != nil:
			o.failed = append(o.failed, fmt.Errorf("%s: %w", r.From, r.Err))
		case !r.Same:
			to := r.To
			if to == "" {
				to = r.From
			}
			o.done = append(o.done, string(r.Action)+" "+to)
		}
	})
	return o
}

// all is run, of a plan that must be made and succeed.
func (w *world) all(p *Plan, err error) outcome {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	o := run(w.t.Context(), w.c, p, false)
	if o.err != nil || len(o.failed) > 0 {
		w.t.Fatalf("%v; failed: %v", o.err, o.failed)
	}
	return o
}

// noise is n bytes that no compression makes smaller, the same for a seed.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return string(b)
}

// holds compares the files below dir with want, by name; nothing else may be there.
func holds(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		name, _ := filepath.Rel(dir, path)
		b, err := os.ReadFile(path)
		if text, ok := want[filepath.ToSlash(name)]; err == nil && (!ok || string(b) != text) {
			err = fmt.Errorf("%s: %d bytes, want %d (expected: %v)", name, len(b), len(text), ok)
		}
		return err
	})
	if err != nil {
		t.Errorf("in %s: %v", dir, err)
	}
	if found != len(want) {
		t.Errorf("%s holds %d files, want %d", dir, found, len(want))
	}
}

// cutter breaks the connection of some requests after some bytes of their body or of
// its answer.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		n, _ := c.ResponseWriter.Write(p[:c.left])
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		_ = n
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

// cutBody is a request's body that ends in a broken connection.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left <= 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
