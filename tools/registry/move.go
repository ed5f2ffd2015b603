package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"polder.dev/polder/storage"
)

// tellEvery is how often the log says how far the move is.
const tellEvery = 10 * time.Second

// absent is the condition that there is no object yet.
var absent = storage.Conditions{NoneMatch: []string{"*"}}

// moved counts what left the files.
type moved struct {
	files, bytes int64
	told         time.Time
}

// move makes objects of the files of a registry that had no bucket, one after the other,
// while it serves. A file goes when its object is there, so nothing is lost whenever it
// ends, and the next start goes on.
func (d *objects) move(ctx context.Context) {
	m := moved{told: time.Now()}
	err := d.files.Walk(ctx, "/", func(f driver.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case f.IsDir() && uploads(f.Path()):
			return driver.ErrSkipDir
		case f.IsDir() || uploads(f.Path()):
			return nil
		}
		n, err := d.moveFile(ctx, f.Path())
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path(), err)
		}
		m.files, m.bytes = m.files+1, m.bytes+n
		if now := time.Now(); now.Sub(m.told) > tellEvery {
			m.told = now
			logrus.Warnf("%d files of the registry, with %d bytes, were moved to the object store; it goes on", m.files, m.bytes)
		}
		return nil
	})
	switch {
	case err != nil && !isMissing(err) && ctx.Err() == nil:
		logrus.Errorf("moving the registry's files to the object store: %v; they serve where they are, and the next start goes on", err)
	case m.files > 0 && ctx.Err() == nil:
		logrus.Warnf("all files of the registry were moved to the object store: %d, with %d bytes", m.files, m.bytes)
	}
}

// moveFile moves one. An object that is there already is newer than the file.
func (d *objects) moveFile(ctx context.Context, p string) (int64, error) {
	d.deleting.RLock()
	defer d.deleting.RUnlock()
	f, err := d.files.Stat(ctx, p)
	if isMissing(err) {
		return 0, nil // deleted meanwhile
	}
	if err != nil {
		return 0, err
	}
	err = d.put(ctx, p, f.Size(), absent, func() (io.ReadCloser, error) { return d.files.Reader(ctx, p, 0) })
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return 0, err
	}
	return f.Size(), d.files.Delete(ctx, p)
}
