package engine

import (
	"context"
	"fmt"
	"strings"

	"polder.dev/polder/storage"
)

func (b *bucket) List(_ context.Context, o storage.ListOptions) (storage.Listing, error) {
	var out storage.Listing
	if _, err := b.settings(); err != nil {
		return out, err
	}
	w := b.walk(kindCurrent, o)
	err := w.page(o, &out, func(key string, e Entry) (string, error) {
		v, err := decode(e.Value)
		if err != nil || b.expired(v) {
			return "", err
		}
		out.Objects = append(out.Objects, v.info(key, true))
		return "", nil
	})
	if err != nil {
		return storage.Listing{}, fmt.Errorf("listing bucket %s: %w", b.name, err)
	}
	return out, nil
}

func (b *bucket) Uploads(_ context.Context, o storage.ListOptions) (storage.Listing, error) {
	var out storage.Listing
	if _, err := b.settings(); err != nil {
		return out, err
	}
	if o.Reverse {
		return out, fmt.Errorf("%w: uploads are listed in ascending order only", storage.ErrInvalid)
	}
	w := b.walk(kindUpload, o)
	err := w.page(o, &out, func(key string, e Entry) (string, error) {
		u, err := uploadOf(key, e)
		out.Uploads = append(out.Uploads, u)
		return u.ID, err
	})
	if err != nil {
		return storage.Listing{}, fmt.Errorf("listing uploads of bucket %s: %w", b.name, err)
	}
	return out, nil
}

// stream goes through entries with the object's key of each.
type stream interface {
	next() (key string, e Entry, ok bool)
	// skip leaves out what begins with a prefix.
	skip(prefix string)
	close() error
}

// walker is a stream of the entries of one kind in a bucket.
type walker struct {
	stream
}

// walk begins where o says.
func (b *bucket) walk(kind byte, o storage.ListOptions) walker {
	return walker{&single{space: space(kind, b.number), reverse: o.Reverse, Cursor: b.scan(kind, o)}}
}

// scan is a cursor over the entries of a kind that o asks for.
func (b *bucket) scan(kind byte, o storage.ListOptions) Cursor {
	sp := space(kind, b.number)
	many := kind != kindCurrent // several entries may have one key
	at := func(key string) []byte { return append(append([]byte(nil), sp...), key...) }
	behind := func(key string) []byte {
		if many {
			return after(group(kind, b.number, key))
		}
		return append(at(key), 0)
	}
	from, to := at(o.Prefix), after(at(o.Prefix))
	lower := func(k []byte) { from = higher(from, k) }
	upper := func(k []byte) {
		if string(k) < string(to) {
			to = k
		}
	}
	if o.Reverse {
		if o.After != "" {
			upper(at(o.After))
		}
		if o.From != "" {
			upper(behind(o.From))
		}
		if o.End != "" {
			lower(behind(o.End))
		}
		return b.store.ledger.Scan(from, to, true)
	}
	switch id, ok := parseID(o.AfterID); {
	case o.After == "":
	case folded(o.After, o):
		lower(after(at(o.After)))
	case many && ok && kind == kindOlder:
		lower(append(olderKey(b.number, o.After, id), 0))
	case many && ok:
		lower(append(uploadKey(b.number, o.After, id), 0))
	default:
		lower(behind(o.After))
	}
	if o.From != "" {
		lower(at(o.From))
	}
	if o.End != "" {
		upper(at(o.End))
	}
	return b.store.ledger.Scan(from, to, false)
}

func higher(a, b []byte) []byte {
	if string(b) > string(a) {
		return b
	}
	return a
}

// folded reports whether key is what Delimiter folds.
func folded(key string, o storage.ListOptions) bool {
	p, ok := fold(key, o)
	return ok && p == key
}

// fold returns the prefix that a key is folded into, if it is.
func fold(key string, o storage.ListOptions) (string, bool) {
	if o.Delimiter == "" || !strings.HasPrefix(key, o.Prefix) {
		return "", false
	}
	i := strings.Index(key[len(o.Prefix):], o.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(o.Prefix)+i+len(o.Delimiter)], true
}

// single is a stream of one cursor.
type single struct {
	Cursor
	space   []byte
	reverse bool
	sought  bool // the cursor stands on the next entry already
}

func (s *single) next() (string, Entry, bool) {
	if !s.sought && !s.Next() {
		return "", Entry{}, false
	}
	s.sought = false
	e := s.Entry()
	return objectKey(e.Key), e, true
}

func (s *single) skip(prefix string) {
	k := append(append([]byte(nil), s.space...), prefix...)
	if !s.reverse {
		k = after(k)
	}
	s.sought = s.Seek(k)
}

func (s *single) close() error { return s.Close() }

// page fills a page: add takes an entry and may leave it out, and returns the id that
// a next page goes on behind.
func (w walker) page(o storage.ListOptions, out *storage.Listing, add func(key string, e Entry) (id string, err error)) error {
	for {
		key, e, ok := w.next()
		if !ok {
			return w.close()
		}
		p, isFolded := fold(key, o)
		full := out.Size() == o.Max()
		if full {
			out.More = true
			return w.close()
		}
		if isFolded {
			out.Prefixes = append(out.Prefixes, p)
			out.Next, out.NextID = p, ""
			w.skip(p)
			continue
		}
		id, err := add(key, e)
		if err != nil {
			_ = w.close()
			return err
		}
		out.Next, out.NextID = key, id
	}
}
