package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3/registry/storage/driver"

	"polder.dev/polder/storage"
)

// coming knows the files of uploads: their checksums, as long as all was written by this
// process, and who writes. The store takes over a file whose checksums are known and that
// nobody writes to. Its zero value is ready.
type coming struct {
	mu  sync.Mutex
	all map[string]*arrival // by path, until forget
}

// arrival is the file of an upload.
type arrival struct {
	mu      sync.Mutex
	sums    storage.Sums
	strange bool // sums may be another file's
	writers int
	leaving bool // it becomes an object
}

var errLeaving = errors.New("the upload is complete and becomes a blob; begin another")

// writer is the writer of an upload, which open opens. With more it goes on.
func (c *coming) writer(p string, more bool, open func() (driver.FileWriter, error)) (driver.FileWriter, error) {
	a := c.at(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaving {
		return nil, errLeaving
	}
	w, err := open()
	if err != nil {
		return nil, err
	}
	if !more {
		a.sums, a.strange = storage.Sums{}, false
	}
	a.strange = a.strange || a.writers > 0 || a.sums.Size != w.Size()
	a.writers++
	return &summing{FileWriter: w, a: a}, nil
}

func (c *coming) at(p string) *arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.all[p]
	if a == nil {
		if c.all == nil {
			c.all = map[string]*arrival{}
		}
		a = &arrival{}
		c.all[p] = a
	}
	return a
}

// leave keeps everybody from writing to an upload until stay is called. It returns the
// checksums of its file, or nil where they are not known or somebody writes already.
func (c *coming) leave(p string, size int64) (sums []uint32, stay func()) {
	a := c.at(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.strange && !a.leaving && a.writers == 0 && a.sums.Size == size {
		sums = a.sums.Blocks
	}
	a.leaving = true
	return sums, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.leaving, a.strange = false, true
	}
}

// forget what was at a path and below, and is gone.
func (c *coming) forget(p string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.all {
		if one == p || strings.HasPrefix(one, p+"/") {
			delete(c.all, one)
		}
	}
}

// summing sums what is written.
type summing struct {
	driver.FileWriter
	a      *arrival
	closed bool
}

// Write implements io.Writer.
func (w *summing) Write(b []byte) (int, error) {
	n, err := w.FileWriter.Write(b)
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	_, _ = w.a.sums.Write(b[:n]) // never fails
	w.a.strange = w.a.strange || err != nil
	return n, err
}

// Close implements io.Closer.
func (w *summing) Close() error { return w.end(w.FileWriter.Close()) }

// Cancel implements driver.FileWriter.
func (w *summing) Cancel(ctx context.Context) error { return w.end(w.FileWriter.Cancel(ctx)) }

// end counts a writer once: Distribution closes what is closed, which is an error.
func (w *summing) end(err error) error {
	if w.closed {
		return err
	}
	w.closed = true
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	w.a.writers--
	w.a.strange = w.a.strange || err != nil
	return err
}
