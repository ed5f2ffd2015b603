package remote

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"polder.dev/polder/storage"
)

// Stat implements storage.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string, o storage.ReadOptions) (storage.Info, error) {
	done, err := b.begin(false, key)
	if err != nil {
		return storage.Info{}, err
	}
	defer done()
	_, i, err := b.find(ctx, key, o)
	return i, err
}

// find judges the conditions of a read.
func (b *Bucket) find(ctx context.Context, key string, o storage.ReadOptions) (entry, storage.Info, error) {
	e, err := b.head(ctx, key, o.Version)
	if err != nil {
		if errors.Is(err, storage.ErrNoObject) && len(o.If.Match) > 0 {
			return entry{}, storage.Info{}, o.If.Check(nil, true)
		}
		return entry{}, storage.Info{}, fmt.Errorf("%s: %w", key, err)
	}
	i := b.infoOf(e)
	return e, i, o.If.Check(&i, true)
}

// head finds a version. In a bucket without versions there is one.
func (b *Bucket) head(ctx context.Context, key, version string) (entry, error) {
	versioned := b.versioned()
	if version != "" && !versioned {
		if version != storage.NullVersion {
			return entry{}, fmt.Errorf("%w: %q", storage.ErrNoVersion, version)
		}
		version = ""
	}
	e, err := b.s.wire.head(ctx, b.at(key), version)
	if version != "" && (errors.Is(err, storage.ErrNoObject) || errors.Is(err, storage.ErrInvalid)) && !errors.Is(err, storage.ErrDeleted) {
		return e, fmt.Errorf("%w: %q: %w", storage.ErrNoVersion, version, err)
	}
	if err != nil {
		return e, err
	}
	e.latest = true
	if version != "" {
		now, err := b.s.wire.head(ctx, b.at(key), "")
		if err != nil && !errors.Is(err, storage.ErrNoObject) {
			return e, err
		}
		e.latest = err == nil && now.version == e.version
	}
	return e, nil
}

// versioned says that versions can be named. A remote bucket that is shown may have some.
func (b *Bucket) versioned() bool {
	return b.s.can.versions && (b.home.shown || b.settings().Versioning != storage.Unversioned)
}

// Open implements storage.Bucket. If the object is replaced while it is read, reads fail
// with ErrReplaced, unless the remote keeps versions.
func (b *Bucket) Open(ctx context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	done, err := b.begin(false, key)
	if err != nil {
		return nil, err
	}
	defer done()
	e, i, err := b.find(ctx, key, o)
	if err != nil {
		return nil, err
	}
	version := ""
	if b.versioned() {
		version = e.version
	}
	r := &object{b: b, at: b.at(key), version: version, e: e, info: i}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if e.plain {
		r.sum = md5.New()
	}
	return r, nil
}

// chunkRead is what a reader holds; skipMax is what it reads past rather than ask anew.
const (
	chunkRead = 256 << 10
	skipMax   = 256 << 10
	windowMax = 64 << 20
)

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkRead); return &b }}

// object is an open remote object. One request at a time streams a window of it, which
// grows while the reader goes on; a chunk of it is held.
type object struct {
	b       *Bucket
	at      place
	version string
	e       entry
	info    storage.Info
	ctx     context.Context // until Close
	cancel  context.CancelFunc

	mu     sync.Mutex
	closed bool
	buf    *[]byte // nil while nothing is held
	off    int64   // of buf
	n      int     // bytes in buf

	body     io.ReadCloser // nil if no request is under way
	pos, end int64         // of body
	window   int64

	sum    hash.Hash // of what was read from the start on; nil if it tells nothing
	summed int64
}

func (o *object) Info() storage.Info { return o.info }

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", storage.ErrInvalid, off)
	}
	n := 0
	for n < len(p) {
		held, err := o.hold(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], held)
	}
	return n, nil
}

// Extents implements storage.Object: memory that is held until the next call.
func (o *object) Extents(off, n int64) ([]storage.Extent, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off < 0 || n < 0 || off+n > o.info.Size {
		return nil, fmt.Errorf("%w: bytes %d to %d of %d", storage.ErrRange, off, off+n, o.info.Size)
	}
	if n == 0 {
		return nil, nil
	}
	held, err := o.hold(off, n)
	if err != nil {
		return nil, err
	}
	held = held[:min(int64(len(held)), n)]
	return []storage.Extent{{Length: int64(len(held)), Bytes: held}}, nil
}

// hold returns bytes from off on, at least one. want is how many the reader asks for.
func (o *object) hold(off, want int64) ([]byte, error) {
	switch {
	case o.closed:
		return nil, fmt.Errorf("%w: the object was closed", storage.ErrClosed)
	case off >= o.info.Size:
		return nil, io.EOF
	case o.buf != nil && off >= o.off && off < o.off+int64(o.n):
		return (*o.buf)[off-o.off : o.n], nil
	}
	done, err := o.b.s.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	if o.buf == nil {
		o.buf = chunks.Get().(*[]byte)
	}
	o.n = 0
	if err := o.b.s.tries().do(o.ctx, "read", func() error { return o.fetch(off, want) }); err != nil {
		o.drop()
		return nil, fmt.Errorf("reading %s: %w", o.info.Key, err)
	}
	return (*o.buf)[:o.n], nil
}

// fetch fills the buffer from off on.
func (o *object) fetch(off, want int64) error {
	if o.body == nil || off < o.pos || off-o.pos > skipMax || off >= o.end {
		if err := o.ask(off, want); err != nil {
			return err
		}
	}
	for o.pos < off {
		n, err := io.ReadFull(o.body, (*o.buf)[:min(off-o.pos, chunkRead)])
		o.note((*o.buf)[:n], o.pos)
		o.pos += int64(n)
		if err != nil {
			return o.cut(err)
		}
	}
	n, err := io.ReadFull(o.body, (*o.buf)[:min(o.end-off, chunkRead)])
	if err != nil {
		return o.cut(err)
	}
	o.off, o.n = off, n
	o.note((*o.buf)[:n], off)
	o.pos += int64(n)
	if o.pos == o.end {
		o.drop()
	}
	if o.sum != nil && o.summed == o.info.Size {
		if got := hex.EncodeToString(o.sum.Sum(nil)); got != o.e.tag {
			o.n = 0
			return fmt.Errorf("%w: the remote's bytes have MD5 %s, and not %s", storage.ErrCorrupt, got, o.e.tag)
		}
		o.sum = nil
	}
	return nil
}

// cut ends a request that gave less than it should.
func (o *object) cut(err error) error {
	o.drop()
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, errShort)
	}
	return err
}

// ask begins a request. One that goes on where the last ended is twice as long.
func (o *object) ask(off, want int64) error {
	o.drop()
	if off == o.end && o.window > 0 {
		o.window = min(2*o.window, windowMax)
	} else {
		o.window = o.b.s.cfg.WindowBytes
	}
	n := min(max(o.window, min(want, windowMax)), o.info.Size-off)
	body, err := o.b.s.wire.get(o.ctx, o.at, o.version, o.e.tag, off, n)
	switch {
	case errors.Is(err, storage.ErrPrecondition), errors.Is(err, storage.ErrNoObject), errors.Is(err, storage.ErrRange):
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	case err != nil:
		return err
	}
	o.body, o.pos, o.end = body, off, off+n
	return nil
}

// note hashes what was read in order from the start on.
func (o *object) note(p []byte, at int64) {
	if o.sum != nil && at <= o.summed && at+int64(len(p)) > o.summed {
		fresh := p[o.summed-at:]
		_, _ = o.sum.Write(fresh) // a hash never fails
		o.summed += int64(len(fresh))
	}
}

// drop ends the request under way.
func (o *object) drop() {
	if o.body != nil {
		_ = o.body.Close() // nothing more is wanted of it
		o.body = nil
	}
}

// Close implements storage.Object.
func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.drop()
	o.cancel()
	if o.buf != nil {
		chunks.Put(o.buf)
		o.buf = nil
	}
	return nil
}

func (s *Store) tries() tries { return tries{s.cfg.Tries, s.cfg.Backoff, s.cfg.Log} }
