package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"polder.dev/polder/internal/usage"
)

// Syncing plans to make what is below to like what is below from: what is missing or
// differs is copied. It differs if size or time do; with content, if checksums do. dry
// makes no directory.
func (c *Client) Syncing(ctx context.Context, from, to Address, content, dry bool) (*Plan, error) {
	src, dst, p, err := c.pair(from, to, dry)
	if err != nil {
		return nil, err
	}
	p.jobs = func(yield func(Job) bool) {
		place := c.placing(src, dst)
		for pair := range merge(ctx, src, dst) {
			if pair.end != nil {
				yield(Job{Action: Left, From: dst.name(""), err: pair.end})
				return
			}
			if pair.from == nil {
				continue
			}
			j := place(*pair.from, pair.err)
			if have := pair.to; have != nil && j.err == nil && j.run != nil && j.Action != Directory {
				j.same = func(ctx context.Context) (bool, error) { return c.alike(ctx, src, dst, *pair.from, *have, content) }
			}
			if !yield(j) {
				return
			}
		}
	}
	return p, nil
}

// Extra plans to remove what is below to and not below from. Run it when all else has
// succeeded. A source that is empty or cannot be read to the end removes nothing:
// it is more often a mistake than meant.
func (c *Client) Extra(ctx context.Context, from, to Address, dry bool) (*Plan, error) {
	src, dst, p, err := c.pair(from, to, dry)
	if err != nil {
		return nil, err
	}
	if err := c.readable(ctx, src); err != nil {
		p.Close()
		return nil, err
	}
	p.jobs = func(yield func(Job) bool) {
		for pair := range merge(ctx, src, dst) {
			if err := errors.Join(pair.err, pair.end); err != nil {
				yield(Job{Action: Left, From: dst.name(""), err: err})
				return
			}
			if pair.from != nil || pair.to == nil || pair.to.marker() || pair.to.left != "" {
				continue
			}
			if !yield(removal(dst, pair.to.rel, "")) {
				return
			}
		}
	}
	return p, nil
}

// readable reads all of a source's names once.
func (c *Client) readable(ctx context.Context, src *side) error {
	any := false
	for _, err := range src.items(ctx) {
		if err != nil {
			return err
		}
		any = true
	}
	if !any {
		return usage.Errorf("%s is empty, so nothing is removed; to empty the other side, use polder rm -r", src.name(""))
	}
	return ctx.Err()
}

// pair is between, with a destination that need not be there when nothing is written.
func (c *Client) pair(from, to Address, dry bool) (*side, *side, *Plan, error) {
	if !from.Remote() && !to.Remote() {
		return nil, nil, nil, usage.Errorf("neither %s nor %s is in the store; one must be s3://BUCKET/PREFIX", from, to)
	}
	return c.between(from, to, dry)
}

// removal is the job that removes rel.
func removal(s *side, rel, version string) Job {
	j := Job{Action: Remove, From: s.name(rel)}
	if !s.local() {
		j.gone, j.in = &doomed{Key: s.at.Key + rel, Version: version}, s.at.Bucket
		return j
	}
	j.run = func(context.Context, *Meter) error {
		if err := s.tree.root.Remove(filepath.FromSlash(rel)); err != nil {
			return fmt.Errorf("removing %s: %w", s.tree.path(rel), plainError(err))
		}
		s.tree.prune(rel)
		return nil
	}
	return j
}

// both is a name with what is there on each side.
type both struct {
	from, to *item
	err      error // of reading from
	end      error // of reading the other side: without it nothing can be said
}

// merge walks both sides at once, in the order of names.
func merge(ctx context.Context, src, dst *side) iter.Seq[both] {
	return func(yield func(both) bool) {
		nextFrom, stopFrom := iter.Pull2(src.items(ctx))
		defer stopFrom()
		nextTo, stopTo := iter.Pull2(dst.items(ctx))
		defer stopTo()
		f, ferr, fok := nextFrom()
		t, terr, tok := nextTo()
		for (fok || tok) && ctx.Err() == nil {
			if tok && terr != nil {
				yield(both{end: terr})
				return
			}
			order := strings.Compare(f.rel, t.rel)
			if !tok {
				order = -1
			} else if !fok {
				order = 1
			}
			var b both
			if order <= 0 {
				b.from, b.err = ptr(f), ferr
				f, ferr, fok = nextFrom()
			}
			if order >= 0 {
				b.to = ptr(t)
				t, terr, tok = nextTo()
			}
			if !yield(b) {
				return
			}
		}
	}
}

func ptr(i item) *item { return &i }

// alike says that what is at the destination is what would be copied there.
func (c *Client) alike(ctx context.Context, src, dst *side, from, to item, content bool) (bool, error) {
	if from.size != to.size {
		return false, nil
	}
	if !src.local() && !dst.local() && from.etag != "" && from.etag == to.etag {
		return true, nil
	}
	var f, t minio.ObjectInfo
	for _, s := range []struct {
		side *side
		rel  string
		into *minio.ObjectInfo
	}{{src, from.rel, &f}, {dst, to.rel, &t}} {
		if s.side.local() {
			continue
		}
		a := s.side.object(s.rel)
		o, err := c.stat(ctx, a, "")
		if err != nil {
			return false, explain(err, a)
		}
		*s.into = o
	}
	switch {
	case content && src.local():
		return c.sameContent(ctx, src.tree, from.rel, dst.object(to.rel), t)
	case content && dst.local():
		return c.sameContent(ctx, dst.tree, to.rel, src.object(from.rel), f)
	case content:
		p, q := proofOf(f), proofOf(t)
		return p.known() && q.known() && p.want == q.want, nil
	case src.local():
		return timely(t, from.modified, !from.modified.After(to.modified)), nil
	case dst.local():
		return timely(f, to.modified, to.modified.Truncate(time.Second).Equal(f.LastModified.Truncate(time.Second))), nil
	}
	a, aok := metaTime(f)
	if !aok {
		return !from.modified.After(to.modified), nil
	}
	return timely(t, a, false), nil
}

// timely compares a file's time with what the object says of it; where it says
// nothing, other decides.
func timely(o minio.ObjectInfo, modified time.Time, other bool) bool {
	if t, ok := metaTime(o); ok {
		return sameTime(t, modified)
	}
	return other
}

// sameContent compares a file with what the store knows of an object. What the store
// cannot tell is not the same.
func (c *Client) sameContent(ctx context.Context, t *tree, name string, a Address, o minio.ObjectInfo) (bool, error) {
	p := c.proofFor(ctx, a, "", o)
	if !p.known() {
		return false, nil
	}
	f, info, err := t.open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	same, err := p.checkAll(ctx, f, info.Size())
	if differs(err) {
		err = nil
	}
	return same, err
}
