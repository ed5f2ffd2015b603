package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drivetest"
)

var ctx = context.Background()

func bucket(t *testing.T, s storage.Store, set storage.Settings) storage.Bucket {
	t.Helper()
	b, err := s.CreateBucket(ctx, "b", set)
	if errors.Is(err, storage.ErrBucketExists) {
		b, err = s.Bucket(ctx, "b")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(b storage.Bucket, key string, body []byte) error {
	_, err := b.Put(ctx, key, bytes.NewReader(body), storage.PutOptions{})
	return err
}

func get(b storage.Bucket, key string) ([]byte, error) {
	o, err := b.Open(ctx, key, storage.ReadOptions{})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	return body, errors.Join(err, o.Close())
}

// fill puts objects small and large, and returns their bodies.
func fill(t *testing.T, b storage.Bucket, n int) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for i := range n {
		body := bytes.Repeat(fmt.Appendf(nil, "%08d", i), []int{10, 2000, 40_000}[i%3])
		key := fmt.Sprintf("key%d", i)
		if err := put(b, key, body); err != nil {
			t.Fatal(err)
		}
		out[key] = body
	}
	return out
}

func check(t *testing.T, b storage.Bucket, want map[string][]byte) {
	t.Helper()
	for k, body := range want {
		if got, err := get(b, k); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes for %d, %v", k, len(got), len(body), err)
		}
	}
	l, err := b.List(ctx, storage.ListOptions{})
	if err != nil || len(l.Objects) != len(want) {
		t.Errorf("%d objects are listed, and there should be %d: %v", len(l.Objects), len(want), err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{BytesMax: 24 << 20}
	c := small(1, time.Now).On(d)
	c.ReserveBytes = 4 << 20
	s := open(t, c)
	b := bucket(t, s, storage.Settings{})
	kept := map[string][]byte{}
	refused := 0
	for i := 0; refused < 20 && i < 5000; i++ {
		key, body := fmt.Sprint("k", i), bytes.Repeat([]byte{byte(i)}, []int{5000, 300_000}[i%2])
		switch err := put(b, key, body); {
		case err == nil:
			kept[key] = body
		case errors.Is(err, storage.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Fatal("the disk was never full")
	}
	check(t, b, kept)
	for k := range kept { // what makes room works on a full disk
		if len(kept) > 3 {
			if _, err := b.Delete(ctx, k, storage.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			delete(kept, k)
		}
	}
	for range 2 {
		if err := errors.Join(s.Tidy(ctx), s.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(b, "again", make([]byte, 8<<20)); err != nil {
		t.Error("after deleting:", err)
	}
	kept["again"] = make([]byte, 8<<20)
	check(t, b, kept)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestFullAnywhere: the system says at any write that the disk is full.
func TestFullAnywhere(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	on := false
	d := &drivetest.Disk{Fail: func(op, name string) error {
		if on && op == "write" && !strings.Contains(name, "index") && rng.IntN(3) == 0 {
			return syscall.ENOSPC
		}
		return nil
	}}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, storage.Settings{})
	kept := fill(t, b, 9)
	on = true
	refused := 0
	for i := range 300 {
		key, body := fmt.Sprint("key", i%12), bytes.Repeat([]byte{byte(i)}, []int{500, 5000, 300_000}[i%3])
		err := put(b, key, body)
		switch {
		case err == nil:
			kept[key] = body
		case errors.Is(err, storage.ErrUnavailable):
			on = false // it could not even take back what it had begun: the disk is given up
			if s.Close() == nil {
				t.Error("a disk that failed was closed as if nothing was")
			}
			s = open(t, small(1, time.Now).On(d))
			b = bucket(t, s, storage.Settings{})
			on = true
		case errors.Is(err, storage.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	on = false
	if refused == 0 {
		t.Error("nothing was refused")
	}
	check(t, b, kept)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestSyncFails: what could not be synced is not acknowledged, nor is anything after.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	failing := false
	d := &drivetest.Disk{Fail: func(op, name string) error {
		if failing && op == "sync" && strings.Contains(name, ".vol") {
			return syscall.EIO
		}
		return nil
	}}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, storage.Settings{})
	kept := fill(t, b, 6)
	failing = true
	if err := put(b, "lost", []byte("x")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	failing = false
	if err := put(b, "later", []byte("x")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if s.Disks()[0].Err == nil {
		t.Error("the disk is said to work")
	}
	_ = s.Close() // it has failed
	s = open(t, small(1, time.Now).On(d.Cut(rand.New(rand.NewPCG(1, 1)), false)))
	b = bucket(t, s, storage.Settings{})
	if _, err := b.Delete(ctx, "lost", storage.DeleteOptions{}); err != nil { // it may be there or not
		t.Error(err)
	}
	check(t, b, kept)
}

// TestRot damages every kind of file there is, and asks for the data.
func TestRot(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, copies := range []int{1, 2} {
		d := &drivetest.Disk{}
		c := small(2, time.Now).On(d)
		c.ScrubBytesPerSecond = 1 << 40
		s := open(t, c)
		b := bucket(t, s, storage.Settings{Copies: copies})
		want := fill(t, b, 30)
		hit := 0
		for _, name := range append(d.Names("/disk0/blobs/"), d.Names("/disk0/volumes/")...) {
			if strings.HasSuffix(name, ".vol") {
				for range 40 {
					d.Flip(rng, name, 64, 250_000)
				}
			} else {
				d.Flip(rng, name, 0, 80_000)
			}
			hit++
		}
		corrupt := 0
		for k, body := range want {
			got, err := get(b, k)
			switch {
			case errors.Is(err, storage.ErrCorrupt):
				corrupt++
			case err != nil || !bytes.Equal(got, body):
				t.Errorf("%s: damaged data was served: %v", k, err)
			}
		}
		if copies == 2 && corrupt > 0 {
			t.Errorf("%d objects are corrupt, and have copies", corrupt)
		}
		if copies == 1 && corrupt == 0 {
			t.Errorf("%d files were damaged, and nothing was found", hit)
		}
		found, err := s.Scrub(ctx)
		if err != nil || copies == 1 && found.Damaged == 0 || copies == 2 && found.Damaged != found.Mended {
			t.Errorf("scrubbing found %+v, %v", found, err)
		}
		if found, err = s.Scrub(ctx); copies == 2 && (err != nil || found.Damaged > 0) {
			t.Errorf("scrubbing again found %+v, %v", found, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReadErrors: a disk that cannot read costs nothing where there is a copy.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	failing := false
	d := &drivetest.Disk{Fail: func(op, name string) error {
		if failing && op == "read" && strings.HasPrefix(name, "/disk0/") && !strings.Contains(name, "index") {
			return syscall.EIO
		}
		return nil
	}}
	s := open(t, small(2, time.Now).On(d))
	b := bucket(t, s, storage.Settings{Copies: 2})
	want := fill(t, b, 12)
	failing = true
	check(t, b, want)
	failing = false
	check(t, b, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestIndexLost makes the index anew from the volumes, after all kinds of changes.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	c := small(1, time.Now).On(d)
	c.VolumeBytes = 200_000
	s := open(t, c)
	b := bucket(t, s, storage.Settings{Versioning: storage.Versioned})
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 300 {
		key := fmt.Sprint("key", rng.IntN(20))
		body := bytes.Repeat([]byte{byte(i)}, []int{100, 5000, 20_000, 200_000}[rng.IntN(4)])
		if err := put(b, key, body); err != nil {
			t.Fatal(err)
		}
		l, err := b.Versions(ctx, storage.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for len(l.Objects) > 30 {
			at := rng.IntN(len(l.Objects))
			if _, err := b.Delete(ctx, l.Objects[at].Key, storage.DeleteOptions{Version: l.Objects[at].Version}); err != nil {
				t.Fatal(err)
			}
			l.Objects = append(l.Objects[:at:at], l.Objects[at+1:]...)
		}
		if i%60 == 59 {
			if err := errors.Join(s.Tidy(ctx), s.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before, err := b.Versions(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, _ := b.Info(ctx)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range d.Names("/index/") {
		if err := d.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, c)
	b = bucket(t, s, storage.Settings{})
	after, err := b.Versions(ctx, storage.ListOptions{})
	if err != nil || fmt.Sprint(before.Objects) != fmt.Sprint(after.Objects) {
		t.Errorf("the index made anew is another, %v:\n%v\n%v", err, before.Objects, after.Objects)
	}
	if again, _ := b.Info(ctx); again.Usage != info.Usage {
		t.Errorf("the books were %+v and are %+v", info.Usage, again.Usage)
	}
	if found, err := s.Scrub(ctx); err != nil || found.Damaged > 0 {
		t.Errorf("scrubbing found %+v, %v", found, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestCompaction: space comes back, and nothing is lost.
func TestCompaction(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, storage.Settings{})
	want := map[string][]byte{}
	for i := range 4000 {
		key, body := fmt.Sprint("k", i%100), bytes.Repeat([]byte{byte(i)}, 4096)
		if err := put(b, key, body); err != nil {
			t.Fatal(err)
		}
		want[key] = body
	}
	if err := s.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, n := range d.Names(".vol") {
		size, _, _ := d.Stat(n)
		bytes += size
	}
	if bytes > 3<<20 {
		t.Errorf("400 KiB of objects take %d bytes", bytes)
	}
	check(t, b, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, small(1, time.Now).On(d))
	check(t, bucket(t, s, storage.Settings{}), want)
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, storage.Settings{})
	want := fill(t, b, 9)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := b.Put(ctx, "cut off", r, storage.PutOptions{})
		done <- err
	}()
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	files := len(d.Names("/blobs/"))
	after := d.Cut(rand.New(rand.NewPCG(1, 1)), true)
	w.CloseWithError(errors.New("no power"))
	if err := <-done; err == nil {
		t.Error("the body that was cut off was stored")
	}
	if got := len(d.Names("/blobs/")); got != files-1 {
		t.Errorf("a body that was cut off left %d files of %d", got, files)
	}
	s = open(t, small(1, time.Now).On(after))
	if err := s.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if got := len(after.Names("/blobs/")); got != files-1 {
		t.Errorf("after a crash %d files are left of %d", got, files)
	}
	check(t, bucket(t, s, storage.Settings{}), want)
}
