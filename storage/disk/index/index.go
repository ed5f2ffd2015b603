// Package index is the ordered map in which a disk finds its entries: Pebble without a
// log of its own, because the disk's volumes are the log. After a crash it is as some
// earlier batch left it, and the disk replays what came later; if it is lost, it is made
// anew from the volumes. Only storage/disk imports it. docs/design/0002-object-store.md
// says why it is Pebble.
package index

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"polder.dev/polder/storage/disk/drive"
)

// Index is an ordered map of bytes. All methods may be called at once, but for Apply.
type Index struct{ db *pebble.DB }

// memtableBytes is more than the disk lets gather between two calls of Flush, so that
// Pebble writes what is in memory only when it is told to: after the log was synced.
const memtableBytes = 64 << 20

// Open opens or makes the index in dir.
func Open(log *slog.Logger, fs drive.FS, dir string, cacheBytes int64) (*Index, error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	o := &pebble.Options{
		Cache:                       cache,
		DisableWAL:                  true,
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{log},
		FS:                          vfs.FS(files{fs}),
	}
	if _, real := fs.(drive.OS); real {
		o.FS = vfs.Default
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(filepath.Clean(dir), o)
	if err != nil {
		return nil, fmt.Errorf("opening the index %s: %w", dir, err)
	}
	return &Index{db}, nil
}

// Get returns a value that the caller may keep.
func (x *Index) Get(key []byte) ([]byte, bool, error) {
	v, c, err := x.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the index: %w", err)
	}
	out := append([]byte(nil), v...)
	return out, true, c.Close()
}

// Batch is a set of changes that become visible, and durable, together.
type Batch struct{ b *pebble.Batch }

// NewBatch begins an empty one.
func (x *Index) NewBatch() Batch { return Batch{x.db.NewBatch()} }

// Set puts a value.
func (b Batch) Set(key, value []byte) error { return b.b.Set(key, value, nil) }

// Delete removes a value.
func (b Batch) Delete(key []byte) error { return b.b.Delete(key, nil) }

// Len is how many bytes the batch takes in memory.
func (b Batch) Len() int { return b.b.Len() }

// Apply makes a batch visible. It is durable after a Flush.
func (x *Index) Apply(b Batch) error {
	if err := b.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return nil
}

// Flush makes what was applied durable; the channel is closed when it is.
func (x *Index) Flush() (<-chan struct{}, error) { return x.db.AsyncFlush() }

// Close releases the index. What was not flushed is lost.
func (x *Index) Close() error { return x.db.Close() }

// Cursor goes through a range, in either direction.
type Cursor struct {
	it      *pebble.Iterator
	reverse bool
	begun   bool
	err     error
}

// Scan begins before the first key of [from, to), or behind the last if it is reverse.
// It sees what was applied before. A nil bound is none.
func (x *Index) Scan(from, to []byte, reverse bool) *Cursor {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	return &Cursor{it: it, reverse: reverse, err: err}
}

// Next moves on.
func (c *Cursor) Next() bool {
	switch {
	case c.err != nil:
		return false
	case !c.begun:
		c.begun = true
		if c.reverse {
			return c.it.Last()
		}
		return c.it.First()
	case c.reverse:
		return c.it.Prev()
	}
	return c.it.Next()
}

// Seek moves to the first key at or above key, or in reverse to the last below it. A nil
// key is the end.
func (c *Cursor) Seek(key []byte) bool {
	c.begun = true
	switch {
	case c.err != nil || key == nil:
		return false
	case c.reverse:
		return c.it.SeekLT(key)
	}
	return c.it.SeekGE(key)
}

// Key and Value are valid until the next move.
func (c *Cursor) Key() []byte   { return c.it.Key() }
func (c *Cursor) Value() []byte { return c.it.Value() }

// Close releases the cursor and returns what went wrong.
func (c *Cursor) Close() error {
	if c.err != nil {
		return fmt.Errorf("reading the index: %w", c.err)
	}
	if err := c.it.Close(); err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	return nil
}

// Bytes is what the index takes on the disk and in memory.
func (x *Index) Bytes() (disk, memory int64) {
	m := x.db.Metrics()
	return int64(m.DiskSpaceUsage()), m.BlockCache.Size + int64(m.MemTable.Size)
}

// logger keeps Pebble's chatter out of our log, but for what it cannot go on after.
type logger struct{ log *slog.Logger }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("index", "detail", fmt.Sprintf(format, args...))
}

// Fatalf may not return: Pebble's own state is undefined then, and the next start
// replays the log.
func (l logger) Fatalf(format string, args ...any) {
	panic("index: " + fmt.Sprintf(format, args...))
}
