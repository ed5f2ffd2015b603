package bulk

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

const (
	// partBytes go through a stage at once: a processor's cache holds that. partsMax such
	// parts are under way.
	partBytes = 256 << 10
	partsMax  = 4
	// firstBytes are what is kept of a stream until it shows to be a long one.
	firstBytes = 32 << 10
)

// Writer gives all that it is given to each of its stages, one after the other: while
// the second writes a part, the first has the next, and who writes fills one more. A
// stage gets everything in order, and no stage may change or keep what it gets. After an
// error of one stage, none gets more. It is for one goroutine.
type Writer struct {
	stages []io.Writer
	lost   atomic.Pointer[error] // the first error of a stage

	part []byte      // is being filled
	full chan []byte // to the first stage; nil while none is at work
	free chan []byte // have been through all, to be filled again
	work sync.WaitGroup
}

// NewWriter returns a Writer to stages. It must be flushed.
func NewWriter(stages ...io.Writer) *Writer { return &Writer{stages: stages} }

// Copy has each stage write what r holds, and returns when all have. It counts what was
// read.
func Copy(r io.Reader, stages ...io.Writer) (int64, error) {
	w := NewWriter(stages...)
	n, err := w.ReadFrom(r)
	if failed := w.Flush(); err == nil {
		err = failed
	}
	return n, err
}

// Write implements io.Writer. An error may be that of an earlier Write.
func (w *Writer) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if err := w.err(); err != nil {
			return n, err
		}
		fits := copy(w.room(), b)
		w.filled(fits)
		n += fits
		b = b[fits:]
	}
	return n, nil
}

// ReadFrom implements io.ReaderFrom. Nothing is copied on the way.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		if err := w.err(); err != nil {
			return n, err
		}
		m, err := r.Read(w.room())
		w.filled(m)
		n += int64(m)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Flush returns when all stages have all that was written, or one of them has failed.
func (w *Writer) Flush() error {
	if w.full == nil {
		for _, s := range w.stages {
			w.put(s, w.part)
		}
		w.part = nil
		return w.err()
	}
	w.full <- w.part
	close(w.full)
	w.work.Wait()
	w.part, w.full, w.free = nil, nil, nil
	return w.err()
}

func (w *Writer) err() error {
	if err := w.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// room is where the next bytes belong.
func (w *Writer) room() []byte {
	switch {
	case w.part != nil:
	case w.full == nil:
		w.part = make([]byte, 0, firstBytes) // may be all there is
	default:
		w.part = (<-w.free)[:0]
	}
	return w.part[len(w.part):cap(w.part)]
}

// filled says that there are n more bytes.
func (w *Writer) filled(n int) {
	if w.part = w.part[:len(w.part)+n]; len(w.part) < cap(w.part) {
		return
	}
	if w.full == nil {
		w.start()
	}
	w.full <- w.part
	w.part = nil
}

// start has the stages begin to work, until Flush.
func (w *Writer) start() {
	w.full, w.free = make(chan []byte, partsMax), make(chan []byte, partsMax)
	for range partsMax {
		w.free <- make([]byte, 0, partBytes)
	}
	last := w.full
	for _, s := range w.stages {
		in, out := last, make(chan []byte, partsMax)
		w.work.Go(func() {
			defer close(out)
			for b := range in {
				w.put(s, b)
				out <- b
			}
		})
		last = out
	}
	w.work.Go(func() {
		for b := range last {
			if cap(b) == partBytes {
				w.free <- b
			}
		}
	})
}

// put has a stage write b, unless one has failed.
func (w *Writer) put(stage io.Writer, b []byte) {
	if len(b) == 0 || w.err() != nil {
		return
	}
	if _, err := stage.Write(b); err != nil {
		w.lost.CompareAndSwap(nil, &err)
	}
}
