package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"polder.dev/polder/storage"
)

// A read begins anew if its object was replaced between finding and opening it: freeTries
// times beside whoever replaces it, then alone, so that it comes to an end. While one
// disk has a commit already and another has not, only that helps.
const (
	retries   = 6
	freeTries = 3
)

// tries calls f until it does not return ErrGone any more.
func (b *bucket) tries(key string, f func(p Part) error) error {
	for try := range retries {
		if err := b.try(try >= freeTries, key, f); !errors.Is(err, ErrGone) {
			return err
		}
	}
	return fmt.Errorf("%s: %w: it was replaced %d times meanwhile", key, storage.ErrUnavailable, retries)
}

// try calls f, alone or beside whoever changes the key. The order of locks is that of
// transact, so f takes none.
func (b *bucket) try(alone bool, key string, f func(p Part) error) error {
	if !alone {
		set, err := b.begin(key)
		if err != nil {
			return err
		}
		return f(b.part(key, &set))
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if err := b.alive(); err != nil {
		return err
	}
	p := b.part(key, &b.value.Settings)
	defer b.store.ledger.Lock(p)()
	return f(p)
}

func (b *bucket) Stat(_ context.Context, key string, o storage.ReadOptions) (storage.Info, error) {
	set, err := b.begin(key)
	if err != nil {
		return storage.Info{}, err
	}
	f, err := b.look(b.part(key, &set), key, o)
	if err != nil {
		return storage.Info{}, err
	}
	return f.info(key, f.latest), nil
}

// look finds a version that a client may see and whose conditions hold.
func (b *bucket) look(p Part, key string, o storage.ReadOptions) (*found, error) {
	f, err := b.find(p, key, o.Version)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	if f, err = b.present(f, key, o.Version); err != nil {
		return nil, err
	}
	i := f.info(key, f.latest)
	if err := o.If.Check(&i, true); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	f.meta = cloneMeta(f.meta)
	return f, nil
}

func cloneMeta(m storage.Meta) storage.Meta {
	for _, t := range []*map[string]string{&m.Headers, &m.User, &m.Tags, &m.Checksums, &m.System} {
		*t = maps.Clone(*t)
	}
	return m
}

func (b *bucket) Open(_ context.Context, key string, o storage.ReadOptions) (out storage.Object, err error) {
	err = b.tries(key, func(p Part) error {
		out, err = b.open(p, key, o)
		return err
	})
	return out, err
}

// open is one try.
func (b *bucket) open(p Part, key string, o storage.ReadOptions) (storage.Object, error) {
	f, err := b.look(p, key, o)
	if err != nil {
		return nil, err
	}
	if f.state == stateAway {
		return nil, fmt.Errorf("opening %s: %w", key, storage.ErrAway)
	}
	obj := &object{info: f.info(key, f.latest)}
	if f.upload != 0 && f.state != stateWhole {
		err = b.openParts(obj, p, f)
	} else if f.size > 0 {
		err = b.openBlob(obj, p, f.entry, f.size)
	}
	for _, one := range obj.pieces {
		if o.Once {
			one.blob.Once()
		}
	}
	if err != nil {
		_ = obj.Close()
		return nil, fmt.Errorf("opening %s: %w", key, err)
	}
	return obj, nil
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
