package manifest

import (
	"context"
	"fmt"
	"io"
	"sort"

	"polder.dev/polder/storage"
)

// joined is a static large object. It is for one reader at a time, as the segment that
// is open changes.
type joined struct {
	ctx     context.Context
	src     Source
	account string
	info    storage.Info
	list    []Segment
	ends    []int64 // where each segment ends in the whole
	depth   int

	at   int // of list; -1 is none
	open storage.Object
}

func newJoined(ctx context.Context, src Source, account string, o storage.Object, s *Static, depth int) (*joined, error) {
	defer func() { _ = o.Close() }() // it was only read
	j := &joined{ctx: ctx, src: src, account: account, info: o.Info(), depth: depth, at: -1}
	list, err := Parse(storage.Reader(o, 0, j.info.Size))
	if err != nil {
		return nil, err
	}
	j.list = list
	var sum int64
	for i := range list {
		_, n, err := list[i].Span()
		if err != nil {
			return nil, err
		}
		sum += n
		j.ends = append(j.ends, sum)
	}
	j.info.Size, j.info.ETag = sum, s.ETag
	return j, nil
}

func (j *joined) Info() storage.Info { return j.info }

// find is the segment that holds an offset, and where it begins.
func (j *joined) find(off int64) (i int, begin int64) {
	i = sort.Search(len(j.ends), func(i int) bool { return j.ends[i] > off })
	if i > 0 {
		begin = j.ends[i-1]
	}
	return i, begin
}

func (j *joined) Probe(off int64) error {
	if i, _ := j.find(off); i < len(j.list) {
		return j.enter(i)
	}
	return nil
}

// enter opens a segment in place of the one that is open.
func (j *joined) enter(i int) error {
	if j.at == i {
		return nil
	}
	j.leave()
	s := &j.list[i]
	if s.Data == nil {
		o, err := openSegment(j.ctx, j.src, j.account, s.Name, s, j.depth)
		if err != nil {
			return err
		}
		j.open = o
	}
	j.at = i
	return nil
}

func (j *joined) leave() {
	if j.open != nil {
		_ = j.open.Close() // it was only read
	}
	j.open, j.at = nil, -1
}

// openSegment opens what a manifest names and compares it with what the manifest says.
func openSegment(ctx context.Context, src Source, account, name string, s *Segment, depth int) (storage.Object, error) {
	container, key, ok := s.Place()
	if !ok {
		return nil, fmt.Errorf("%w: name %q", ErrSegment, name)
	}
	o, err := src.Open(ctx, account, container, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSegment, name, err)
	}
	whole, err := open(ctx, src, account, container, key, o, depth+1)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSegment, name, err)
	}
	if i := whole.Info(); s.Hash != "" && (i.ETag != s.Hash || i.Size != s.Bytes) {
		_ = whole.Close()
		return nil, fmt.Errorf("%w: %s has ETag %s and %d bytes, not %s and %d", ErrSegment, name, i.ETag, i.Size, s.Hash, s.Bytes)
	}
	return whole, nil
}

func (j *joined) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		i, begin := j.find(off)
		if i == len(j.list) {
			return n, io.EOF
		}
		if err := j.enter(i); err != nil {
			return n, err
		}
		s := &j.list[i]
		skip, _, err := s.Span()
		if err != nil {
			return n, err
		}
		k := min(int64(len(p)-n), j.ends[i]-off)
		if s.Data != nil {
			copy(p[n:], s.Data[off-begin:off-begin+k])
		} else if m, err := j.open.ReadAt(p[n:n+int(k)], skip+off-begin); int64(m) < k {
			return n + m, cut(s.Name, err)
		}
		n, off = n+int(k), off+k
	}
	return n, nil
}

func cut(name string, err error) error {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %s: %w", ErrSegment, name, err)
}

func (j *joined) Extents(off, n int64) ([]storage.Extent, error) {
	i, begin := j.find(off)
	if i == len(j.list) || n <= 0 {
		return nil, nil
	}
	if err := j.enter(i); err != nil {
		return nil, err
	}
	skip, _, err := j.list[i].Span()
	if err != nil {
		return nil, err
	}
	k := min(n, j.ends[i]-off)
	if d := j.list[i].Data; d != nil {
		return []storage.Extent{{Length: k, Bytes: d[off-begin : off-begin+k]}}, nil
	}
	return j.open.Extents(skip+off-begin, k)
}

func (j *joined) Close() error {
	j.leave()
	return nil
}

// Segment is where segment n, counted from 1, lies in the whole, and how many there are.
func (j *joined) Segment(n int) (off, length int64, parts int, ok bool) {
	if n < 1 || n > len(j.ends) {
		return 0, 0, len(j.ends), false
	}
	if n > 1 {
		off = j.ends[n-2]
	}
	return off, j.ends[n-1] - off, len(j.ends), true
}
