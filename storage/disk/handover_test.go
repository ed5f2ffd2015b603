package disk_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drivetest"
)

const arrived = "/in/file"

// arrive makes a file that was not synced, and what hands it over.
func arrive(t *testing.T, d *drivetest.Disk, body []byte) *storage.Handover {
	t.Helper()
	if err := d.MkdirAll("/in"); err != nil {
		t.Fatal(err)
	}
	f, err := d.Create(arrived)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(body, 0); err != nil {
		t.Fatal(err)
	}
	var sums storage.Sums
	_, _ = sums.Write(body)
	return &storage.Handover{Path: arrived, Size: sums.Size, Sums: sums.Blocks}
}

func isThere(t *testing.T, d *drivetest.Disk, want []byte) {
	t.Helper()
	f, err := d.Open(arrived)
	if err != nil {
		t.Errorf("the file is gone: %v", err)
		return
	}
	size, _ := f.Size()
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, and not the %d it had: %v", size, len(want), err)
	}
}

func handOver(b storage.Bucket, h *storage.Handover, o storage.PutOptions) error {
	_, err := b.Put(ctx, "k", h, o)
	return err
}

var errSeal = errors.New("it is refused")

var plainETags = storage.Settings{PlainETag: true}

func randomBody(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b) // never fails
	return b
}

// TestHandover: the file is the object, from then on and after a power cut.
func TestHandover(t *testing.T) {
	t.Parallel()
	for _, size := range []int{200_000, 4 * storage.HandoverBlock} {
		d := &drivetest.Disk{}
		s := open(t, small(1, time.Now).On(d))
		b := bucket(t, s, plainETags)
		body := randomBody(size)
		if err := handOver(b, arrive(t, d, body), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := d.Names(arrived); len(n) > 0 {
			t.Errorf("the file has two names: %v", n)
		}
		check(t, b, map[string][]byte{"k": body})
		o, err := b.Open(ctx, "k", storage.ReadOptions{Once: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(storage.Reader(o, 5, int64(size-5))); err != nil || !bytes.Equal(got, body[5:]) || o.Close() != nil {
			t.Errorf("%d bytes are read once: %v", len(got), err)
		}
		after := d.Cut(rand.New(rand.NewPCG(1, uint64(size))), false)
		_ = s.Close() // it has no power
		s = open(t, small(1, time.Now).On(after))
		check(t, bucket(t, s, plainETags), map[string][]byte{"k": body})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoHandover: a file that is not taken over is what it was.
func TestNoHandover(t *testing.T) {
	t.Parallel()
	body := randomBody(200_000)
	for name, c := range map[string]struct {
		disks int
		set   storage.Settings
		size  int
		o     storage.PutOptions
		fail  error // of giving it another name
		spoil func(h *storage.Handover)
		want  error
	}{
		"of a bucket with MD5s":        {want: storage.ErrNoHandover},
		"with an MD5":                  {set: plainETags, o: storage.PutOptions{MD5: "00"}, want: storage.ErrNoHandover},
		"of a small file":              {set: plainETags, size: 100, want: storage.ErrNoHandover},
		"where there are copies":       {set: storage.Settings{PlainETag: true, Copies: 2}, disks: 2, want: storage.ErrNoHandover},
		"of another disk":              {set: plainETags, fail: syscall.EXDEV, want: storage.ErrNoHandover},
		"of a disk that fails":         {set: plainETags, fail: syscall.EIO, want: syscall.EIO},
		"on a condition that is false": {set: plainETags, o: storage.PutOptions{If: storage.Conditions{Match: []string{"*"}}}, want: storage.ErrPrecondition},
		"with too few checksums":       {set: plainETags, spoil: func(h *storage.Handover) { h.Sums = h.Sums[1:] }, want: storage.ErrDigest},
		"of another size":              {set: plainETags, spoil: func(h *storage.Handover) { h.Size-- }, want: storage.ErrDigest},
		"of nothing":                   {set: plainETags, spoil: func(h *storage.Handover) { h.Path += "s" }, want: storage.ErrInvalid},
		"sealed by who refuses":        {set: plainETags, o: storage.PutOptions{Seal: func(*storage.Meta) error { return errSeal }}, want: errSeal},
	} {
		t.Run(name, func(t *testing.T) {
			d := &drivetest.Disk{}
			d.Fail = func(op, at string) error {
				if op == "rename" && at == arrived {
					return c.fail
				}
				return nil
			}
			s := open(t, small(max(c.disks, 1), time.Now).On(d))
			b := bucket(t, s, c.set)
			mine := body
			if c.size > 0 {
				mine = body[:c.size]
			}
			h := arrive(t, d, mine)
			if c.spoil != nil {
				c.spoil(h)
			}
			if err := handOver(b, h, c.o); !errors.Is(err, c.want) {
				t.Errorf("it ends by %v", err)
			}
			isThere(t, d, mine)
			check(t, b, nil)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHandoverGivesBack a file that was taken and did not become an object, so that it can be
// handed over again.
func TestHandoverGivesBack(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	var fails atomic.Bool
	d.Fail = func(op, at string) error {
		if op == "sync" && at == arrived && fails.Load() {
			return syscall.EIO
		}
		return nil
	}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, plainETags)
	body := randomBody(200_000)
	h := arrive(t, d, body)
	fails.Store(true)
	if err := handOver(b, h, storage.PutOptions{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("what was not synced ends by %v", err)
	}
	isThere(t, d, body)
	fails.Store(false)
	if err := handOver(b, h, storage.PutOptions{}); err != nil {
		t.Error(err)
	}
	check(t, b, map[string][]byte{"k": body})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestHandoverDamaged: checksums that are not the file's are found when it is read.
func TestHandoverDamaged(t *testing.T) {
	t.Parallel()
	d := &drivetest.Disk{}
	s := open(t, small(1, time.Now).On(d))
	b := bucket(t, s, plainETags)
	h := arrive(t, d, randomBody(200_000))
	h.Sums = slices.Clone(h.Sums)
	h.Sums[1]++
	if err := handOver(b, h, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := get(b, "k"); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("reading ends by %v", err)
	}
	_ = s.Close()
}

// TestHandoverIsCut at each of its steps: then there is the whole object, or none.
func TestHandoverIsCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	body := randomBody(200_000)
	for steps, acknowledged := 0, false; !acknowledged; steps++ {
		d := &drivetest.Disk{}
		s := open(t, small(1, time.Now).On(d))
		b := bucket(t, s, plainETags)
		h := arrive(t, d, body)
		var done atomic.Int64
		d.Fail = func(string, string) error {
			if done.Add(1) > int64(steps) {
				return syscall.EIO
			}
			return nil
		}
		acknowledged = handOver(b, h, storage.PutOptions{}) == nil
		after := d.Cut(rng, steps%2 == 0)
		_ = s.Close() // it has no power
		s = open(t, small(1, time.Now).On(after))
		got, err := get(bucket(t, s, plainETags), "k")
		switch {
		case err == nil && bytes.Equal(got, body):
		case errors.Is(err, storage.ErrNoObject) && !acknowledged:
		default:
			t.Errorf("cut after %d steps, acknowledged %v: %d bytes, %v", steps, acknowledged, len(got), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if steps > 100 {
			t.Fatal("it has no end")
		}
	}
}
