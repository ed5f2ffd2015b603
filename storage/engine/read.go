package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"polder.dev/polder/storage"
)

// retries bounds how often a read begins anew because its object was replaced between
// finding and opening it.
const retries = 100

func (b *bucket) Stat(_ context.Context, key string, o storage.ReadOptions) (storage.Info, error) {
	f, _, err := b.look(key, o)
	if err != nil {
		return storage.Info{}, err
	}
	return f.info(key, f.latest), nil
}

// look finds a version that a client may see and whose conditions hold.
func (b *bucket) look(key string, o storage.ReadOptions) (*found, Part, error) {
	set, err := b.begin(key)
	if err != nil {
		return nil, Part{}, err
	}
	p := b.part(key, &set)
	f, err := b.find(p, key, o.Version)
	if err != nil {
		return nil, p, fmt.Errorf("reading %s: %w", key, err)
	}
	if f, err = b.present(f, key, o.Version); err != nil {
		return nil, p, err
	}
	i := f.info(key, f.latest)
	if err := o.If.Check(&i, true); err != nil {
		return nil, p, fmt.Errorf("%s: %w", key, err)
	}
	f.meta = cloneMeta(f.meta)
	return f, p, nil
}

func cloneMeta(m storage.Meta) storage.Meta {
	for _, t := range []*map[string]string{&m.Headers, &m.User, &m.Tags, &m.Checksums, &m.System} {
		*t = maps.Clone(*t)
	}
	return m
}

func (b *bucket) Open(_ context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	for range retries {
		f, p, err := b.look(key, o)
		if err != nil {
			return nil, err
		}
		obj := &object{info: f.info(key, f.latest)}
		if f.state == stateAway {
			return nil, fmt.Errorf("opening %s: %w", key, storage.ErrAway)
		}
		if f.upload != 0 && f.state != stateWhole {
			err = b.openParts(obj, p, f)
		} else if f.size > 0 {
			err = b.openBlob(obj, p, f.entry, f.size)
		}
		if err == nil {
			return obj, nil
		}
		_ = obj.Close()
		if !errors.Is(err, ErrGone) {
			return nil, fmt.Errorf("opening %s: %w", key, err)
		}
	}
	return nil, fmt.Errorf("opening %s: %w: it was replaced %d times meanwhile", key, storage.ErrUnavailable, retries)
}

func (b *bucket) openBlob(o *object, p Part, e Entry, size int64) error {
	blob, err := b.store.ledger.Open(p, e)
	if err != nil {
		return err
	}
	o.pieces = append(o.pieces, piece{end: o.size() + size, blob: blob})
	return nil
}

// openParts pins all parts of a version. If they are not whole, they were just removed.
func (b *bucket) openParts(o *object, p Part, f *found) error {
	return b.openPieces(o, p, f.upload, f.size, nil)
}

// openPieces pins the parts of an upload that are to be kept, or all of them.
func (b *bucket) openPieces(o *object, p Part, upload uint64, size int64, keep map[int]bool) error {
	pre := partsPrefix(b.number, o.info.Key, upload)
	c := b.store.ledger.Scan(pre, after(pre), false)
	for c.Next() {
		if keep != nil && !keep[partNumber(c.Entry().Key)] {
			continue
		}
		v, err := decode(c.Entry().Value)
		if err == nil && v.state == stateAway {
			err = ErrGone
		}
		if err == nil && v.size > 0 {
			err = b.openBlob(o, p, c.Entry(), v.size)
		}
		if err != nil {
			_ = c.Close()
			return err
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	if o.size() != size {
		return ErrGone
	}
	return nil
}

// object implements storage.Object over the blobs it is made of.
type object struct {
	info   storage.Info
	pieces []piece
	warm   warm
}

// piece is a blob and where it ends in the object.
type piece struct {
	end  int64
	blob Blob
}

func (o *object) size() int64 {
	if len(o.pieces) == 0 {
		return 0
	}
	return o.pieces[len(o.pieces)-1].end
}

func (o *object) Info() storage.Info { return o.info }

// each calls f for the pieces that [off, off+n) touches, with offsets in the piece.
func (o *object) each(off, n int64, f func(b Blob, off, n int64) error) error {
	lo, hi := 0, len(o.pieces)
	for lo < hi { // the first piece that ends behind off
		if m := (lo + hi) / 2; o.pieces[m].end > off {
			hi = m
		} else {
			lo = m + 1
		}
	}
	for i := lo; n > 0 && i < len(o.pieces); i++ {
		begin := int64(0)
		if i > 0 {
			begin = o.pieces[i-1].end
		}
		k := min(n, o.pieces[i].end-off)
		if err := f(o.pieces[i].blob, off-begin, k); err != nil {
			return err
		}
		if len(o.pieces) > 1 {
			o.warm.use(o.pieces, i)
		}
		off, n = off+k, n-k
	}
	return nil
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", storage.ErrRange, off)
	}
	size := o.info.Size
	if off >= size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), size-off)
	n := 0
	err := o.each(off, want, func(b Blob, off, k int64) error {
		m, err := b.ReadAt(p[n:n+int(k)], off)
		n += m
		if m == int(k) {
			return nil
		}
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: a blob is too short", storage.ErrCorrupt)
		}
		return err
	})
	if err != nil {
		return n, fmt.Errorf("reading %s: %w", o.info.Key, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *object) Extents(off, n int64) ([]storage.Extent, error) {
	if off < 0 || n < 0 || off+n > o.info.Size {
		return nil, fmt.Errorf("%w: bytes %d to %d of %d", storage.ErrRange, off, off+n, o.info.Size)
	}
	var out []storage.Extent
	pieces := 0
	err := o.each(off, n, func(b Blob, off, n int64) error {
		if pieces++; pieces > warmMax {
			return errEnough // the files of the first would be closed
		}
		e, err := b.Extents(off, n)
		out = append(out, e...)
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("reading %s: %w", o.info.Key, err)
	}
	return out, nil
}

var errEnough = errors.New("enough extents")

func (o *object) Close() error {
	var errs []error
	for _, p := range o.pieces {
		errs = append(errs, p.blob.Close())
	}
	o.pieces = nil
	return errors.Join(errs...)
}
