package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// Open pins an entry's blob. If it is damaged, another disk's copy is read and replaces
// it.
func (l ledger) Open(p engine.Part, e engine.Entry) (engine.Blob, error) {
	place, ok := e.Place.(shelf.Place)
	if !ok {
		return nil, fmt.Errorf("%w: entry %q has no blob", storage.ErrCorrupt, e.Key)
	}
	b, err := place.Shelf.Open(place)
	if err != nil || p.Copies < 2 {
		return b, err
	}
	return &mending{Blob: b, s: l.s, part: p, entry: e}, nil
}

// mending is a blob that has copies.
type mending struct {
	engine.Blob
	s     *Store
	part  engine.Part
	entry engine.Entry

	mu    sync.Mutex
	other engine.Blob // read from now on
}

func (m *mending) current() engine.Blob {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.other != nil {
		return m.other
	}
	return m.Blob
}

func (m *mending) ReadAt(p []byte, off int64) (int, error) {
	b := m.current()
	n, err := b.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	if o := m.turn(b, err); o != nil {
		return o.ReadAt(p, off)
	}
	return n, err
}

func (m *mending) Extents(off, n int64) ([]storage.Extent, error) {
	b := m.current()
	es, err := b.Extents(off, n)
	if err == nil {
		return es, nil
	}
	if o := m.turn(b, err); o != nil {
		return o.Extents(off, n)
	}
	return nil, err
}

func (m *mending) Idle() {
	m.current().Idle()
}

func (m *mending) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.Blob.Close()
	if m.other != nil {
		err = errors.Join(err, m.other.Close())
	}
	return err
}

// turn finds an undamaged copy and reads it from now on. The damaged one is replaced.
func (m *mending) turn(bad engine.Blob, cause error) engine.Blob {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.other != nil {
		if m.other != bad {
			return m.other // another reader has turned already
		}
		return nil
	}
	place := m.entry.Place.(shelf.Place)
	good, from := m.s.sound(m.part, m.entry, place.Shelf)
	if good == nil {
		return nil
	}
	b, err := from.shelf.Open(good.Place.(shelf.Place))
	if err != nil {
		return nil
	}
	m.other = b
	m.s.cfg.Log.Warn("damaged data was read from another disk", "key", string(m.entry.Key), "err", cause)
	if err := m.s.mend(m.part, m.entry, *good); err != nil {
		m.s.cfg.Log.Error("damaged data could not be replaced", "key", string(m.entry.Key), "err", err)
	}
	return m.other
}

// sound finds an undamaged copy of an entry on another disk than bad.
func (s *Store) sound(p engine.Part, e engine.Entry, bad *shelf.Shelf) (*engine.Entry, *disk) {
	for _, d := range s.top.Load().disks {
		if !d.ok() || d.shelf == bad {
			continue
		}
		c, ok, err := d.shelf.Get(e.Key)
		if err != nil || !ok || !bytes.Equal(c.Value, e.Value) || c.Place == nil {
			continue
		}
		if d.shelf.Verify(c.Place.(shelf.Place)) == nil {
			return &c, d
		}
	}
	return nil, nil
}

// mend replaces a damaged copy by a good one, unless it has been replaced since.
func (s *Store) mend(p engine.Part, bad, good engine.Entry) error {
	defer ledger{s}.Lock(p)()
	at := bad.Place.(shelf.Place)
	now, ok, err := at.Shelf.Get(bad.Key)
	if err != nil || !ok || now.Place == nil || !now.Place.(shelf.Place).Same(at) {
		return err
	}
	c, err := carry(good, at.Shelf)
	if err != nil {
		return err
	}
	err = at.Shelf.Commit(bad.Rev, storage.Synced, []engine.Change{c})
	if c.Stage != nil {
		c.Stage.Discard()
	}
	return err
}

// carry makes a change that puts an entry of one shelf on another.
func carry(e engine.Entry, to *shelf.Shelf) (engine.Change, error) {
	c := engine.Change{Key: e.Key, Value: e.Value, Weight: e.Weight}
	place, ok := e.Place.(shelf.Place)
	if !ok {
		return c, nil
	}
	b, err := place.Shelf.Open(place)
	if err != nil {
		return c, err
	}
	if place.Inline() {
		c.Data = make([]byte, place.Size())
		_, err = b.ReadAt(c.Data, 0)
		return c, errors.Join(err, b.Close())
	}
	g, err := to.Stage(place.Size())
	if err != nil {
		return c, errors.Join(err, b.Close())
	}
	if _, err := io.Copy(g, io.NewSectionReader(b, 0, place.Size())); err != nil {
		g.Discard()
		return c, errors.Join(err, b.Close())
	}
	c.Stage = g
	return c, b.Close()
}
