package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// changesMax is how often a download begins again because the object became another.
const changesMax = 3

// fetch is one download.
type fetch struct {
	c       *Client
	from    Address
	version string
	etag    string // that it must have; "" is any
	t       *tree
	name    string // below t
	size    int64  // as listed; the store's answer counts
	m       *Meter
}

// run downloads the object.
func (d *fetch) run(ctx context.Context) error {
	for i := 1; ; i++ {
		err := d.once(ctx)
		if !errors.Is(err, ErrChanged) || i == changesMax {
			return err
		}
	}
}

func (d *fetch) once(ctx context.Context) error {
	if dir := path.Dir(d.name); dir != "." {
		if err := d.t.root.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("making directory %s: %w", d.t.path(dir), plainError(err))
		}
	}
	if info, err := d.t.root.Lstat(d.name); err == nil && info.IsDir() {
		return fmt.Errorf("%w: %s is a directory", ErrRefused, d.t.path(d.name))
	}
	if d.size > 2*d.c.cfg.PartBytes {
		return d.ranges(ctx)
	}
	return d.whole(ctx)
}

// whole downloads by one request, and goes on where it was cut.
func (d *fetch) whole(ctx context.Context) error {
	part := partialName(d.name)
	f, err := d.t.root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("making %s: %w", d.t.path(part), plainError(err))
	}
	defer f.Close()
	if err := lockFile(f); err != nil {
		return fmt.Errorf("%s is in use; does another download run?", d.t.path(part))
	}
	o, err := d.stream(ctx, f)
	if err == nil {
		err = d.finish(f, o)
	}
	if err != nil {
		_ = d.t.root.Remove(part)
	}
	return err
}

// stream writes the object to f from its start, and verifies it on the way.
func (d *fetch) stream(ctx context.Context, f *os.File) (minio.ObjectInfo, error) {
	done, err := d.c.slot(ctx)
	if err != nil {
		return minio.ObjectInfo{}, err
	}
	defer done()
	if err := f.Truncate(0); err != nil {
		return minio.ObjectInfo{}, plainError(err)
	}
	s := &section{c: d.c, from: d.from, version: d.version, etag: d.etag, end: -1, m: d.m}
	err = s.copy(ctx, io.NewOffsetWriter(f, 0))
	if err != nil {
		d.m.Bytes.Add(-s.at)
		return minio.ObjectInfo{}, explain(err, d.from)
	}
	if !s.verified {
		d.m.Unverified.Add(1)
	}
	return s.first, nil
}

// finish gives the complete file its time and its name.
func (d *fetch) finish(f *os.File, o minio.ObjectInfo) error {
	modified := modifiedOf(o)
	part := partialName(d.name)
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", d.t.path(d.name), plainError(err))
	}
	if err := d.t.root.Chtimes(part, modified, modified); err != nil {
		return fmt.Errorf("setting the time of %s: %w", d.t.path(d.name), plainError(err))
	}
	if err := d.t.root.Rename(part, d.name); err != nil {
		var l *os.LinkError
		if errors.As(err, &l) {
			err = l.Err
		}
		return fmt.Errorf("naming %s: %w", d.t.path(d.name), plainError(err))
	}
	return nil
}

// modifiedOf is the time that a file of the object has.
func modifiedOf(o minio.ObjectInfo) time.Time {
	if t, ok := parseTime(o.UserMetadata[mtimeKey]); ok {
		return t
	}
	return o.LastModified
}

// ranges downloads many ranges at once.
func (d *fetch) ranges(ctx context.Context) error {
	o, err := d.c.stat(ctx, d.from, d.version)
	if err != nil {
		return explain(err, d.from)
	}
	if d.etag != "" && o.ETag != d.etag {
		return explain(ErrChanged, d.from)
	}
	if o.Size <= 2*d.c.cfg.PartBytes { // the listing was of another time
		return d.whole(ctx)
	}
	head := partialHead{Endpoint: d.c.base.String(), Bucket: d.from.Bucket, Key: d.from.Key, Version: d.version, ETag: o.ETag, Size: o.Size, Range: d.c.partSize(o.Size)}
	p, err := openPartial(d.t, d.name, head)
	if err != nil {
		return fmt.Errorf("making %s: %w", d.t.path(partialName(d.name)), err)
	}
	defer p.f.Close()
	var counted int64
	for _, n := range p.done {
		counted += n
	}
	d.m.Bytes.Add(counted)
	d.m.Reused.Add(counted)
	err = d.fill(ctx, p)
	if err == nil {
		err = d.verify(ctx, p, o)
	}
	if err == nil {
		return d.finish(p.f, o)
	}
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrDigest) {
		_ = d.t.root.Remove(partialName(d.name))
	}
	for _, n := range p.done {
		d.m.Bytes.Add(-n)
	}
	d.m.Reused.Add(-counted)
	return err
}

func (d *fetch) fill(ctx context.Context, p *partial) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(d.c.cfg.Parallel)
	for i := range p.done {
		if p.done[i] == p.head.length(i) || ctx.Err() != nil {
			continue
		}
		g.Go(func() error {
			done, err := d.c.slot(ctx)
			if err != nil {
				return err
			}
			defer done()
			from := int64(i) * p.head.Range
			s := &section{c: d.c, from: d.from, version: d.version, etag: p.head.ETag, at: from + p.done[i], end: from + p.head.length(i), m: d.m}
			var noted int64
			s.wrote = func(n int64) error {
				p.done[i] += n
				if noted += n; noted < partialNote {
					return nil
				}
				noted = 0
				return p.note(i)
			}
			err = s.copy(ctx, io.NewOffsetWriter(p.f, s.at))
			return explain(errors.Join(err, p.note(i)), d.from)
		})
	}
	return g.Wait()
}

// verify reads the file back, for its ranges came in any order and at different times.
func (d *fetch) verify(ctx context.Context, p *partial, o minio.ObjectInfo) error {
	verified, err := d.c.proofFor(ctx, d.from, d.version, o).checkAll(ctx, p.f, p.head.Size)
	if err != nil {
		return explain(err, d.from)
	}
	if !verified {
		d.m.Unverified.Add(1)
	}
	if err := p.f.Truncate(p.head.Size); err != nil {
		return fmt.Errorf("writing %s: %w", d.t.path(d.name), plainError(err))
	}
	return nil
}

// stat asks for an object's metadata and checksums.
func (c *Client) stat(ctx context.Context, a Address, version string) (o minio.ObjectInfo, err error) {
	opts := minio.StatObjectOptions{VersionID: version, Checksum: true}
	err = c.try(ctx, func() error {
		o, err = c.s3.StatObject(ctx, a.Bucket, a.Key, opts)
		return err
	})
	return o, err
}

// section reads bytes of one version of an object, however often its answers are cut.
type section struct {
	c       *Client
	from    Address
	version string
	etag    string // "" until the first answer tells
	at, end int64  // end is -1 for all there is
	m       *Meter
	wrote   func(n int64) error // told of each write; may be nil

	first    minio.ObjectInfo // of the first answer
	proof    proof            // of the whole, where all was read
	sum      hash.Hash
	verified bool
}

// copy writes the section to w. Progress is an answer's right to be asked for more.
func (s *section) copy(ctx context.Context, w io.Writer) error {
	for s.end < 0 || s.at < s.end {
		before := s.at
		err := s.c.try(ctx, func() error {
			err := s.answer(ctx, w)
			if err != nil && temporary(err) && s.at > before {
				return nil // more came; that is no failure yet
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if s.sum == nil {
		return nil
	}
	var err error
	s.verified, err = s.proof.check(ctx, s.sum)
	return err
}

// answer makes one request and writes what comes.
func (s *section) answer(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opts := minio.GetObjectOptions{VersionID: s.version}
	opts.Set("X-Amz-Checksum-Mode", "ENABLED")
	if s.etag != "" {
		if err := opts.SetMatchETag(s.etag); err != nil {
			return err
		}
	}
	ranged := s.at > 0 || s.end > 0
	if ranged {
		if err := opts.SetRange(s.at, max(s.end-1, 0)); err != nil {
			return err
		}
	}
	body, o, header, err := s.c.core.GetObject(ctx, s.from.Bucket, s.from.Key, opts)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := s.begin(ctx, o, header, ranged); err != nil {
		return err
	}
	return s.pour(ctx, cancel, w, body)
}

// begin looks at an answer's head.
func (s *section) begin(ctx context.Context, o minio.ObjectInfo, header http.Header, ranged bool) error {
	if s.etag != "" && o.ETag != s.etag {
		return ErrChanged
	}
	if ranged && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", s.at)) {
		return errors.New("the store does not answer with the range that was asked for")
	}
	if s.end >= 0 {
		return nil
	}
	if o.Size < 0 {
		return errors.New("the store does not say how large the object is")
	}
	s.first, s.etag, s.end = o, o.ETag, o.Size
	if s.proof = s.c.proofFor(ctx, s.from, s.version, o); s.proof.known() {
		s.sum = s.proof.hash()
	}
	return nil
}

func (s *section) pour(ctx context.Context, cancel context.CancelCauseFunc, w io.Writer, body io.Reader) error {
	b := s.c.buffers.Get().(*[]byte)
	defer s.c.buffers.Put(b)
	in := watch(body, cancel)
	defer in.stop()
	for s.at < s.end {
		n, err := in.Read((*b)[:min(int64(len(*b)), s.end-s.at)])
		if n > 0 {
			if _, werr := w.Write((*b)[:n]); werr != nil {
				return fmt.Errorf("writing: %w", werr)
			}
			if s.sum != nil {
				s.sum.Write((*b)[:n])
			}
			s.at += int64(n)
			s.m.Bytes.Add(int64(n))
			if s.wrote != nil {
				if werr := s.wrote(int64(n)); werr != nil {
					return fmt.Errorf("writing: %w", werr)
				}
			}
		}
		switch {
		case err == io.EOF && s.at < s.end:
			return errShort
		case err == io.EOF, err == nil:
		case errors.Is(context.Cause(ctx), errStalled):
			return errStalled
		default:
			return err
		}
	}
	return nil
}
