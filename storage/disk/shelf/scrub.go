package shelf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// window of entries is read in the order in which they lie.
const window = 16 << 10

// Scrub reads every blob and verifies it. Damaged is called with the keys of those that
// are; pace with the bytes that were read, and may wait.
func (s *Shelf) Scrub(ctx context.Context, pace func(int64) error, damaged func(key []byte, err error) error) error {
	from := firstEntry
	for from != nil {
		var batch []found
		c := s.index.Scan(from, nil, false)
		from = nil
		for c.Next() {
			key := slices.Clone(c.Key())
			t, err := decodeItem(slices.Clone(c.Value()))
			if err != nil {
				return errors.Join(fmt.Errorf("entry %q: %w", key, err), c.Close())
			}
			if t.kind != kindPlain {
				batch = append(batch, found{key, t})
			}
			if len(batch) == window {
				from = append(key, 0)
				break
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
		slices.SortFunc(batch, func(a, b found) int {
			return cmp.Or(cmp.Compare(a.vol, b.vol), cmp.Compare(a.at, b.at))
		})
		if err := s.scrubBatch(ctx, batch, pace, damaged); err != nil {
			return err
		}
	}
	return nil
}

type found struct {
	key []byte
	*item
}

func (s *Shelf) scrubBatch(ctx context.Context, batch []found, pace func(int64) error, damaged func([]byte, error) error) error {
	for _, f := range batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := pace(f.size); err != nil {
			return err
		}
		err := s.Verify(Place{Shelf: s, item: f.item})
		switch {
		case errors.Is(err, engine.ErrGone):
		case errors.Is(err, storage.ErrCorrupt):
			if err := damaged(f.key, err); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// Verify reads a blob and compares it with its checksums.
func (s *Shelf) Verify(p Place) error {
	b, err := s.Open(p)
	if err != nil {
		return err
	}
	buf := blockPool.Get().(*[]byte)
	defer blockPool.Put(buf)
	if p.kind == kindInline { // the data has one checksum
		_, err = b.Extents(0, p.size)
		return errors.Join(err, b.Close())
	}
	for off := int64(0); off < p.size && err == nil; off += blockBytes {
		_, err = b.ReadAt((*buf)[:min(blockBytes, p.size-off)], off)
	}
	return errors.Join(err, b.Close())
}

// Size is that of a blob.
func (p Place) Size() int64 { return p.size }

// Inline says that the blob is small enough to be handed over as bytes.
func (p Place) Inline() bool { return p.kind == kindInline }

// Same reports whether two places are the same blob at the same place.
func (p Place) Same(q Place) bool {
	return p.Shelf == q.Shelf && p.kind == q.kind && p.vol == q.vol && p.off == q.off && p.file == q.file
}
