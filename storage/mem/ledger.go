package mem

import (
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/google/btree"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// row is an entry of the ledger.
type row struct {
	key   string
	entry engine.Entry
}

func less(a, b row) bool { return a.key < b.key }

// ledger implements engine.Ledger.
type ledger struct {
	bytesMax int64
	bytes    atomic.Int64 // of blobs
	rev      atomic.Uint64
	seed     maphash.Seed
	locks    [1024]sync.Mutex // of parts, by their hash

	mu    sync.RWMutex
	rows  *btree.BTreeG[row]
	usage map[string]storage.Count
}

var _ engine.Ledger = (*ledger)(nil)

func newLedger(bytesMax int64) *ledger {
	return &ledger{bytesMax: bytesMax, seed: maphash.MakeSeed(), rows: btree.NewG(32, less), usage: map[string]storage.Count{}}
}

func (l *ledger) Rev() uint64    { return l.rev.Add(1) }
func (l *ledger) CopiesMax() int { return 1 }
func (l *ledger) Close() error   { return nil }

func (l *ledger) Lock(p engine.Part) func() {
	m := &l.locks[maphash.String(l.seed, p.ID)%uint64(len(l.locks))]
	m.Lock()
	return m.Unlock
}

func (l *ledger) Get(_ engine.Part, key []byte) (engine.Entry, bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, ok := l.rows.Get(row{key: string(key)})
	return r.entry, ok, nil
}

func (l *ledger) Usage(prefix []byte) (storage.Count, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.usage[string(prefix)], nil
}

// Commit applies a batch under the lock of all readers, so it is seen whole.
func (l *ledger) Commit(b engine.Batch) error {
	fresh := make([]blob, len(b.Changes))
	var sum int64
	for i, c := range b.Changes {
		switch {
		case c.Stage != nil:
			s := c.Stage.(*stage)
			fresh[i] = blob{chunks: s.chunks, size: s.size}
		case len(c.Data) > 0:
			if err := l.take(int64(len(c.Data)), &sum); err != nil {
				return err
			}
			fresh[i] = blob{chunks: [][]byte{append([]byte(nil), c.Data...)}, size: int64(len(c.Data))}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range b.Changes {
		l.apply(b.Rev, c, fresh[i])
		if c.Stage != nil {
			c.Stage.(*stage).done = true
		}
	}
	return nil
}

// take reserves n bytes, or gives back what sum says was reserved before.
func (l *ledger) take(n int64, sum *int64) error {
	if l.bytes.Add(n) > l.bytesMax && l.bytesMax > 0 {
		l.bytes.Add(-n - *sum)
		return fmt.Errorf("%w: the store in memory may hold %d bytes", storage.ErrFull, l.bytesMax)
	}
	*sum += n
	return nil
}

func (l *ledger) apply(rev uint64, c engine.Change, fresh blob) {
	key := string(c.Key)
	old, had := l.rows.Get(row{key: key})
	if had {
		l.count(old.entry, -1)
		if string(c.From) != key {
			l.free(old.entry)
		}
	}
	if c.Delete {
		l.rows.Delete(row{key: key})
		return
	}
	e := engine.Entry{Key: []byte(key), Value: c.Value, Rev: rev, Weight: c.Weight}
	if fresh.size > 0 {
		e.Place = fresh
	}
	if c.From != nil {
		from := old
		if string(c.From) != key {
			from, _ = l.rows.Delete(row{key: string(c.From)})
			l.count(from.entry, -1)
		}
		e.Place = from.entry.Place
	}
	l.rows.ReplaceOrInsert(row{key: key, entry: e})
	l.count(e, 1)
}

func (l *ledger) count(e engine.Entry, sign int64) {
	if e.Weight < 0 || len(e.Key) < engine.UsageBytes {
		return
	}
	k := string(e.Key[:engine.UsageBytes])
	u := l.usage[k]
	u.Number += sign
	u.Bytes += sign * e.Weight
	if u == (storage.Count{}) {
		delete(l.usage, k)
		return
	}
	l.usage[k] = u
}

func (l *ledger) free(e engine.Entry) {
	if b, ok := e.Place.(blob); ok {
		l.bytes.Add(-b.size)
	}
}

func (l *ledger) Open(_ engine.Part, e engine.Entry) (engine.Blob, error) {
	b, ok := e.Place.(blob)
	if !ok {
		return nil, fmt.Errorf("%w: entry %q has no blob", storage.ErrCorrupt, e.Key)
	}
	return b, nil
}

func (l *ledger) Stage(engine.Part, int64) (engine.Stage, error) { return &stage{l: l}, nil }

// Take refuses: memory has no files.
func (*ledger) Take(engine.Part, *storage.Handover) (engine.Stage, error) {
	return nil, storage.ErrNoHandover
}

// stage gathers a blob.
type stage struct {
	l      *ledger
	chunks [][]byte
	size   int64
	done   bool
}

func (s *stage) Write(p []byte) (int, error) {
	var none int64
	if err := s.l.take(int64(len(p)), &none); err != nil {
		return 0, err
	}
	s.size += int64(len(p))
	for n := len(p); n > 0; { // chunks of the same length, so that an offset finds its chunk
		if len(s.chunks) == 0 || len(s.chunks[len(s.chunks)-1]) == engine.InlineMax {
			s.chunks = append(s.chunks, make([]byte, 0, engine.InlineMax))
		}
		last := &s.chunks[len(s.chunks)-1]
		k := min(n, engine.InlineMax-len(*last))
		*last = append(*last, p[len(p)-n:len(p)-n+k]...)
		n -= k
	}
	return len(p), nil
}

func (s *stage) Discard() {
	if !s.done {
		s.l.bytes.Add(-s.size)
		s.done = true
	}
}

// blob implements engine.Blob. Memory is not verified: what damages it damages the
// program as well.
type blob struct {
	chunks [][]byte
	size   int64
}

func (b blob) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < b.size {
		k := copy(p[n:], b.chunks[off/engine.InlineMax][off%engine.InlineMax:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b blob) Extents(off, n int64) ([]storage.Extent, error) {
	var out []storage.Extent
	for n > 0 {
		c := b.chunks[off/engine.InlineMax][off%engine.InlineMax:]
		k := min(n, int64(len(c)))
		out = append(out, storage.Extent{Length: k, Bytes: c[:k:k]})
		off, n = off+k, n-k
	}
	return out, nil
}

func (blob) Once()        {}
func (blob) Idle()        {}
func (blob) Close() error { return nil }

// cursorRows are read at a time, so that no reader holds the lock for long.
const cursorRows = 256

// cursor implements engine.Cursor.
type cursor struct {
	l        *ledger
	from, to string // what is left
	endless  bool   // to is no bound
	reverse  bool
	rows     []engine.Entry
	at       int
	over     bool
}

func (l *ledger) Scan(from, to []byte, reverse bool) engine.Cursor {
	return &cursor{l: l, from: string(from), to: string(to), endless: to == nil, reverse: reverse, at: -1}
}

func (c *cursor) Next() bool {
	if c.at++; c.at < len(c.rows) {
		return true
	}
	return c.fill()
}

// fill reads on.
func (c *cursor) fill() bool {
	c.rows, c.at = c.rows[:0:0], 0
	if c.over || !c.endless && c.from >= c.to {
		return false
	}
	take := func(r row) bool {
		c.rows = append(c.rows, r.entry)
		return len(c.rows) < cursorRows
	}
	c.l.mu.RLock()
	defer c.l.mu.RUnlock()
	switch {
	case c.reverse:
		low := row{key: c.from}
		below := func(r row) bool { return r.key >= low.key && (r.key == c.to && !c.endless || take(r)) }
		if c.endless {
			c.l.rows.Descend(below)
		} else {
			c.l.rows.DescendLessOrEqual(row{key: c.to}, below)
		}
	case c.endless:
		c.l.rows.AscendGreaterOrEqual(row{key: c.from}, take)
	default:
		c.l.rows.AscendRange(row{key: c.from}, row{key: c.to}, take)
	}
	if c.over = len(c.rows) < cursorRows; len(c.rows) == 0 {
		return false
	}
	if last := string(c.rows[len(c.rows)-1].Key); c.reverse {
		c.to, c.endless = last, false
	} else {
		c.from = last + "\x00"
	}
	return true
}

func (c *cursor) Seek(key []byte) bool {
	c.rows, c.at, c.over = nil, 0, false
	switch {
	case c.reverse:
		c.to, c.endless = string(key), false
	case key == nil:
		c.over = true
	default:
		c.from = string(key)
	}
	return c.fill()
}

func (c *cursor) Entry() engine.Entry { return c.rows[c.at] }
func (c *cursor) Close() error        { return nil }
