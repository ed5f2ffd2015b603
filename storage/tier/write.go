package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"polder.dev/polder/storage"
)

func (b *bucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	p := b.policy.Load()
	if p.lower != nil && p.Write == storage.WriteThrough {
		return b.putThrough(ctx, p.lower, key, body, o)
	}
	i, err := b.home.Put(ctx, key, body, o)
	if err != nil {
		b.store.full(err)
		return i, err
	}
	b.wrote(p, i)
	return bare(i), nil
}

// wrote has a version that is at home alone copied down, if the policy wants that.
func (b *bucket) wrote(p *policy, i storage.Info) {
	if p.copies() && i.Size > 0 && i.Whereabouts.Place == "" {
		p.lower.queue.add(task{kind: flush, bucket: b, key: i.Key, version: i.Version, revision: i.Revision})
	}
}

// putThrough sends a body to the home and to the tier below at once. The home stores it
// only when the tier below has.
func (b *bucket) putThrough(ctx context.Context, l *level, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	b.moves.RLock()
	defer b.moves.RUnlock()
	if err := storage.CheckKey(key); err != nil {
		return storage.Info{}, err
	}
	c, err := b.claim(ctx, l, key, 0)
	if err != nil {
		return storage.Info{}, err
	}
	defer c.done()
	r, w := io.Pipe()
	type result struct {
		sum string
		n   int64
		err error
	}
	out := make(chan result, 1)
	go func() {
		sum, n, err := l.put(ctx, c.place.key, r, o.Size, "")
		if err == nil {
			err = io.EOF // it is done
		}
		_ = r.CloseWithError(err) // it returns nil
		out <- result{sum, n, err}
	}()
	seal := o.Seal
	o.Seal = func(m *storage.Meta) error {
		_ = w.Close() // it returns nil
		got := <-out
		out <- got
		if got.err != io.EOF {
			return fmt.Errorf("writing through: %w", got.err)
		}
		c.sum = got.sum
		if seal != nil {
			return seal(m)
		}
		return nil
	}
	i, err := b.home.Put(ctx, key, io.TeeReader(body, w), o)
	_ = w.CloseWithError(errStopped) // it returns nil; of a body that was not read to its end
	got := <-out
	if err != nil {
		b.store.full(err)
		return storage.Info{}, err
	}
	if i.Size == 0 || got.n != i.Size {
		return bare(i), nil // there is no data to keep below
	}
	return b.through(ctx, i, c)
}

// through notes at home that the tier below has a copy, which is when a write is done.
func (b *bucket) through(ctx context.Context, i storage.Info, c *claimed) (storage.Info, error) {
	_, err := b.home.Relocate(context.WithoutCancel(ctx), i.Key, storage.Relocation{
		Revision: i.Revision, To: c.holds(), Claim: c.note.ID,
	})
	// It may have been replaced already, or somebody has copied it down just before.
	if err != nil && !errors.Is(err, storage.ErrNoVersion) && !errors.Is(err, storage.ErrPrecondition) {
		return storage.Info{}, err
	}
	return bare(i), nil
}

func (b *bucket) Complete(ctx context.Context, key, upload string, parts []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	p := b.policy.Load()
	if p.lower != nil && p.Write == storage.WriteThrough {
		return b.completeThrough(ctx, p.lower, key, upload, parts, o)
	}
	i, err := b.home.Complete(ctx, key, upload, parts, o)
	if err != nil {
		return i, err
	}
	b.wrote(p, i)
	return bare(i), nil
}

// completeThrough copies the parts down before the object is made of them.
func (b *bucket) completeThrough(ctx context.Context, l *level, key, upload string, parts []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	b.moves.RLock()
	defer b.moves.RUnlock()
	parts, err := b.exact(ctx, key, upload, parts)
	if err != nil {
		return storage.Info{}, err
	}
	src, err := b.home.Preview(ctx, key, upload, parts)
	if err != nil {
		return storage.Info{}, err
	}
	c, err := b.copyDown(ctx, l, src, 0)
	if err := errors.Join(err, src.Close()); err != nil {
		return storage.Info{}, fmt.Errorf("completing the upload of %s: writing through: %w", key, err)
	}
	defer c.done()
	i, err := b.home.Complete(ctx, key, upload, parts, o)
	if err != nil || i.Size == 0 {
		return bare(i), err
	}
	return b.through(ctx, i, c)
}

// exact names the parts by their ETags as well, so that none can be replaced between
// the copy and the object. What does not fit is left for the home to refuse.
func (b *bucket) exact(ctx context.Context, key, upload string, parts []storage.PartRef) ([]storage.PartRef, error) {
	stored, _, err := b.home.Parts(ctx, key, upload, 0, 0)
	if err != nil {
		return nil, err
	}
	etags := map[int]string{}
	for _, p := range stored {
		etags[p.Number] = p.ETag
	}
	parts = slices.Clone(parts)
	for i := range parts {
		if parts[i].ETag == "" {
			parts[i].ETag = etags[parts[i].Number]
		}
	}
	return parts, nil
}
