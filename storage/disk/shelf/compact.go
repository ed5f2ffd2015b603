package shelf

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
)

// Compact writes what is in use of volumes that are mostly dead to the end of the log,
// and removes them. Dead is the least share of a volume that must be unused. It returns
// the bytes it has freed, and may run beside everything else, but for itself.
func (s *Shelf) Compact(ctx context.Context, dead float64) (int64, error) {
	var freed int64
	for _, v := range s.sparse(dead) {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		if err := s.compactVolume(ctx, v); err != nil {
			return freed, fmt.Errorf("compacting volume %d of %s: %w", v.id, s.dir, err)
		}
		freed += v.end
	}
	return freed, nil
}

// sparse lists the volumes that are worth it, the oldest first.
func (s *Shelf) sparse(dead float64) []*volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*volume
	shared := s.firstShared(position{vol: 1<<32 - 1})
	for _, id := range slices.Sorted(maps.Keys(s.volumes)) {
		v := s.volumes[id]
		// The newest volume is written to; it may change while we look, but never back.
		if !v.doomed && v.id < shared.vol && v.id != slices.Max(slices.Collect(maps.Keys(s.volumes))) && float64(v.live) <= (1-dead)*float64(v.end) {
			out = append(out, v)
		}
	}
	return out
}

// compactVolume moves on until nothing of a volume is in use.
func (s *Shelf) compactVolume(ctx context.Context, v *volume) error {
	carried := map[string]bool{}
	for {
		moved, err := s.move(ctx, v, carried)
		if err != nil {
			return err
		}
		if moved == 0 {
			break
		}
	}
	// The index may not fall back behind what is about to go.
	if err := s.Checkpoint(); err != nil {
		return err
	}
	if err := s.doom(v); err != nil {
		return err
	}
	return s.fs.SyncDir(path.Join(s.dir, "volumes"))
}

// move writes again what of a volume is in use. Deletions are carried on while older
// volumes may hold what they delete, or an index made anew would bring it back.
func (s *Shelf) move(ctx context.Context, v *volume, carried map[string]bool) (int, error) {
	s.mu.Lock()
	if slices.Min(slices.Collect(maps.Keys(s.volumes))) == v.id {
		carried = nil
	}
	s.mu.Unlock()
	sc := newScanner(v.file, v.volumeHead, 0, v.end, false)
	n := 0
	for {
		r, err := sc.next()
		if err == io.EOF {
			return n, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return n, err
		}
		at := r.off + recordHeadBytes + int64(r.changes)
		for i := range r.list {
			c := r.list[i]
			moved, err := s.moveChange(v, r, c, at, carried)
			if err != nil {
				return n, err
			}
			if moved {
				n++
			}
			if c.kind == kindInline {
				at += c.size
			}
		}
	}
}

func (s *Shelf) moveChange(v *volume, r *scanned, c change, at int64, carried map[string]bool) (bool, error) {
	t, err := s.item(c.key)
	if err != nil {
		return false, err
	}
	out := &record{rev: r.rev, flags: flagMoved | flagWritten, turn: make(chan bool, 1)}
	switch {
	case c.kind == kindDelete && t == nil && carried != nil && !carried[string(c.key)]:
		out.expect = &expect{absent: true}
		carried[string(c.key)] = true
	case c.kind != kindDelete && t != nil && t.vol == v.id && t.off == r.off:
		out.expect = &expect{vol: t.vol, off: t.off}
	default:
		return false, nil
	}
	if c.kind == kindInline {
		c.data = make([]byte, c.size)
		if n, err := v.file.ReadAt(c.data, at); n < len(c.data) {
			return false, fmt.Errorf("reading at %d: %w", at, err)
		}
	}
	out.changes = []change{c}
	return true, s.submit(out)
}
