package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// Read writes an object to w as it comes, and verifies it at the end.
func (c *Client) Read(ctx context.Context, from Address, version string, w io.Writer, m *Meter) error {
	done, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer done()
	s := &section{c: c, from: from, version: version, end: -1, m: m}
	if err := s.copy(ctx, w); err != nil {
		return explain(err, from)
	}
	if !s.verified {
		m.Unverified.Add(1)
	}
	m.Objects.Add(1)
	return nil
}

// Write stores what r yields until io.EOF. It holds a part for each request at once in
// memory, and one more, since r cannot be asked again; for the same reason it cannot go
// on later.
func (c *Client) Write(ctx context.Context, r io.Reader, to Address, m *Meter) error {
	first := &lent{b: make([]byte, c.cfg.PartBytes)}
	n, last, err := fill(r, first.b)
	if err != nil {
		return fmt.Errorf("reading for %s: %w", to, err)
	}
	o := metaOf(to.Key, time.Time{})
	if last {
		err = c.putBody(ctx, first, n, o, to, m)
	} else {
		err = c.writeMany(ctx, first, r, o, to, m)
	}
	if err != nil {
		return err
	}
	m.Objects.Add(1)
	return nil
}

// writeMany uploads a stream as parts, of which the first is read.
func (c *Client) writeMany(ctx context.Context, first *lent, r io.Reader, o minio.PutObjectOptions, to Address, m *Meter) error {
	u := &upload{to: to}
	err := c.try(ctx, func() (err error) {
		u.state.ID, err = c.core.NewMultipartUpload(ctx, to.Bucket, to.Key, withSum(o))
		return err
	})
	if err != nil {
		return explain(err, to)
	}
	if err = c.writeParts(ctx, u, first, r, m); err == nil {
		err = c.complete(ctx, u)
	}
	if err != nil {
		c.abort(ctx, u)
	}
	return explain(err, to)
}

// withSum asks for one checksum of the whole object.
func withSum(o minio.PutObjectOptions) minio.PutObjectOptions {
	o.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC64NVME"
	o.UserMetadata["X-Amz-Checksum-Type"] = "FULL_OBJECT"
	return o
}

// fill reads into all of b; last says that r has ended.
func fill(r io.Reader, b []byte) (n int64, last bool, err error) {
	got, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return int64(got), true, nil
	}
	if err != nil {
		err = plainError(err)
	}
	return int64(got), false, err
}

// lent is a buffer that requests read from until it is taken back: a request that failed
// may be at it still when another one has succeeded.
type lent struct {
	mu sync.RWMutex
	b  []byte
}

// ReadAt implements io.ReaderAt.
func (l *lent) ReadAt(p []byte, off int64) (int, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if off >= int64(len(l.b)) {
		return 0, io.EOF
	}
	n := copy(p, l.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// take ends all reading.
func (l *lent) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b
	l.b = nil
	return b
}

// streamed are the parts of a stream that are on their way.
type streamed struct {
	sent []*minio.CompletePart
	free chan []byte // buffers that no part needs any more
}

// writeParts sends first and what r yields behind it.
func (c *Client) writeParts(ctx context.Context, u *upload, first *lent, r io.Reader, m *Meter) error {
	g, ctx := errgroup.WithContext(ctx)
	s := &streamed{free: make(chan []byte, c.cfg.Parallel+1)}
	failed := c.sendStream(ctx, g, s, u, first, r, m)
	if err := g.Wait(); err != nil {
		return err
	}
	for _, p := range s.sent {
		u.parts = append(u.parts, *p)
	}
	return failed
}

func (c *Client) sendStream(ctx context.Context, g *errgroup.Group, s *streamed, u *upload, part *lent, r io.Reader, m *Meter) error {
	n, last := c.cfg.PartBytes, false
	for {
		done, err := c.slot(ctx) // before the next part is read, so that memory is bounded
		if err != nil {
			return err
		}
		if len(s.sent) == partsMax {
			done()
			return fmt.Errorf("it is too large for %d parts of %d bytes; choose larger parts", partsMax, c.cfg.PartBytes)
		}
		p := &minio.CompletePart{}
		s.sent = append(s.sent, p)
		number, body, size := len(s.sent), part, n
		g.Go(func() (err error) {
			defer done()
			*p, err = c.sendPart(ctx, u, number, io.NewSectionReader(body, 0, size), m)
			s.free <- body.take()
			return err
		})
		if last {
			return nil
		}
		part = &lent{b: s.buffer(c.cfg.PartBytes)}
		if n, last, err = fill(r, part.b); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

// buffer is one that is free, or a new one.
func (s *streamed) buffer(n int64) []byte {
	select {
	case b := <-s.free:
		return b
	default:
		return make([]byte, n)
	}
}
