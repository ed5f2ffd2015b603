package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// cutting breaks connections at random bytes, of bodies and of answers, for as long as
// left is above 0.
func cutting(seed uint64, left *atomic.Int64) func(http.ResponseWriter, *http.Request, http.Handler) {
	r := rand.New(rand.NewPCG(seed, 1))
	draw := make(chan int64)
	go func() {
		for range 10_000 {
			draw <- r.Int64N(8 << 20)
		}
	}()
	return func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if left.Add(-1) < 0 {
			next.ServeHTTP(w, req)
			return
		}
		if req.Method == http.MethodPut {
			req.Body = &cutBody{req.Body, <-draw}
		}
		next.ServeHTTP(&cutter{w, <-draw}, req)
	}
}

// TestCutConnectionsDoNotShow: whatever breaks on the way, what arrives is what was
// sent.
func TestCutConnectionsDoNotShow(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t)
		files := map[string]string{"large": noise(seed, 23<<20+5), "small": noise(seed, 300_000), "empty": ""}
		dir := write(t, t.TempDir(), files)
		var left atomic.Int64
		left.Store(12)
		w.through(cutting(seed, &left))
		w.all(w.c.Copying(t.Context(), local(dir), at(""), true))
		left.Store(12)
		back := t.TempDir()
		o := w.all(w.c.Copying(t.Context(), at(""), local(back), true))
		holds(t, back, files)
		if o.Bytes.Load() != o.BytesAll.Load() {
			t.Errorf("seed %d: the meter has %d of %d bytes", seed, o.Bytes.Load(), o.BytesAll.Load())
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// stopAfter ends ctx when n requests of a method with this in their query were answered.
func stopAfter(n int64, method, query string) (gate func(http.ResponseWriter, *http.Request, http.Handler), ctx context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == method && strings.Contains(r.URL.RawQuery+" "+r.Header.Get("Range"), query) {
			if seen.Add(1) > n {
				cancel()
				panic(http.ErrAbortHandler)
			}
		}
		next.ServeHTTP(w, r)
	}, ctx
}

// TestAnUploadGoesOn: a second run sends only the parts that are not there.
func TestAnUploadGoesOn(t *testing.T) {
	w := newWorld(t)
	const parts = 8
	text := noise(9, parts*PartBytesMin-100)
	dir := write(t, t.TempDir(), map[string]string{"f": text})
	interrupt := func(after int64) {
		t.Helper()
		gate, ctx := stopAfter(after, http.MethodPut, "partNumber")
		w.through(gate)
		c := w.client(Config{Parallel: 2})
		p, err := c.Copying(ctx, local(dir, "f"), at("f"), false)
		if err != nil {
			t.Fatal(err)
		}
		if o := run(ctx, c, p, false); o.err == nil {
			t.Fatal("it was not interrupted")
		}
		w.through(nil)
		w.count("")
	}
	interrupt(3)
	c := w.client(Config{PartBytes: 6 << 20}) // parts are as they were begun
	p, err := c.Copying(t.Context(), local(dir, "f"), at("f"), false)
	if err != nil {
		t.Fatal(err)
	}
	o := run(t.Context(), c, p, false)
	if o.err != nil || len(o.failed) > 0 {
		t.Fatal(o.err, o.failed)
	}
	there := int(o.Reused.Load() / PartBytesMin) // the third may have been stored, or not
	if sent := w.count("PUT /data/f?partNumber"); sent != parts-there || there < 2 || there > 3 {
		t.Errorf("%d parts were sent, %d were there", sent, there)
	}
	if w.get("f") != text || uploads(t, w) != 0 {
		t.Error("what came is not what was sent")
	}
	if left, _ := os.ReadDir(w.states); len(left) != 0 {
		t.Errorf("%d states are left", len(left))
	}

	// A file that was changed meanwhile is another one.
	interrupt(3)
	text = noise(10, parts*PartBytesMin-100)
	write(t, dir, map[string]string{"f": text})
	if err := os.Chtimes(filepath.Join(dir, "f"), time.Time{}, time.Unix(1e9, 5)); err != nil {
		t.Fatal(err)
	}
	o = w.all(w.c.Copying(t.Context(), local(dir, "f"), at("f"), false))
	if sent := w.count("PUT /data/f?partNumber"); sent != parts || o.Reused.Load() != 0 || w.get("f") != text {
		t.Errorf("%d parts of the changed file were sent, %d bytes of the other one were used", sent, o.Reused.Load())
	}

	// Nor is a part believed that has other bytes, although file and state look the same.
	interrupt(3)
	text = noise(11, parts*PartBytesMin-100)
	write(t, dir, map[string]string{"f": text})
	if err := os.Chtimes(filepath.Join(dir, "f"), time.Time{}, time.Unix(1e9, 5)); err != nil {
		t.Fatal(err)
	}
	o = w.all(w.c.Copying(t.Context(), local(dir, "f"), at("f"), false))
	if o.Reused.Load() != 0 || w.get("f") != text {
		t.Errorf("%d bytes of other contents were used", o.Reused.Load())
	}
}

func TestADownloadGoesOn(t *testing.T) {
	w := newWorld(t)
	const ranges = 8
	text := noise(9, ranges*PartBytesMin-100)
	w.put("f", text)
	dir := t.TempDir()
	interrupt := func(after int64) {
		t.Helper()
		gate, ctx := stopAfter(after, http.MethodGet, "bytes=")
		w.through(gate)
		c := w.client(Config{Parallel: 2})
		p, err := c.Copying(ctx, at("f"), local(dir, "f"), false)
		if err != nil {
			t.Fatal(err)
		}
		if o := run(ctx, c, p, false); o.err == nil {
			t.Fatal("it was not interrupted")
		}
		w.through(nil)
		if _, err := os.Stat(filepath.Join(dir, "f")); err == nil {
			t.Fatal("half a file has its name")
		}
		if _, err := os.Stat(filepath.Join(dir, ".f.polder-part")); err != nil {
			t.Fatal(err)
		}
		w.count("")
	}
	interrupt(4)
	o := w.all(w.c.Copying(t.Context(), at("f"), local(dir, "f"), false))
	holds(t, dir, map[string]string{"f": text})
	if n := w.count("GET /data/f"); o.Reused.Load() < 2*PartBytesMin || n > ranges-2 {
		t.Errorf("%d bytes were there, and %d ranges were asked for", o.Reused.Load(), n)
	}
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}

	// Bytes of an object that is another one now are not used.
	interrupt(4)
	text = noise(10, ranges*PartBytesMin-100)
	w.put("f", text)
	o = w.all(w.c.Copying(t.Context(), at("f"), local(dir, "f"), false))
	holds(t, dir, map[string]string{"f": text})
	if o.Reused.Load() != 0 {
		t.Errorf("%d bytes of the other object were used", o.Reused.Load())
	}
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}

	// Bytes on the disk that were damaged are found, and not kept.
	interrupt(4)
	part := filepath.Join(dir, ".f.polder-part")
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, done, err := readPartial(f)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range done {
		if n > 0 {
			if _, err := f.WriteAt([]byte("damage"), int64(i)*PartBytesMin); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	_ = f.Close()
	p, err := w.c.Copying(t.Context(), at("f"), local(dir, "f"), false)
	if err != nil {
		t.Fatal(err)
	}
	if o := run(t.Context(), w.c, p, false); len(o.failed) != 1 || !errors.Is(o.failed[0], ErrDigest) {
		t.Errorf("damage: %v", o.failed)
	}
	holds(t, dir, nil)
	w.all(w.c.Copying(t.Context(), at("f"), local(dir, "f"), false))
	holds(t, dir, map[string]string{"f": text})
}

// TestAnObjectThatChangesBetweenRanges is never put together of two.
func TestAnObjectThatChangesBetweenRanges(t *testing.T) {
	w := newWorld(t)
	before, after := noise(1, 24<<20), noise(2, 24<<20)
	w.put("f", before)
	var seen atomic.Int64
	other := w.client(Config{})
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=") && seen.Add(1) == 3 {
			if err := other.Write(context.Background(), strings.NewReader(after), at("f"), &Meter{}); err != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(rw, r)
	})
	dir := t.TempDir()
	o := w.all(w.c.Copying(t.Context(), at("f"), local(dir, "f"), false))
	holds(t, dir, map[string]string{"f": after})
	if o.Bytes.Load() != int64(len(after)) {
		t.Errorf("the meter has %d bytes of %d", o.Bytes.Load(), len(after))
	}
	// One that changes all the time is an error, not a mix.
	n := 0
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=") && r.Method == http.MethodGet {
			rw.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		next.ServeHTTP(rw, r)
		n++
	})
	p, err := w.c.Copying(t.Context(), at("f"), local(dir, "g"), false)
	if err != nil {
		t.Fatal(err)
	}
	if o := run(t.Context(), w.c, p, false); len(o.failed) != 1 || !errors.Is(o.failed[0], ErrChanged) {
		t.Errorf("%v", o.failed)
	}
	holds(t, dir, map[string]string{"f": after})
}

// TestAFileThatChangesWhileItIsSent is a failure.
func TestAFileThatChangesWhileItIsSent(t *testing.T) {
	w := newWorld(t)
	dir := write(t, t.TempDir(), map[string]string{"small": noise(1, 1<<20), "large": noise(1, 20<<20)})
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		for _, name := range []string{"small", "large"} {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, name) {
				write(t, dir, map[string]string{name: "other"})
			}
		}
		next.ServeHTTP(rw, r)
	})
	p, err := w.c.Copying(t.Context(), local(dir), at(""), true)
	if err != nil {
		t.Fatal(err)
	}
	if o := run(t.Context(), w.c, p, false); len(o.failed) != 2 || o.Failed.Load() != 2 {
		t.Errorf("failed: %v; stored: %q", o.failed, w.keys())
	}
	if w.through(nil); uploads(t, w) > 1 {
		t.Errorf("%d uploads are left", uploads(t, w))
	}
}

// TestDamageOnTheWayIsFound: bytes that another one sends in place of the store's.
func TestDamageOnTheWayIsFound(t *testing.T) {
	w := newWorld(t)
	w.put("f", "what was stored")
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&liar{rw}, r)
	})
	dir := t.TempDir()
	p, err := w.c.Copying(t.Context(), at("f"), local(dir, "f"), false)
	if err != nil {
		t.Fatal(err)
	}
	if o := run(t.Context(), w.c, p, false); len(o.failed) != 1 || !errors.Is(o.failed[0], ErrDigest) {
		t.Errorf("%v", o.failed)
	}
	holds(t, dir, nil)
	var b strings.Builder
	if err := w.c.Read(t.Context(), at("f"), "", &b, &Meter{}); !errors.Is(err, ErrDigest) {
		t.Errorf("read: %v", err)
	}
}

type liar struct{ http.ResponseWriter }

func (l *liar) Write(p []byte) (int, error) {
	q := append([]byte(nil), p...)
	if len(q) > 0 {
		q[0] ^= 1
	}
	return l.ResponseWriter.Write(q)
}

// TestOthersFinish: what fails is named, and nothing else is lost.
func TestOthersFinish(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("f%02d", i)] = fmt.Sprint(i)
	}
	dir := write(t, t.TempDir(), files)
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "7") {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
	p, err := w.c.Copying(t.Context(), local(dir), at(""), true)
	if err != nil {
		t.Fatal(err)
	}
	o := run(t.Context(), w.c, p, false)
	if o.err != nil || len(o.failed) != 4 || len(w.keys()) != 36 || o.Objects.Load() != 36 || o.Failed.Load() != 4 {
		t.Errorf("%v; failed %v; %d are there", o.err, o.failed, len(w.keys()))
	}
	for _, err := range o.failed {
		if !strings.Contains(err.Error(), "s3://data/f") || !strings.Contains(err.Error(), "denies") {
			t.Errorf("%v does not say what failed", err)
		}
	}
}

// TestACompletionWhoseAnswerIsLost is none that failed.
func TestACompletionWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t)
	text := noise(4, 16<<20)
	dir := write(t, t.TempDir(), map[string]string{"f": text})
	var once atomic.Bool
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.RawQuery, "uploadId") && !once.Swap(true) {
			next.ServeHTTP(&cutter{rw, 0}, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
	w.all(w.c.Copying(t.Context(), local(dir, "f"), at("f"), false))
	if !once.Load() || w.get("f") != text {
		t.Error("the object is another one")
	}
}
