package pack

import (
	"errors"
	"io"
	"os"
)

const (
	// copyBytes is how much is read and written at once, and copiesMax how many such
	// parts are under way.
	copyBytes = 256 << 10
	copiesMax = 4
	// eagerBytes is how much is written before the disk is told to begin.
	eagerBytes = 8 << 20
)

// save copies r to f, as two that work at a time: one receives and hashes, one writes.
// The disk begins while more still comes: f is synced in the end, and the kernel by
// itself would leave all of it until then.
func save(f *os.File, r io.Reader) error {
	full, free, done := make(chan []byte, copiesMax), make(chan []byte, copiesMax), make(chan error, 1)
	for range copiesMax {
		free <- make([]byte, copyBytes)
	}
	go func() { done <- write(f, full, free) }() // ends when full is closed
	for {
		b := (<-free)[:copyBytes]
		n, err := io.ReadFull(r, b)
		full <- b[:n]
		if err == nil {
			continue
		}
		close(full)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return errors.Join(err, <-done)
	}
}

// write writes what comes from full until that is closed, and gives it back to be
// filled. After an error it writes nothing more.
func write(f *os.File, full <-chan []byte, free chan<- []byte) (failed error) {
	var begun, written int64
	for b := range full {
		if failed == nil {
			var n int
			n, failed = f.Write(b)
			written += int64(n)
		}
		if written-begun >= eagerBytes {
			begin(f, begun, written-begun)
			begun = written
		}
		free <- b
	}
	return failed
}
