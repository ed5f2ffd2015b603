package queue

import (
	"math"
	"time"
)

// The dimensions in which shares are measured: all accelerators together, by their
// speed; processors; memory.
const dimensions = 3

// dimension of a flavour, and the weight of one of its units in it.
func dimension(f *Flavor) (i int, weight int64) {
	switch f.Resource {
	case CPU:
		return 1, 1
	case Memory:
		return 2, 1
	}
	return 0, f.speed()
}

// totals are what shares are shares of: what the cloud has, and where that is not
// known, what the quotas add up to.
func totals(t *tree) [dimensions]float64 {
	var out [dimensions]float64
	var open [dimensions]bool
	for i := range t.flavors {
		f := &t.flavors[i]
		d, w := dimension(f)
		if f.Capacity < 0 {
			open[d] = true
			continue
		}
		out[d] += float64(f.Capacity) * float64(w)
	}
	for d := range open {
		if open[d] {
			out[d] = 0
		}
	}
	for _, root := range t.nodes[0].children {
		for k, l := range t.nodes[root].lines {
			d, w := dimension(&Flavor{Resource: t.classes[k].Resource})
			if open[d] && l.bound {
				out[d] += float64(l.nominal) * float64(w)
			}
		}
	}
	return out
}

// dominant is the largest share of a node in any dimension, before its weight.
func (s *State) dominant(n *node) float64 {
	most := 0.0
	for i, u := range n.units {
		if s.totals[i] > 0 {
			most = max(most, float64(u)/s.totals[i])
		}
	}
	return most
}

// share is what the node's neighbours are compared by.
func (s *State) share(n *node) float64 { return (s.dominant(n) + n.past) / n.weight }

// advance remembers the use of all queues until now. Between two calls use changes
// only through the State, which calls it first, so what is remembered is exact.
func (s *State) advance(now time.Time) {
	if !now.After(s.now) {
		return
	}
	s.now = now
	for i := range s.tree.nodes {
		s.remember(&s.tree.nodes[i])
	}
}

// remember brings what is remembered of one queue up to date.
func (s *State) remember(n *node) {
	if n.halfLife <= 0 {
		return
	}
	if n.asOf.IsZero() { // there was nothing before
		n.asOf = s.now
	}
	if d := s.now.Sub(n.asOf); d > 0 {
		left := math.Exp2(-float64(d) / float64(n.halfLife))
		n.past = n.past*left + s.dominant(n)*(1-left)
		n.asOf = s.now
	}
}

// rememberUp does so for a queue and those above it.
func (s *State) rememberUp(leaf int) {
	for n := leaf; n >= 0; n = s.tree.nodes[n].parent {
		s.remember(&s.tree.nodes[n])
	}
}
