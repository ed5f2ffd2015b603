package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"polder.dev/polder/internal/usage"
)

// item is a file of a tree, or an object below a prefix; rel is its name there.
type item struct {
	rel      string
	size     int64
	modified time.Time
	etag     string
	left     string // see file
}

// marker says that the item stands for a directory and holds nothing.
func (i item) marker() bool { return strings.HasSuffix(i.rel, "/") && i.size == 0 }

// side is one of the two that a plan is between: a tree or what is below a prefix.
type side struct {
	c    *Client
	at   Address // a directory, or a bucket with a prefix
	tree *tree   // nil in the store, and where a directory is not there yet
}

func (s *side) local() bool { return !s.at.Remote() }

// name is the address of rel, for people.
func (s *side) name(rel string) string {
	if s.local() {
		return Address{Path: path.Join(s.at.Path, rel)}.String()
	}
	return s.object(rel).String()
}

// object is where rel is in the store.
func (s *side) object(rel string) Address { return Address{Bucket: s.at.Bucket, Key: s.at.Key + rel} }

// items are in the order of their names' bytes.
func (s *side) items(ctx context.Context) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		if s.local() && s.tree == nil {
			return
		}
		if s.local() {
			for f, err := range s.tree.walk(ctx) {
				if !yield(item{rel: f.name, size: f.size, modified: f.modified, left: f.left}, err) {
					return
				}
			}
			return
		}
		for e, err := range s.c.List(ctx, s.at, true) {
			rel, below := strings.CutPrefix(e.Key, s.at.Key)
			if err == nil && !below {
				err = fmt.Errorf("%s: the store lists %s, which is not below it", s.at, Printable(e.Key))
			}
			if rel == "" && err == nil {
				continue // the marker of the prefix itself
			}
			if !yield(item{rel: rel, size: e.Size, modified: e.Modified, etag: e.ETag}, err) || err != nil {
				return
			}
		}
	}
}

// openSide opens a directory or a prefix. A directory to write to need not be there; it
// is made unless dry.
func (c *Client) openSide(a Address, write, dry bool) (*side, error) {
	if a.Remote() {
		a.Key = a.directory()
		return &side{c: c, at: a}, nil
	}
	if a.Stream() {
		return nil, usage.Errorf("- is a stream, and no directory")
	}
	if write && !dry {
		if err := os.MkdirAll(filepath.Clean(a.Path), 0o777); err != nil {
			return nil, fmt.Errorf("making directory %s: %w", a, plainError(err))
		}
	}
	t, err := openTree(a.Path)
	if errors.Is(err, fs.ErrNotExist) && write && dry {
		return &side{c: c, at: a}, nil
	}
	if err != nil {
		return nil, usage.Error(err)
	}
	return &side{c: c, at: a, tree: t}, nil
}

// move is the job that brings i from one side to the other.
func (c *Client) move(from, to *side, i item) Job {
	j := Job{From: from.name(i.rel), To: to.name(i.rel), Size: i.size}
	switch {
	case from.local():
		j.Action = Upload
		dst := to.object(i.rel)
		if j.err = checkKey(dst.Key); j.err != nil {
			return j
		}
		j.run = func(ctx context.Context, m *Meter) error { return c.upload(ctx, from.tree, i.rel, dst, m) }
	case to.local():
		j.Action = Download
		d := &fetch{c: c, from: from.object(i.rel), t: to.tree, name: i.rel, size: i.size}
		j.run = func(ctx context.Context, m *Meter) error {
			d.m = m
			return d.run(ctx)
		}
	default:
		j.Action = Copy
		src, dst := from.object(i.rel), to.object(i.rel)
		if j.err = checkKey(dst.Key); j.err != nil {
			return j
		}
		j.run = func(ctx context.Context, m *Meter) error { return c.copyObject(ctx, src, "", i.size, dst, m) }
	}
	return j
}

// makeDir is the job that a directory's marker becomes in a tree.
func makeDir(from, to *side, i item) Job {
	j := Job{Action: Directory, From: from.name(i.rel), To: to.name(i.rel)}
	name, err := localName(strings.TrimSuffix(i.rel, "/"))
	if err != nil {
		j.err = err
		return j
	}
	j.run = func(context.Context, *Meter) error {
		if err := to.tree.root.MkdirAll(name, 0o777); err != nil {
			return fmt.Errorf("making directory %s: %w", to.tree.path(name), plainError(err))
		}
		return nil
	}
	return j
}

// metaTime is the file's time that an object tells, if it does.
func metaTime(o minio.ObjectInfo) (time.Time, bool) { return parseTime(o.UserMetadata[mtimeKey]) }
