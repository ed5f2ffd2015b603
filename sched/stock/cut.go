package stock

import (
	"encoding/json"
	"maps"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/sched"
)

// measures are the counters that tell best how much of a device a part is, the best
// first; of other drivers, the first by name will do.
var measures = []string{"share", "multiprocessors", "memory"}

// Piece is a device that shares counters with others, and its class.
type Piece struct {
	Device *resourcev1.Device
	Class  *Class
}

// Cut is how the devices that share one set of counters divide what they are parts of:
// each is a part, in their order, and one that takes all is the whole. Devices that are
// divided alike have the same cut. It is nil, and the pieces are odd, if they share other
// counters, too, or can be had several times, or if a counter is no whole number, or
// none is taken by each of them: such have no measure in common.
func (c *Catalogue) Cut(counters map[string]resourcev1.Counter, pieces []Piece) *sched.Cut {
	cut, known := &sched.Cut{}, true
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		q := counters[name].Value
		size, whole := q.AsInt64()
		known = known && whole && size >= 0
		cut.Counters = append(cut.Counters, sched.Counter{Name: name, Size: size})
	}
	for _, p := range pieces {
		takes, ok := takesOf(p.Device, cut.Counters)
		known = known && ok && !p.Class.Odd
		cut.Parts = append(cut.Parts, sched.Part{Model: p.Class.Model, Takes: takes})
	}
	at := -1
	if known {
		at = measure(cut)
	}
	for i, p := range pieces {
		if at < 0 {
			p.Class.Odd = true
			continue
		}
		part := &cut.Parts[i]
		part.Share = max(1, int(float64(part.Takes[at])/float64(cut.Counters[at].Size)*sched.Whole+rounding))
		if p.Class.Part == 0 || part.Share < p.Class.Part {
			p.Class.Part = part.Share
		}
	}
	if at < 0 {
		return nil
	}
	return c.same(cut)
}

// takesOf is what a device takes of each counter; ok is false if that cannot be said.
func takesOf(d *resourcev1.Device, counters []sched.Counter) (takes []int64, ok bool) {
	if len(d.ConsumesCounters) != 1 || d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations {
		return nil, false
	}
	found := 0
	for _, c := range counters {
		v, there := d.ConsumesCounters[0].Counters[c.Name]
		n := int64(0)
		if there {
			if n, ok = v.Value.AsInt64(); !ok || n < 0 || n > c.Size {
				return nil, false
			}
			found++
		}
		takes = append(takes, n)
	}
	return takes, found == len(d.ConsumesCounters[0].Counters)
}

// measure is the counter to measure parts by: one that all of them take of; or -1.
func measure(c *sched.Cut) int {
	at, best := -1, 0
	for i := range c.Counters {
		rank := slices.Index(measures, c.Counters[i].Name)
		if rank < 0 {
			rank = len(measures)
		}
		idle := slices.ContainsFunc(c.Parts, func(p sched.Part) bool { return p.Takes[i] == 0 })
		if !idle && (at < 0 || rank < best) {
			at, best = i, rank
		}
	}
	return at
}

// same is the cut that is equal and was made first.
func (c *Catalogue) same(cut *sched.Cut) *sched.Cut {
	key, err := json.Marshal(cut)
	if err != nil {
		return cut // of numbers and names there is always text
	}
	if old := c.cuts[string(key)]; old != nil {
		return old
	}
	if len(c.cuts) >= classMax {
		clear(c.cuts) // devices that are cut alike are recognized later than they could be
	}
	c.cuts[string(key)] = cut
	return cut
}
