package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"polder.dev/polder/storage/budget"
)

// smallBytes is a buffer that every body may have; InlineMax one that the budget must have
// room for.
const smallBytes = 16 << 10

// ring is how many chunks a body has at most: one that is read, one that waits to be
// hashed and one that is hashed.
const ring = 3

// chunk is a stretch of a body in memory. Who holds it may read it; the last to release it
// gives its buffer back.
type chunk struct {
	buf   []byte
	n     int // bytes of the body
	reads int // that brought them
	holds atomic.Int32
	from  *budget.Budget // of a large one
}

var (
	smalls = sync.Pool{New: func() any { return &chunk{buf: make([]byte, smallBytes)} }}
	larges = sync.Pool{New: func() any { return &chunk{buf: make([]byte, InlineMax)} }}
)

// bytes are those of the body.
func (c *chunk) bytes() []byte { return c.buf[:c.n] }

// full says that the body may go on behind it.
func (c *chunk) full() bool { return c.n == len(c.buf) }

// fast says that the body comes in long stretches.
func (c *chunk) fast() bool { return c.n >= c.reads*smallBytes }

func (c *chunk) release() {
	if c.holds.Add(-1) > 0 {
		return
	}
	switch len(c.buf) {
	case smallBytes:
		smalls.Put(c)
	case InlineMax:
		c.from.Give(budget.Bodies, InlineMax)
		larges.Put(c)
	}
}

// room is a small buffer, for what size says is left, 0 being unknown: with one byte more
// to meet its end.
func room(size int64) *chunk {
	c := &chunk{}
	if size > 0 && size < smallBytes-1 {
		c.buf = make([]byte, size+1)
	} else {
		c = smalls.Get().(*chunk)
	}
	c.n, c.reads = 0, 0
	c.holds.Store(1)
	return c
}

// large returns a large buffer if there is room for it, or nil.
func (s *Store) large() *chunk {
	if !s.memory.Take(budget.Bodies, InlineMax) {
		return nil
	}
	c := larges.Get().(*chunk)
	c.n, c.reads, c.from = 0, 0, s.memory
	c.holds.Store(1)
	return c
}

// next reads on in a body, behind a chunk that says whether it is fast. What comes goes
// into a large buffer if it is, and else into a small one, and only who fills that gets a
// large one: a client that sends little and seldom holds little. io.EOF says that the body
// has ended; the chunk is the caller's to release in any case.
func (s *Store) next(ctx context.Context, body io.Reader, fast bool) (*chunk, error) {
	if fast {
		if c := s.large(); c != nil {
			return c, c.read(ctx, body)
		}
	}
	return s.first(ctx, body, 0)
}

// first is next of what is not known to be fast, and is told to have size bytes if that
// is not 0.
func (s *Store) first(ctx context.Context, body io.Reader, size int64) (*chunk, error) {
	c := room(size)
	if err := c.read(ctx, body); err != nil || len(c.buf) != smallBytes {
		return c, err
	}
	large := s.large()
	if large == nil {
		return c, nil
	}
	large.n, large.reads = copy(large.buf, c.bytes()), c.reads
	c.release()
	return large, large.read(ctx, body)
}

// read fills the chunk; io.EOF says that the body ended before that.
func (c *chunk) read(ctx context.Context, body io.Reader) error {
	for !c.full() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := body.Read(c.buf[c.n:])
		if n < 0 || n > len(c.buf)-c.n {
			return errors.New("the body's reader returned an impossible count")
		}
		c.n += n
		c.reads++
		if err == io.EOF && c.full() {
			return nil // the next read says so again
		}
		if err != nil {
			return err
		}
	}
	return nil
}
