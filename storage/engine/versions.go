package engine

import (
	"context"
	"fmt"

	"polder.dev/polder/storage"
)

func (b *bucket) Versions(_ context.Context, o storage.ListOptions) (storage.Listing, error) {
	var out storage.Listing
	if _, err := b.settings(); err != nil {
		return out, err
	}
	if o.Reverse {
		return out, fmt.Errorf("%w: versions are listed in ascending order only", storage.ErrInvalid)
	}
	if o.AfterID == storage.NullVersion {
		return out, fmt.Errorf("%w: AfterID is a page's NextID", storage.ErrInvalid)
	}
	w := walker{&both{c: b.walk(kindCurrent, o).stream, v: b.walk(kindOlder, o).stream}}
	topped := "" // the key whose newest version was seen
	if o.AfterID != "" {
		topped = o.After
	}
	err := w.page(o, &out, func(key string, e Entry) (string, error) {
		v, err := decode(e.Value)
		if err != nil {
			return "", err
		}
		out.Objects = append(out.Objects, v.info(key, key != topped))
		topped = key
		return idOf(v.rev), nil
	})
	if err != nil {
		return storage.Listing{}, fmt.Errorf("listing versions of bucket %s: %w", b.name, err)
	}
	return out, nil
}

// both merges current and older versions; of one key the current comes first.
type both struct {
	c, v  stream
	heads [2]head
	begun bool
}

type head struct {
	key string
	e   Entry
	ok  bool
}

func (m *both) pull(i int) {
	s := m.c
	if i == 1 {
		s = m.v
	}
	h := &m.heads[i]
	h.key, h.e, h.ok = s.next()
}

func (m *both) next() (string, Entry, bool) {
	if !m.begun {
		m.begun = true
		m.pull(0)
		m.pull(1)
	}
	i := 0
	if c, v := m.heads[0], m.heads[1]; !c.ok || v.ok && v.key < c.key {
		i = 1
	}
	h := m.heads[i]
	if h.ok {
		m.pull(i)
	}
	return h.key, h.e, h.ok
}

func (m *both) skip(prefix string) {
	for i, s := range []stream{m.c, m.v} {
		if h := m.heads[i]; h.ok && len(h.key) >= len(prefix) && h.key[:len(prefix)] == prefix {
			s.skip(prefix)
			m.pull(i)
		}
	}
}

func (m *both) close() error {
	err := m.c.close()
	if e := m.v.close(); err == nil {
		err = e
	}
	return err
}
