package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// diskDriver is Distribution's driver for a directory, but that the disk begins to write
// while a blob still comes. A blob is synced before it is acknowledged, and the kernel
// by itself leaves all of it until then: the upload and the disk would wait for each
// other.
const diskDriver = "disk"

const (
	writebackBytes = 8 << 20
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
	return &diskWriter{FileWriter: w, file: f, begun: w.Size(), written: w.Size()}, nil
}

// diskWriter has the kernel write what it was given.
type diskWriter struct {
	driver.FileWriter
	file           *os.File
	begun, written int64
}

// Write implements io.Writer.
func (w *diskWriter) Write(b []byte) (int, error) {
	n, err := w.FileWriter.Write(b)
	w.written += int64(n)
	if w.written-w.begun >= writebackBytes {
		_ = syscall.SyncFileRange(int(w.file.Fd()), w.begun, w.written-w.begun, writebackStart) // the sync at the end says what fails
		w.begun = w.written
	}
	return n, err
}

// Close implements io.Closer.
func (w *diskWriter) Close() error {
	err := w.FileWriter.Close()
	_ = w.file.Close() // was opened to read
	return err
}
