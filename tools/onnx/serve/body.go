package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bodyMax     = 16 << 20          // bytes of a request
	bodySmall   = 64 << 10          // bytes that everybody gets
	bodiesMax   = 4 * (bodyMax + 1) // bytes of all larger bodies together
	elementsMax = 4 << 20           // of a request's tensors

	readLimit  = 30 * time.Second // for a request to come, header and body
	writeLimit = 30 * time.Second // for its answer to be taken
	idleLimit  = 2 * time.Minute  // between the requests of a connection
)

// refusal is an answer other than 200.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// bodies reads requests' bodies, into memory that is used again. What is held of large
// ones is bounded, whoever sends them and however slowly.
type bodies struct {
	max    int64 // bytes of one
	held   atomic.Int64
	small  sync.Pool     // *[]byte of bodySmall
	decode chan struct{} // room for large ones that are decoded, which takes several times their size
}

func newBodies(max int64) *bodies {
	return &bodies{
		max:    max,
		small:  sync.Pool{New: func() any { b := make([]byte, 0, bodySmall); return &b }},
		decode: make(chan struct{}, 2),
	}
}

// body is one that was read.
type body struct {
	of    *bodies
	bytes []byte
	small *[]byte
	held  int64
	room  bool
}

// free gives the memory back.
func (b *body) free() {
	if b.room {
		<-b.of.decode
	}
	b.of.held.Add(-b.held)
	if b.small != nil {
		b.of.small.Put(b.small)
	}
	*b = body{of: b.of}
}

// read reads the body of r. The caller must free what it gets.
func (s *bodies) read(r *http.Request) (*body, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q is not taken; send the body as it is", e)
	}
	if r.ContentLength > s.max {
		return nil, s.tooLarge()
	}
	b := &body{of: s, small: s.small.Get().(*[]byte)}
	b.bytes = (*b.small)[:0]
	if err := b.fill(r.Body); err != nil {
		b.free()
		return nil, err
	}
	if b.held == 0 {
		return b, nil
	}
	select {
	case s.decode <- struct{}{}:
		b.room = true
		return b, nil
	case <-r.Context().Done():
		b.free()
		return nil, r.Context().Err()
	}
}

func (s *bodies) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body has more than the %d bytes that are taken; send fewer rows at a time", s.max)
}

func (b *body) fill(from io.Reader) error {
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := b.grow(); err != nil {
				return err
			}
		}
		n, err := from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case int64(len(b.bytes)) > b.of.max:
			return b.of.tooLarge()
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return refuse(http.StatusRequestTimeout, "the request did not come within %s", readLimit)
		case err != nil:
			return refuse(http.StatusBadRequest, "reading the body: %v", err)
		}
	}
}

// grow doubles what b can hold, up to one byte more than is taken, if all bodies together
// leave the room.
func (b *body) grow() error {
	size := min(2*int64(cap(b.bytes)), b.of.max+1)
	more := size - b.held
	if b.of.held.Add(more) > bodiesMax {
		b.of.held.Add(-more)
		return refuse(http.StatusServiceUnavailable, "the server holds as many large bodies as it can; try again, or send fewer rows at a time")
	}
	b.held += more
	larger := make([]byte, len(b.bytes), size)
	copy(larger, b.bytes)
	b.bytes = larger
	return nil
}
