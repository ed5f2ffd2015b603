package queue

import (
	"cmp"
	"container/heap"
	"slices"
)

// race is a node's part in one cycle: who of its children, or of its groups, is next.
type race struct {
	groups byFirst // of a leaf
	lanes  []int   // of another node: a heap of its children that have a candidate
	place  int     // in its parent's lanes; -1: it is not there

	// what it is compared by
	next    *group // its candidate
	borrows bool
	share   float64
}

func (r *race) any() bool { return len(r.lanes) > 0 || len(r.groups) > 0 }

// byFirst is a heap of groups in the order of their first.
type byFirst []*group

func (h byFirst) Len() int           { return len(h) }
func (h byFirst) Less(i, j int) bool { return before(h[i].first(), h[j].first()) < 0 }
func (h byFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *byFirst) Push(x any) {
	g, _ := x.(*group)
	*h = append(*h, g)
}

// Pop is for package heap.
func (h *byFirst) Pop() any {
	g := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return g
}

// lanes is a heap of the children of one node.
type lanes struct {
	s  *State
	of *race
}

func (h lanes) Len() int { return len(h.of.lanes) }

// Less prefers who borrows nothing, then the smallest share, then the order within a
// queue.
func (h lanes) Less(i, j int) bool {
	a, b := &h.s.tree.nodes[h.of.lanes[i]].race, &h.s.tree.nodes[h.of.lanes[j]].race
	if a.borrows != b.borrows {
		return b.borrows
	}
	return cmp.Or(cmp.Compare(a.share, b.share), before(a.next.first(), b.next.first())) < 0
}

func (h lanes) Swap(i, j int) {
	l := h.of.lanes
	l[i], l[j] = l[j], l[i]
	h.s.tree.nodes[l[i]].race.place, h.s.tree.nodes[l[j]].race.place = i, j
}

// Push is for package heap.
func (h lanes) Push(x any) {
	n, _ := x.(int)
	h.s.tree.nodes[n].race.place = len(h.of.lanes)
	h.of.lanes = append(h.of.lanes, n)
}

// Pop is for package heap.
func (h lanes) Pop() any {
	l := h.of.lanes
	n := l[len(l)-1]
	h.of.lanes = l[:len(l)-1]
	h.s.tree.nodes[n].race.place = -1
	return n
}

// line has everybody take their places. Children come after their parents, so the
// leaves are first.
func (s *State) line() {
	for i := range s.tree.nodes {
		r := &s.tree.nodes[i].race
		r.groups, r.lanes, r.place, r.next = r.groups[:0], r.lanes[:0], -1, nil
	}
	for i := range slices.Backward(s.tree.nodes) {
		n := &s.tree.nodes[i]
		if n.leaf != nil {
			for _, g := range n.leaf.groups {
				if len(g.waiting) > 0 && !g.held {
					n.race.groups = append(n.race.groups, g)
				}
			}
			heap.Init(&n.race.groups)
		} else {
			heap.Init(lanes{s, &n.race})
		}
		if i > 0 && s.ready(i) {
			up := &s.tree.nodes[n.parent].race
			n.race.place = len(up.lanes)
			up.lanes = append(up.lanes, i)
		}
	}
}

// ready works out what node i is compared by, and reports whether it has a candidate.
func (s *State) ready(i int) bool {
	n := &s.tree.nodes[i]
	switch {
	case len(n.race.groups) > 0:
		n.race.next = n.race.groups[0]
	case len(n.race.lanes) > 0:
		n.race.next = s.tree.nodes[n.race.lanes[0]].race.next
	default:
		n.race.next = nil
		return false
	}
	n.race.share = s.share(n)
	n.race.borrows = !slices.ContainsFunc(n.race.next.demands, func(d *demand) bool { return !s.borrows(i, n.race.next.leaf, d) })
	return true
}

// again lines up the nodes from i to the top, after something changed in i.
func (s *State) again(i int) {
	for ; i > 0; i = s.tree.nodes[i].parent {
		n := &s.tree.nodes[i]
		up := lanes{s, &s.tree.nodes[n.parent].race}
		switch is, was := s.ready(i), n.race.place >= 0; {
		case is && was:
			heap.Fix(up, n.race.place)
		case was:
			n.race.next = nil
			heap.Remove(up, n.race.place)
		}
	}
}
