package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/google/btree"
	"go.etcd.io/bbolt"
)

// pebbleDB has no log of its own: the store's volumes are the log, so a synced commit
// writes and syncs the batch there, as the store does.
type pebbleDB struct {
	db  *pebble.DB
	log *os.File
}

func openPebble(dir string) (candidate, error) {
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	o := &pebble.Options{Cache: cache, DisableWAL: true, MemTableSize: 32 << 20, FormatMajorVersion: pebble.FormatNewest}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(filepath.Join(dir, "pebble"), o)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_RDWR, 0o644)
	return &pebbleDB{db, log}, err
}

func (p *pebbleDB) commit(batch []pair, sync bool) error {
	if err := logBatch(p.log, batch, sync); err != nil {
		return err
	}
	b := p.db.NewBatch()
	for _, e := range batch {
		if err := b.Set(e.key, e.value, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

func (p *pebbleDB) page(after []byte, limit int) ([]byte, int, error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: append(after, 0)})
	if err != nil {
		return nil, 0, err
	}
	n := 0
	for ok := it.First(); ok && n < limit; ok = it.Next() {
		after = append(after[:0], it.Key()...)
		n++
	}
	return after, n, it.Close()
}

func (p *pebbleDB) get(key []byte) bool {
	_, c, err := p.db.Get(key)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func (p *pebbleDB) close() error {
	return errors.Join(p.db.Flush(), p.db.Close(), p.log.Close())
}

func logBatch(f *os.File, batch []pair, sync bool) error {
	if !sync {
		return nil
	}
	var b []byte
	for _, e := range batch {
		b = append(append(b, e.key...), e.value...)
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// boltDB is its own log.
type boltDB struct{ db *bbolt.DB }

var boltBucket = []byte("b")

func openBolt(dir string) (candidate, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	return &boltDB{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltBucket)
		return err
	})
}

func (b *boltDB) commit(batch []pair, sync bool) error {
	b.db.NoSync = !sync
	return b.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range batch {
			if err := tx.Bucket(boltBucket).Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *boltDB) page(after []byte, limit int) (last []byte, n int, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(boltBucket).Cursor()
		for k, _ := c.Seek(append(after, 0)); k != nil && n < limit; k, _ = c.Next() {
			last = append(last[:0], k...)
			n++
		}
		return nil
	})
	return last, n, err
}

func (b *boltDB) get(key []byte) (found bool) {
	_ = b.db.View(func(tx *bbolt.Tx) error {
		found = tx.Bucket(boltBucket).Get(key) != nil
		return nil
	})
	return found
}

func (b *boltDB) close() error { return b.db.Close() }

// tree is all in memory; its file is written whole at the end, as a checkpoint is.
type tree struct {
	t    *btree.BTreeG[pair]
	path string
	log  *os.File
}

func less(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }

func openTree(dir string) (candidate, error) {
	t := &tree{t: btree.NewG(64, less), path: filepath.Join(dir, "tree")}
	var err error
	if t.log, err = os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	f, err := os.Open(t.path)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		var h [4]byte
		if _, err := io.ReadFull(r, h[:]); err == io.EOF {
			return t, nil
		} else if err != nil {
			return nil, err
		}
		k, v := int(binary.LittleEndian.Uint16(h[:])), int(binary.LittleEndian.Uint16(h[2:]))
		b := make([]byte, k+v)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		t.t.ReplaceOrInsert(pair{b[:k:k], b[k:]})
	}
}

func (t *tree) commit(batch []pair, sync bool) error {
	if err := logBatch(t.log, batch, sync); err != nil {
		return err
	}
	for _, e := range batch {
		t.t.ReplaceOrInsert(e)
	}
	return nil
}

func (t *tree) page(after []byte, limit int) ([]byte, int, error) {
	n := 0
	var last []byte
	t.t.AscendGreaterOrEqual(pair{key: append(after, 0)}, func(e pair) bool {
		last = append(last[:0], e.key...)
		n++
		return n < limit
	})
	return last, n, nil
}

func (t *tree) get(key []byte) bool { return t.t.Has(pair{key: key}) }

func (t *tree) close() error {
	f, err := os.Create(t.path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	t.t.Ascend(func(e pair) bool {
		var h [4]byte
		binary.LittleEndian.PutUint16(h[:], uint16(len(e.key)))
		binary.LittleEndian.PutUint16(h[2:], uint16(len(e.value)))
		_, _ = w.Write(h[:])
		_, _ = w.Write(e.key)
		_, err = w.Write(e.value)
		return err == nil
	})
	return errors.Join(err, w.Flush(), f.Sync(), f.Close(), t.log.Close())
}
