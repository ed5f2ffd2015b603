package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"polder.dev/polder/storage/budget"
)

// drip is a body that gives n bytes and then fails.
type drip struct{ n int }

var errDripped = errors.New("dripped")

func (d *drip) Read(p []byte) (int, error) {
	if d.n == 0 {
		return 0, errDripped
	}
	n := min(len(p), d.n)
	d.n -= n
	return n, nil
}

func TestChunk(t *testing.T) {
	s := &Store{memory: budget.New(6 * InlineMax)}
	held := func() int64 { return s.memory.Used(budget.Bodies) }
	for _, c := range []struct {
		name      string
		bytes     int
		size      int64 // that is told
		buf, read int
		err       error
	}{
		{"told to be short", 100, 100, 101, 100, errDripped},
		{"longer than told", 200, 100, 101, 101, nil},
		{"short", 100, 0, smallBytes, 100, errDripped},
		{"all but long", smallBytes - 1, 0, smallBytes, smallBytes - 1, errDripped},
		{"long", smallBytes, 0, InlineMax, smallBytes, errDripped},
		{"longer than a chunk", 2 * InlineMax, 3 * InlineMax, InlineMax, InlineMax, nil},
	} {
		got, err := s.first(context.Background(), &drip{c.bytes}, c.size)
		if len(got.buf) != c.buf || got.n != c.read || !errors.Is(err, c.err) {
			t.Errorf("%s: %d bytes of %d, %v", c.name, got.n, len(got.buf), err)
		}
		if is := held() == InlineMax; is != (c.buf == InlineMax) {
			t.Errorf("%s: %d bytes are held", c.name, held())
		}
		got.release()
		if held() != 0 {
			t.Errorf("%s: %d bytes are left", c.name, held())
		}
	}
	if c, err := s.next(context.Background(), iotest.OneByteReader(bytes.NewReader(make([]byte, InlineMax))), false); err != nil || !c.full() || c.fast() {
		t.Errorf("byte by byte: %d bytes, fast: %v, %v", c.n, c.fast(), err)
	} else {
		c.release()
	}
	body := bytes.NewReader(make([]byte, 10*InlineMax))
	for i := range 4 { // two may be large
		c, err := s.next(context.Background(), body, i != 1)
		if want := []int{InlineMax, InlineMax, smallBytes, smallBytes}[i]; err != nil || c.n != want {
			t.Errorf("chunk %d has %d bytes, %v", i, c.n, err)
		}
		if !c.fast() {
			t.Errorf("chunk %d did not come fast", i)
		}
		defer c.release()
	}
	if c, err := s.next(context.Background(), bytes.NewReader(make([]byte, 10)), true); err != io.EOF || c.n != 10 {
		t.Errorf("the end: %d bytes, %v", c.n, err)
	}
}
