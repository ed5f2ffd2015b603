package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	"polder.dev/polder/internal/bulk"
)

// diskDriver is Distribution's driver for a directory, but that who receives a blob does
// not wait for the disk, that the disk begins while more still comes, and that blobs do
// not stay in the machine's memory. A blob is synced before it is acknowledged, and the
// kernel by itself leaves all of it until then: the upload and the disk would wait for
// each other.
const diskDriver = "disk"

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

// Reader implements driver.StorageDriver.
func (d *disk) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	r, err := d.StorageDriver.Reader(ctx, path, offset)
	if f, ok := r.(*os.File); ok && err == nil {
		return reader{bulk.NewFile(f, false), f}, nil
	}
	return r, err
}

// reader is what the caller closes.
type reader struct {
	*bulk.File
	io.Closer
}

// Writer implements driver.StorageDriver.
func (d *disk) Writer(ctx context.Context, path string, more bool) (driver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, path, more)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.root, filepath.FromSlash(path)), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Seek(w.Size(), io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return newDiskWriter(w, f, bulk.NewFile(f, false)), nil
}

// diskWriter writes beside who hashes and receives. What it has not written yet counts
// for Size, and is written before Commit or Close go on. The driver's own writer has
// nothing to write, and syncs the file.
type diskWriter struct {
	driver.FileWriter
	file   io.Closer
	behind *bulk.Writer
	size   int64
}

func newDiskWriter(w driver.FileWriter, file io.Closer, to io.Writer) *diskWriter {
	return &diskWriter{w, file, bulk.NewWriter(to), w.Size()}
}

// Write implements io.Writer. An error may be that of an earlier Write.
func (w *diskWriter) Write(b []byte) (int, error) {
	n, err := w.behind.Write(b)
	w.size += int64(n)
	return n, err
}

// Size implements driver.FileWriter.
func (w *diskWriter) Size() int64 { return w.size }

// Commit implements driver.FileWriter.
func (w *diskWriter) Commit(ctx context.Context) error {
	if err := w.behind.Flush(); err != nil {
		return err
	}
	return w.FileWriter.Commit(ctx)
}

// Cancel implements driver.FileWriter.
func (w *diskWriter) Cancel(ctx context.Context) error {
	_ = w.behind.Flush() // it is given up
	return w.FileWriter.Cancel(ctx)
}

// Close implements io.Closer.
func (w *diskWriter) Close() error {
	err := errors.Join(w.behind.Flush(), w.FileWriter.Close())
	_ = w.file.Close() // the other one has synced it
	return err
}
