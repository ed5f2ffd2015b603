package storagetest

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
)

type clock struct{ mu sync.Mutex }

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

// bodySizes are around the borders that backends have.
var bodySizes = []int{0, 1, 511, 4096, 4097, 64 << 10, 64<<10 + 1, 128<<10 - 1, 128 << 10, 128<<10 + 1, 256<<10 + 7, 1<<20 + 13}

// random bytes of a seed.
func random(seed uint64, n int) []byte {
	out := make([]byte, n+8)
	rng := rand.NewPCG(seed, 1)
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			out[i+j] = byte(v >> (8 * j))
		}
	}
	return out[:n]
}

func etag(b []byte) string { return fmt.Sprintf("%x", md5.Sum(b)) }

// put stores or ends the test.
func put(t *testing.T, b storage.Bucket, key, body string) storage.Info {
	t.Helper()
	i, err := b.Put(ctx, key, strings.NewReader(body), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// get reads all of a version, or ends the test.
func get(t *testing.T, b storage.Bucket, key, version string) string {
	t.Helper()
	body, _, err := read(b, key, version)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func read(b storage.Bucket, key, version string) ([]byte, storage.Info, error) {
	o, err := b.Open(ctx, key, storage.ReadOptions{Version: version})
	if err != nil {
		return nil, storage.Info{}, err
	}
	var out bytes.Buffer
	_, err = storage.Reader(o, 0, o.Info().Size).WriteTo(&out)
	return out.Bytes(), o.Info(), errors.Join(err, o.Close())
}

// wantErr fails unless err is of each kind.
func wantErr(t *testing.T, err error, kinds ...error) {
	t.Helper()
	for _, k := range kinds {
		if !errors.Is(err, k) {
			t.Errorf("got error %v, want %v", err, k)
		}
	}
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: got + where - was wanted:\n%s", what, d)
	}
}

func keys(objects []storage.Info) []string {
	out := []string{}
	for _, o := range objects {
		out = append(out, o.Key)
	}
	return out
}

// broken yields its bytes and then an error.
type broken struct {
	r   io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// dribble yields a few bytes at a time.
type dribble struct {
	r   io.Reader
	rng *rand.Rand
}

func (d *dribble) Read(p []byte) (int, error) {
	return d.r.Read(p[:min(len(p), 1+d.rng.IntN(9000))])
}

// pages lists all, page by page.
func pages(list func(storage.ListOptions) (storage.Listing, error), o storage.ListOptions) (storage.Listing, error) {
	var all storage.Listing
	for {
		l, err := list(o)
		if err != nil {
			return all, err
		}
		if l.Size() > o.Max() {
			return all, fmt.Errorf("a page has %d entries, and the limit is %d", l.Size(), o.Max())
		}
		all.Objects = append(all.Objects, l.Objects...)
		all.Uploads = append(all.Uploads, l.Uploads...)
		all.Prefixes = append(all.Prefixes, l.Prefixes...)
		if !l.More {
			return all, nil
		}
		if l.Size() == 0 {
			return all, errors.New("a page says that there is more, and has nothing")
		}
		o.After, o.AfterID, o.From = l.Next, l.NextID, ""
	}
}

func sorted(s []string, reverse bool) []string {
	out := slices.Clone(s)
	slices.Sort(out)
	if reverse {
		slices.Reverse(out)
	}
	return out
}
