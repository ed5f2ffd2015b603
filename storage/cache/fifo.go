package cache

import (
	"slices"
	"sync"
	"sync/atomic"

	"polder.dev/polder/storage/budget"
)

// entry is a block that is held. Its data is never written to.
type entry struct {
	key   key
	data  []byte
	owner *Owner
	uses  atomic.Int32 // since it came, or since eviction looked at it; up to usesMax
	pins  atomic.Int32

	// The fifo's:
	main bool
	gone bool
}

const usesMax = 3

func (e *entry) cost() int64 { return int64(len(e.data)) + overhead }

// fifo decides what is held: S3-FIFO (Yang et al., "FIFO Queues are All You Need for
// Cache Eviction", SOSP 2023). What comes waits in a small queue, and only what is used
// again there, or comes again soon after, gets into the main one; so a scan passes
// through the small queue and leaves the main one alone. A hit changes no queue.
type fifo struct {
	c        *Cache
	bytesMax int64
	bytes    atomic.Int64

	mu          sync.Mutex
	small, main queue
	pinned      int64 // bytes
	ghosts      map[key]bool
	ghostOrder  []key
	ghostAt     int
}

// smallShare of the bytes is the small queue's, pinnedShare is what may be pinned.
const (
	smallShare  = 10 // a tenth
	pinnedShare = 4  // all but a fourth
	ghostsMax   = 1 << 16
)

// queue is a first-in, first-out one. What is dropped from its middle stays in it, empty.
type queue struct {
	items []*entry
	head  int
	bytes int64
}

func (q *queue) push(e *entry) {
	q.items = append(q.items, e)
	q.bytes += e.cost()
}

// pop returns nil if there is none.
func (q *queue) pop() *entry {
	for q.head < len(q.items) {
		e := q.items[q.head]
		q.items[q.head] = nil
		q.head++
		if q.head > 1024 && q.head > len(q.items)/2 {
			q.items = append([]*entry(nil), q.items[q.head:]...)
			q.head = 0
		}
		if !e.gone {
			q.bytes -= e.cost()
			return e
		}
	}
	q.items, q.head = nil, 0
	return nil
}

// add makes room for a block and holds it, if there can be room, and reports whether it
// does.
func (f *fifo) add(e *entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.c.shard(e.key); s.holds(e.key) {
		return false
	}
	if e.cost() > f.bytesMax || e.owner != nil && e.owner.barred || !f.room(e.cost()) {
		return false
	}
	e.main = f.ghosts[e.key]
	delete(f.ghosts, e.key)
	f.queue(e).push(e)
	f.bytes.Add(e.cost())
	if e.owner != nil {
		e.owner.add(e, 1)
	}
	s := f.c.shard(e.key)
	s.mu.Lock()
	s.entries[e.key] = e
	s.mu.Unlock()
	return true
}

func (s *shard) holds(k key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries[k] != nil
}

func (o *Owner) add(e *entry, sign int64) {
	o.Bytes.Add(sign * int64(len(e.data)))
	if e.key.number == 0 {
		o.Objects.Add(sign)
	}
}

func (f *fifo) queue(e *entry) *queue {
	if e.main {
		return &f.main
	}
	return &f.small
}

func (f *fifo) mayPin(e *entry) bool {
	return f.pinned+e.cost() <= f.bytesMax-f.bytesMax/pinnedShare
}

// room evicts until n more bytes fit. f.mu is held.
func (f *fifo) room(n int64) bool {
	for f.bytes.Load()+n > f.bytesMax {
		if !f.evict() {
			return false
		}
	}
	return true
}

// yield lets n bytes or more go, and reports whether there were so many that may.
func (f *fifo) yield(n int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for least := f.bytes.Load() - n; f.bytes.Load() > least; {
		if !f.evict() {
			return false
		}
	}
	return true
}

// evict is a step towards less, and false if all that is there is pinned. f.mu is held.
func (f *fifo) evict() bool {
	if f.bytes.Load()-f.pinned <= 0 {
		return false
	}
	if f.small.bytes > f.bytesMax/smallShare || f.main.bytes <= f.pinned {
		f.evictSmall()
	} else {
		f.evictMain()
	}
	return true
}

func (f *fifo) evictSmall() {
	e := f.small.pop()
	if e == nil {
		f.evictMain()
		return
	}
	if e.pins.Load() > 0 || e.uses.Load() > 1 {
		e.main = true
		e.uses.Store(0)
		f.main.push(e)
		return
	}
	f.remember(e.key)
	f.release(e)
}

func (f *fifo) evictMain() {
	e := f.main.pop()
	switch {
	case e == nil:
	case e.pins.Load() > 0:
		f.main.push(e)
	case e.uses.Load() > 0:
		e.uses.Add(-1)
		f.main.push(e)
	default:
		f.release(e)
	}
}

// release lets a block go that is in no queue any more.
func (f *fifo) release(e *entry) {
	e.gone = true
	f.bytes.Add(-e.cost())
	f.c.cfg.Memory.Give(budget.Cache, e.cost())
	if e.pins.Load() > 0 {
		f.pinned -= e.cost()
	}
	if e.owner != nil {
		e.owner.add(e, -1)
	}
	s := f.c.shard(e.key)
	s.mu.Lock()
	delete(s.entries, e.key)
	s.mu.Unlock()
	f.c.meters.evicted.Inc()
}

// drop lets a block go wherever it is.
func (f *fifo) drop(e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !e.gone {
		f.queue(e).bytes -= e.cost()
		f.release(e)
	}
}

// tidy takes what was dropped out of the queues, so that its memory is free.
func (f *fifo) tidy() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range []*queue{&f.small, &f.main} {
		q.items = slices.DeleteFunc(q.items[q.head:], func(e *entry) bool { return e.gone })
		q.head = 0
	}
}

// pin keeps a block that is there from eviction, and reports whether it is.
func (f *fifo) pin(k key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.c.shard(k)
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	if e == nil || e.pins.Load() == 0 && !f.mayPin(e) {
		return false
	}
	if e.pins.Add(1) == 1 {
		f.pinned += e.cost()
	}
	return true
}

func (f *fifo) unpin(k key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.c.shard(k)
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	if e != nil && e.pins.Load() > 0 && e.pins.Add(-1) == 0 {
		f.pinned -= e.cost()
	}
}

// remember that a block was evicted before it was used again.
func (f *fifo) remember(k key) {
	if f.ghosts[k] {
		return
	}
	f.ghosts[k] = true
	if len(f.ghostOrder) < ghostsMax {
		f.ghostOrder = append(f.ghostOrder, k)
		return
	}
	delete(f.ghosts, f.ghostOrder[f.ghostAt])
	f.ghostOrder[f.ghostAt] = k
	f.ghostAt = (f.ghostAt + 1) % ghostsMax
}
