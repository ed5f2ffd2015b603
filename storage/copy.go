package storage

import (
	"context"
	"fmt"
	"io"
	"sync"

	"polder.dev/polder/storage/budget"
)

// CopyBytes is the buffer of Section's WriteTo, and smallBytes the one that SendTo may have in any
// case: a block that stores verify.
const (
	CopyBytes  = 512 << 10
	smallBytes = 64 << 10
)

var (
	buffers = sync.Pool{New: func() any { b := make([]byte, CopyBytes); return &b }}
	smalls  = sync.Pool{New: func() any { b := make([]byte, smallBytes); return &b }}
)

// Reader streams bytes [off, off+n) of an object, verified. It holds no memory between
// calls, and its WriteTo copies by a buffer that all share.
func Reader(o Object, off, n int64) *Section { return &Section{o: o, off: off, end: off + n} }

// Section is what Reader returns.
type Section struct {
	o        Object
	off, end int64
}

func (s *Section) Read(p []byte) (int, error) {
	if s.off >= s.end {
		return 0, io.EOF
	}
	n, err := s.o.ReadAt(p[:min(int64(len(p)), s.end-s.off)], s.off)
	s.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo implements io.WriterTo. An error of reading comes before any byte of the
// damaged block is written.
func (s *Section) WriteTo(w io.Writer) (int64, error) {
	return s.copy(w, &buffers)
}

// SendTo is WriteTo for a client, which holds the buffer for as long as it takes to read: a
// large one must be spare in memory, and else it is a small one.
func (s *Section) SendTo(w io.Writer, memory *budget.Budget) (err error) {
	if s.end-s.off > smallBytes && memory.Spare(budget.Answers, CopyBytes) {
		defer memory.Give(budget.Answers, CopyBytes)
		_, err = s.copy(w, &buffers)
		return err
	}
	_, err = s.copy(w, &smalls)
	return err
}

// copy writes what is left, by a buffer of a pool.
func (s *Section) copy(w io.Writer, pool *sync.Pool) (int64, error) {
	b := pool.Get().(*[]byte)
	defer pool.Put(b)
	var sum int64
	for s.off < s.end {
		n, err := s.Read(*b)
		if n > 0 {
			m, err := w.Write((*b)[:n])
			sum += int64(m)
			if err != nil {
				return sum, err
			}
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// Range turns first and last byte, as HTTP names them, into offset and length for an
// object of size. A negative first asks for the last -first bytes; a last below 0, or
// past the end, is the end. ErrRange says that nothing is left.
func Range(first, last, size int64) (off, n int64, err error) {
	switch {
	case first < 0:
		n = min(-first, size)
		off = size - n
	case last < 0 || last >= size:
		off, n = first, size-first
	default:
		off, n = first, last-first+1
	}
	if n <= 0 || off >= size {
		return 0, 0, fmt.Errorf("%w: bytes %d to %d of %d", ErrRange, first, last, size)
	}
	return off, n, nil
}

// Copy stores bytes [off, off+n) of src under key in dst, which may be of another
// store. Put's promises hold; src's own verification is the body's.
func Copy(ctx context.Context, dst Bucket, key string, src Object, off, n int64, o PutOptions) (Info, error) {
	o.Size = n
	return dst.Put(ctx, key, Reader(src, off, n), o)
}

// CopyPart stores bytes [off, off+n) of src as a part of an upload in dst.
func CopyPart(ctx context.Context, dst Bucket, key, upload string, number int, src Object, off, n int64) (Part, error) {
	return dst.PutPart(ctx, key, upload, number, Reader(src, off, n), PutOptions{Size: n})
}
