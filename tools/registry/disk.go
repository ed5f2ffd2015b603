package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// diskDriver is Distribution's driver for a directory, but that the disk begins to write
// while a blob still comes, and that who receives does not wait for it. A blob is synced before it is acknowledged, and the kernel
// by itself leaves all of it until then: the upload and the disk would wait for each
// other.
const diskDriver = "disk"

const (
	writebackBytes = 8 << 20
	// partBytes are written at once, and partsMax of them wait at most.
	partBytes = 512 << 10
	partsMax  = 4
	// firstBytes are what is kept of a file until it shows to be a large one.
	firstBytes = 32 << 10
	// writebackStart is SYNC_FILE_RANGE_WRITE: begin, and do not wait.
	writebackStart = 2
)

// registerDisk makes the driver known, once.
func registerDisk() { factory.Register(diskDriver, diskFactory{}) }

type diskFactory struct{}

// Create implements factory.StorageDriverFactory.
func (diskFactory) Create(ctx context.Context, parameters map[string]any) (driver.StorageDriver, error) {
	d, err := factory.Create(ctx, "filesystem", parameters)
	if err != nil {
		return nil, err
	}
	root, _ := parameters["rootdirectory"].(string)
	return &disk{d, root}, nil
}

type disk struct {
	driver.StorageDriver
	root string
}

// Writer implements driver.StorageDriver.
func (d *disk) Writer(ctx context.Context, path string, more bool) (driver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, path, more)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.root, filepath.FromSlash(path)))
	if err != nil {
		return w, nil // it is only slower
	}
	return &diskWriter{FileWriter: w, file: f, begun: w.Size(), written: w.Size(), size: w.Size()}, nil
}

// diskWriter writes beside who hashes and receives, and has the disk begin with what was
// written. What it has not written yet counts for Size, and is written before Commit or
// Close go on.
type diskWriter struct {
	driver.FileWriter
	file           *os.File
	begun, written int64

	size int64 // with what waits
	part []byte
	full chan []byte   // to who writes; nil where nobody does
	free chan []byte   // written, to be filled again
	done chan struct{} // who writes has ended
	err  error         // of who writes; read after done
	lost atomic.Bool   // there is an error
}

// Write implements io.Writer. An error may be that of an earlier Write.
func (w *diskWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if w.lost.Load() {
			return 0, w.drain()
		}
		switch {
		case w.part != nil:
		case w.full == nil:
			w.part = make([]byte, 0, firstBytes) // may be all there is
		default:
			w.part = (<-w.free)[:0]
		}
		fits := min(len(b), cap(w.part)-len(w.part))
		w.part = append(w.part, b[:fits]...)
		b = b[fits:]
		w.size += int64(fits)
		if len(w.part) == cap(w.part) {
			w.start()
			w.full <- w.part
			w.part = nil
		}
	}
	return n, nil
}

// start begins to write, until drain.
func (w *diskWriter) start() {
	if w.full != nil {
		return
	}
	w.full, w.free, w.done = make(chan []byte, partsMax), make(chan []byte, partsMax), make(chan struct{})
	for range partsMax {
		w.free <- make([]byte, 0, partBytes)
	}
	go func() {
		defer close(w.done)
		for b := range w.full {
			if w.err == nil {
				w.err = w.put(b)
				w.lost.Store(w.err != nil)
			}
			if cap(b) == partBytes {
				w.free <- b
			}
		}
	}()
}

func (w *diskWriter) put(b []byte) error {
	if _, err := w.FileWriter.Write(b); err != nil {
		return err
	}
	w.written += int64(len(b))
	if w.written-w.begun >= writebackBytes {
		_ = syscall.SyncFileRange(int(w.file.Fd()), w.begun, w.written-w.begun, writebackStart) // the sync at the end says what fails
		w.begun = w.written
	}
	return nil
}

// drain waits until all is written.
func (w *diskWriter) drain() error {
	if w.full == nil {
		if w.err == nil && len(w.part) > 0 {
			w.err = w.put(w.part)
			w.lost.Store(w.err != nil)
		}
		w.part = nil
		return w.err
	}
	if len(w.part) > 0 {
		w.full <- w.part
	}
	close(w.full)
	<-w.done
	w.part, w.full = nil, nil
	return w.err
}

// Size implements driver.FileWriter.
func (w *diskWriter) Size() int64 { return w.size }

// Commit implements driver.FileWriter.
func (w *diskWriter) Commit(ctx context.Context) error {
	if err := w.drain(); err != nil {
		return err
	}
	return w.FileWriter.Commit(ctx)
}

// Cancel implements driver.FileWriter.
func (w *diskWriter) Cancel(ctx context.Context) error {
	_ = w.drain() // it is given up
	return w.FileWriter.Cancel(ctx)
}

// Close implements io.Closer.
func (w *diskWriter) Close() error {
	err := errors.Join(w.drain(), w.FileWriter.Close())
	_ = w.file.Close() // was opened to read
	return err
}
