package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
// memory, since r cannot be asked again; for the same reason it cannot go on later.
func (c *Client) Write(ctx context.Context, r io.Reader, to Address, m *Meter) error {
	first, err := readPart(r, c.cfg.PartBytes)
	last := errors.Is(err, io.EOF)
	if err != nil && !last {
		return fmt.Errorf("reading for %s: %w", to, plainError(err))
	}
	o := metaOf(to.Key, time.Time{})
	if last {
		if err := c.putBody(ctx, bytes.NewReader(first), int64(len(first)), o, to, m); err != nil {
			return err
		}
		m.Objects.Add(1)
		return nil
	}
	u := &upload{to: to}
	err = c.try(ctx, func() (err error) {
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
		return explain(err, to)
	}
	m.Objects.Add(1)
	return nil
}

// withSum asks for one checksum of the whole object.
func withSum(o minio.PutObjectOptions) minio.PutObjectOptions {
	o.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC64NVME"
	o.UserMetadata["X-Amz-Checksum-Type"] = "FULL_OBJECT"
	return o
}

// readPart reads n bytes, or what there is with io.EOF. It needs no more memory than
// what comes, twice at most.
func readPart(r io.Reader, n int64) ([]byte, error) {
	var b bytes.Buffer
	got, err := io.CopyN(&b, r, n)
	if err == nil && got < n {
		err = io.EOF
	}
	return b.Bytes(), err
}

func (c *Client) writeParts(ctx context.Context, u *upload, part []byte, r io.Reader, m *Meter) error {
	g, ctx := errgroup.WithContext(ctx)
	var sent []*minio.CompletePart
	failed := func() error {
		for last := false; ; {
			done, err := c.slot(ctx) // before the next part is read, so that memory is bounded
			if err != nil {
				return err
			}
			if len(sent) == partsMax {
				done()
				return fmt.Errorf("it is too large for %d parts of %d bytes; choose larger parts", partsMax, c.cfg.PartBytes)
			}
			p := &minio.CompletePart{}
			sent = append(sent, p)
			number, body := len(sent), part
			g.Go(func() (err error) {
				defer done()
				*p, err = c.sendPart(ctx, u, number, io.NewSectionReader(bytes.NewReader(body), 0, int64(len(body))), m)
				return err
			})
			if last {
				return nil
			}
			part, err = readPart(r, c.cfg.PartBytes)
			if last = errors.Is(err, io.EOF); err != nil && !last {
				return fmt.Errorf("reading: %w", plainError(err))
			}
			if len(part) == 0 {
				return nil
			}
		}
	}()
	if err := g.Wait(); err != nil {
		return err
	}
	for _, p := range sent {
		u.parts = append(u.parts, *p)
	}
	return failed
}
