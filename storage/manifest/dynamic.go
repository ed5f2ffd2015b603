package manifest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"sort"
	"strings"

	"polder.dev/polder/storage"
)

// dynamic is a dynamic large object: whatever a listing of its prefix yields. It keeps
// one page of the listing and where each page begins, and is for one reader at a time.
type dynamic struct {
	ctx                        context.Context
	src                        Source
	account, container, prefix string
	info                       storage.Info
	depth                      int

	pages []checkpoint
	page  int // the one that is held
	list  []Segment
	ends  []int64
	at    int
	open  storage.Object
}

// checkpoint is where a page begins: behind a key, and at an offset of the whole.
type checkpoint struct {
	after string
	off   int64
}

// newDynamic goes through the listing once, for size and ETag.
func newDynamic(ctx context.Context, src Source, account string, o storage.Object, depth int) (*dynamic, error) {
	defer func() { _ = o.Close() }() // it was only read
	d := &dynamic{ctx: ctx, src: src, account: account, info: o.Info(), depth: depth, page: -1, at: -1}
	d.container, d.prefix, _ = strings.Cut(DynamicOf(&d.info.Meta), "/")
	h := md5.New()
	d.pages = []checkpoint{{}}
	d.info.Size = 0
	for i := 0; i < len(d.pages); i++ {
		next, more, err := d.load(i)
		if err != nil {
			return nil, err
		}
		for _, s := range d.list {
			_, _ = io.WriteString(h, s.Hash)
		}
		if n := len(d.ends); n > 0 {
			d.info.Size = d.ends[n-1]
		}
		if more {
			d.pages = append(d.pages, checkpoint{after: next, off: d.info.Size})
		}
	}
	d.info.ETag = hex.EncodeToString(h.Sum(nil))
	return d, nil
}

// load holds a page of the listing.
func (d *dynamic) load(i int) (next string, more bool, err error) {
	d.leave()
	l, err := d.src.List(d.ctx, d.account, d.container, storage.ListOptions{Prefix: d.prefix, After: d.pages[i].after})
	if err != nil {
		return "", false, fmt.Errorf("%w: listing %s/%s: %w", ErrSegment, d.container, d.prefix, err)
	}
	d.list, d.ends, d.page = d.list[:0], d.ends[:0], i
	off := d.pages[i].off
	for _, o := range l.Objects {
		s := Segment{Name: "/" + d.container + "/" + o.Key, Bytes: o.Size, Hash: o.ETag}
		if t := StaticOf(&o.Meta); t != nil {
			s.Bytes, s.Hash = t.Size, t.ETag
		}
		if t := LinkOf(&o.Meta); t != nil {
			s.Bytes, s.Hash = d.linked(&s)
		}
		off += s.Bytes
		d.list = append(d.list, s)
		d.ends = append(d.ends, off)
	}
	return l.Next, l.More, nil
}

// linked is the size and the ETag of a link's target.
func (d *dynamic) linked(s *Segment) (int64, string) {
	bare := *s
	bare.Hash = ""
	o, err := openSegment(d.ctx, d.src, d.account, s.Name, &bare, d.depth)
	if err != nil {
		return 0, s.Hash
	}
	defer func() { _ = o.Close() }() // it was only read
	i := o.Info()
	return i.Size, i.ETag
}

func (d *dynamic) Info() storage.Info { return d.info }

func (d *dynamic) leave() {
	if d.open != nil {
		_ = d.open.Close() // it was only read
	}
	d.open, d.at = nil, -1
}

// enter opens the segment that holds an offset; at is where it begins.
func (d *dynamic) enter(off int64) (at int64, ok bool, err error) {
	if off >= d.info.Size {
		return 0, false, nil
	}
	p := sort.Search(len(d.pages), func(i int) bool { return d.pages[i].off > off }) - 1
	if p != d.page {
		if _, _, err := d.load(p); err != nil {
			return 0, false, err
		}
	}
	i := sort.Search(len(d.ends), func(i int) bool { return d.ends[i] > off })
	if i == len(d.list) {
		return 0, false, fmt.Errorf("%w: segments below %s/%s were removed", ErrSegment, d.container, d.prefix)
	}
	at = d.ends[i] - d.list[i].Bytes
	if i == d.at {
		return at, true, nil
	}
	d.leave()
	o, err := openSegment(d.ctx, d.src, d.account, d.list[i].Name, &d.list[i], d.depth)
	if err != nil {
		return 0, false, err
	}
	d.open, d.at = o, i
	return at, true, nil
}

func (d *dynamic) Probe(off int64) error {
	_, _, err := d.enter(off)
	return err
}

func (d *dynamic) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		begin, ok, err := d.enter(off)
		if err != nil {
			return n, err
		}
		if !ok {
			return n, io.EOF
		}
		k := min(int64(len(p)-n), d.ends[d.at]-off)
		if m, err := d.open.ReadAt(p[n:n+int(k)], off-begin); int64(m) < k {
			return n + m, cut(d.list[d.at].Name, err)
		}
		n, off = n+int(k), off+k
	}
	return n, nil
}

func (d *dynamic) Extents(off, n int64) ([]storage.Extent, error) {
	begin, ok, err := d.enter(off)
	if err != nil || !ok || n <= 0 {
		return nil, err
	}
	return d.open.Extents(off-begin, min(n, d.ends[d.at]-off))
}

func (d *dynamic) Close() error {
	d.leave()
	return nil
}
