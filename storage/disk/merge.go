package disk

import (
	"bytes"
	"errors"

	"polder.dev/polder/storage/engine"
)

// merge is a cursor over several disks. Of entries with one key it shows the newest.
type merge struct {
	cursors []engine.Cursor
	reverse bool
	heads   []*engine.Entry // nil is at its end
	cur     engine.Entry
	err     error
}

// before says which of two keys comes first.
func (m *merge) before(a, b []byte) bool {
	if m.reverse {
		return bytes.Compare(a, b) > 0
	}
	return bytes.Compare(a, b) < 0
}

func (m *merge) set(i int, ok bool) {
	m.heads[i] = nil
	if ok {
		e := m.cursors[i].Entry()
		m.heads[i] = &e
	}
}

func (m *merge) Next() bool {
	if m.err != nil {
		return false
	}
	if m.heads == nil {
		m.heads = make([]*engine.Entry, len(m.cursors))
		for i, c := range m.cursors {
			m.set(i, c.Next())
		}
	}
	return m.pick()
}

// pick takes the first of the heads, and moves on those with the same key.
func (m *merge) pick() bool {
	var first *engine.Entry
	for _, h := range m.heads {
		if h != nil && (first == nil || m.before(h.Key, first.Key) || bytes.Equal(h.Key, first.Key) && h.Rev > first.Rev) {
			first = h
		}
	}
	if first == nil {
		return false
	}
	m.cur = *first
	for i, h := range m.heads {
		if h != nil && bytes.Equal(h.Key, m.cur.Key) {
			m.set(i, m.cursors[i].Next())
		}
	}
	return true
}

func (m *merge) Seek(key []byte) bool {
	if m.err != nil {
		return false
	}
	if m.heads == nil {
		m.heads = make([]*engine.Entry, len(m.cursors))
	}
	for i, c := range m.cursors {
		m.set(i, c.Seek(key))
	}
	return m.pick()
}

func (m *merge) Entry() engine.Entry { return m.cur }

func (m *merge) Close() error {
	errs := []error{m.err}
	for _, c := range m.cursors {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
