// Package budget bounds what an object store has in memory for its clients: their
// requests, the buffers of bodies that come and of answers that go, and the hot tier. They
// draw on one number of bytes, so what is idle in one is another's to use; what the hot
// tier keeps gives way to what requests need.
//
// Whoever takes must give back as much. A budget refuses, and never waits: who is refused
// does with less. It knows nothing of the memory itself; a nil one has no bound.
package budget

import "sync/atomic"

// Part is what memory is for.
type Part int

// The parts.
const (
	Requests Part = iota // connections and buffers that every request may have
	Bodies               // large buffers of bodies that come
	Answers              // large buffers of what is sent, and blocks that are lent for it
	Cache                // blocks of the hot tier
	parts
)

// String is the part's name in metrics.
func (p Part) String() string { return [parts]string{"requests", "bodies", "answers", "cache"}[p] }

// Parts are all there are.
func Parts() []Part { return []Part{Requests, Bodies, Answers, Cache} }

// shares of the budget are the most that a part gets: all, a third, a fourth. More makes no
// body or answer faster, and whenever there are many, the hot tier would be empty and new
// requests refused.
var shares = [parts]int64{Requests: 1, Bodies: 3, Answers: 4, Cache: 1}

// Budget is a number of bytes. All methods may be called at once.
type Budget struct {
	bytesMax int64
	used     atomic.Int64
	by       [parts]atomic.Int64
	yield    func(bytes int64) bool
}

// New makes a budget of bytesMax.
func New(bytesMax int64) *Budget { return &Budget{bytesMax: bytesMax} }

// Yields names who lets go of memory for Take: it gives back at least so many bytes, or
// reports false if there are none. It must be called before the budget is used.
func (b *Budget) Yields(yield func(bytes int64) bool) {
	if b != nil {
		b.yield = yield
	}
}

// BytesMax is the bound; 0 is none.
func (b *Budget) BytesMax() int64 {
	if b == nil {
		return 0
	}
	return b.bytesMax
}

// Used is what a part has.
func (b *Budget) Used(p Part) int64 {
	if b == nil {
		return 0
	}
	return b.by[p].Load()
}

// Take takes bytes for a part, and has the hot tier let go of as much if that is needed.
// It reports whether they are there.
func (b *Budget) Take(p Part, bytes int64) bool {
	if b == nil {
		return true
	}
	for !b.Spare(p, bytes) {
		if b.full(p, bytes) || b.yield == nil || !b.yield(bytes) {
			return false
		}
	}
	return true
}

// Spare takes bytes that nobody uses, and reports whether there are so many.
func (b *Budget) Spare(p Part, bytes int64) bool {
	if b == nil {
		return true
	}
	if b.by[p].Add(bytes) <= b.bytesMax/shares[p] {
		if b.used.Add(bytes) <= b.bytesMax {
			return true
		}
		b.used.Add(-bytes)
	}
	b.by[p].Add(-bytes)
	return false
}

// full reports whether a part may have no more, however much there is.
func (b *Budget) full(p Part, bytes int64) bool {
	return b.by[p].Load()+bytes > b.bytesMax/shares[p]
}

// Give gives back what was taken.
func (b *Budget) Give(p Part, bytes int64) {
	if b == nil {
		return
	}
	b.by[p].Add(-bytes)
	b.used.Add(-bytes)
}
