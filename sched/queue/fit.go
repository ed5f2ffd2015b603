package queue

import "slices"

// demand is what a workload takes if it is given certain flavours.
type demand struct {
	names   []string // of the accelerators' flavours, one for each set of pods that asks
	flavors []amount
	classes []amount
	units   [dimensions]int64
}

// amount is n of the flavour or class with this index.
type amount struct {
	of int
	n  int64
}

func add(list []amount, of int, n int64) []amount {
	i := slices.IndexFunc(list, func(a amount) bool { return a.of == of })
	if i < 0 {
		return append(list, amount{of, n})
	}
	list[i].n += n
	return list
}

// take adds n of flavour f to the demand.
func (d *demand) take(t *tree, f int, n int64) {
	if n == 0 {
		return
	}
	d.flavors = add(d.flavors, f, n)
	for _, k := range t.of[f] {
		d.classes = add(d.classes, k, n)
	}
	i, w := dimension(&t.flavors[f])
	d.units[i] += n * w
}

// block is where a demand does not fit.
type block struct {
	node  int // 0 is the cloud itself
	class int // of the line that lacks it
	// flavor is what the cloud lacks, if node is 0.
	flavor int
	asked  int64 // by the demand
	short  int64
	// never says that it would not fit if nothing else ran.
	never bool
}

// fit reports whether the demand of a workload in leaf fits now, or, at rest, if
// nothing ran.
func (s *State) fit(leaf int, d *demand, rest bool) (block, bool) {
	for _, c := range d.classes {
		a := c.n
		for n := leaf; n > 0 && a > 0; n = s.tree.nodes[n].parent {
			l := &s.tree.nodes[n].lines[c.of]
			u := l.used
			if rest {
				u = l.usedAtRest
			}
			if l.bound && u+a > l.most {
				return block{node: n, class: c.of, asked: c.n, short: u + a - l.most}, false
			}
			a = l.takes(u+a) - l.takes(u)
		}
	}
	for _, f := range d.flavors {
		capacity, used := s.tree.flavors[f.of].Capacity, s.given[f.of]
		if rest {
			used = 0
		}
		if capacity >= 0 && used+f.n > capacity {
			return block{flavor: f.of, asked: f.n, short: used + f.n - capacity}, false
		}
	}
	return block{}, true
}

// charge adds the demand to what is used, without asking whether it fits.
func (s *State) charge(leaf int, d *demand) { s.book(leaf, d, 1) }

// release takes it off again.
func (s *State) release(leaf int, d *demand) { s.book(leaf, d, -1) }

// book goes up from the leaf, as far as what is added, or with -1 taken off, is not the
// queue's own.
func (s *State) book(leaf int, d *demand, sign int64) {
	for _, c := range d.classes {
		a := c.n
		for n := leaf; n > 0 && a > 0; n = s.tree.nodes[n].parent {
			l := &s.tree.nodes[n].lines[c.of]
			before := l.takes(l.used)
			l.used += sign * a
			a = sign * (l.takes(l.used) - before)
		}
	}
	s.count(leaf, d, sign)
}

// count keeps what is given of each flavour, and the units of the queues.
func (s *State) count(leaf int, d *demand, sign int64) {
	for _, f := range d.flavors {
		s.given[f.of] += sign * f.n
		s.tree.nodes[leaf].leaf.given[f.of] += sign * f.n
	}
	for n := leaf; n >= 0; n = s.tree.nodes[n].parent {
		for i := range d.units {
			s.tree.nodes[n].units[i] += sign * d.units[i]
		}
	}
}

// borrows reports whether node n would have more than its nominal if the demand of a
// workload in leaf, which lies below n, were met.
func (s *State) borrows(n, leaf int, d *demand) bool {
	for _, c := range d.classes {
		a := c.n
		for at := leaf; at > 0 && a > 0; at = s.tree.nodes[at].parent {
			l := &s.tree.nodes[at].lines[c.of]
			if at == n {
				if l.bound && l.used+a > l.nominal {
					return true
				}
				break
			}
			a = l.takes(l.used+a) - l.takes(l.used)
		}
	}
	return false
}

// exceeds reports whether node n has more than its nominal of something that d
// counts.
func (s *State) exceeds(n int, d *demand) bool {
	for _, c := range d.classes {
		if l := &s.tree.nodes[n].lines[c.of]; l.bound && l.used > l.nominal {
			return true
		}
	}
	return false
}
