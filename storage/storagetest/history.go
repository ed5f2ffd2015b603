package storagetest

import (
	"fmt"
	"math"
	"sync"
)

// History is what clients saw of some keys, each of which is a register. Values are
// unique, so that a read tells which write it saw; "" is that there is no object.
type History struct {
	mu   sync.Mutex
	tick int64
	keys map[string]*register
	life int // of the machine; what ends in a later one counts for nothing
}

// Life is what Write and Read are told by clients of the machine as it is until Cut.
func (h *History) Life() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life
}

// Cut is called before the power is cut: what has not ended by now has no known outcome,
// and what is acknowledged without power counts for nothing.
func (h *History) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.life++
}

type register struct {
	writes []*write
	reads  []seen
}

// write began and ended; end is never for one whose outcome nobody knows.
type write struct {
	value      string
	begin, end int64
	failed     bool // it is known to have had no effect
}

type seen struct {
	value      string
	begin, end int64
}

const never = math.MaxInt64

// Outcome of a write.
type Outcome int

const (
	Acknowledged Outcome = iota
	Unknown
	Failed
)

func (h *History) now() int64 {
	h.tick++
	return h.tick
}

func (h *History) of(key string) *register {
	if h.keys == nil {
		h.keys = map[string]*register{}
	}
	r := h.keys[key]
	if r == nil {
		r = &register{writes: []*write{{value: ""}}} // at first there is nothing
		h.keys[key] = r
	}
	return r
}

// Write notes that a write begins; what it returns notes how it ended.
func (h *History) Write(life int, key, value string) func(Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &write{value: value, begin: h.now(), end: never}
	r := h.of(key)
	r.writes = append(r.writes, w)
	return func(o Outcome) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.life != life {
			return
		}
		switch o {
		case Acknowledged:
			w.end = h.now()
		case Failed:
			w.failed = true
		}
	}
}

// Read notes that a read begins; what it returns notes what it saw.
func (h *History) Read(life int, key string) func(value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	begin := h.now()
	return func(value string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.life != life {
			return
		}
		r := h.of(key)
		r.reads = append(r.reads, seen{value, begin, h.now()})
	}
}

// Check returns what cannot have been, if each operation happened at one moment between
// its begin and its end. It finds values that came from nowhere, and values that a read
// saw though another write had certainly replaced them: what was lost, or is stale.
func (h *History) Check() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for key, r := range h.keys {
		out = append(out, r.check(key)...)
	}
	return out
}

func (r *register) check(key string) []string {
	// A write has happened at the latest when a read has seen it.
	for _, w := range r.writes {
		for _, s := range r.reads {
			if w.value != "" && s.value == w.value && s.end < w.end {
				w.end = s.end
			}
		}
	}
	var out []string
	for _, s := range r.reads {
		if why := r.impossible(s); why != "" {
			out = append(out, fmt.Sprintf("%s: a read of %d to %d saw %q: %s", key, s.begin, s.end, s.value, why))
		}
	}
	return out
}

// impossible says why no order explains a read, or "".
func (r *register) impossible(s seen) string {
	why := "nobody wrote it"
	for _, w := range r.writes {
		if w.value != s.value || w.failed || w.begin > s.end {
			continue
		}
		over := r.replaced(w, s)
		if over == nil {
			return ""
		}
		why = fmt.Sprintf("it was written by %d, and replaced by %q of %d to %d", w.end, over.value, over.begin, over.end)
	}
	return why
}

// replaced finds a write that came certainly after w and before s.
func (r *register) replaced(w *write, s seen) *write {
	for _, o := range r.writes {
		if o != w && !o.failed && o.begin > w.end && o.end < s.begin {
			return o
		}
	}
	return nil
}
