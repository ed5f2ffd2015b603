package queue

import (
	"slices"
	"time"
)

// tree is the forest below one node, the cloud, which is nodes[0]. Parents come
// before their children.
type tree struct {
	nodes   []node
	byName  map[string]int
	classes []Class
	flavors []Flavor
	// of lists, for each flavour, the classes that count it.
	of [][]int
}

// node is one queue.
type node struct {
	queue    *Queue
	parent   int
	children []int
	lines    []line  // by class
	promised []int64 // to the children, by line of the queue's quotas
	weight   float64
	halfLife time.Duration
	patience time.Duration

	// units in use below it: normalised accelerators, processors, memory.
	units [dimensions]int64
	// past is the share it had, halved every half-life, as of asOf.
	past float64
	asOf time.Time

	leaf *leaf // nil: it has children
	race race
}

// line is what a queue has of a class. A line that is not bound limits nothing.
type line struct {
	bound            bool
	nominal, keep    int64 // keep is of the nominal what others may not use
	most             int64 // nominal and what may be borrowed
	used, usedAtRest int64 // of an inner node: what its children take of it
}

// unlimited is more than there is of anything.
const unlimited = int64(1) << 61

// takes is how much of the parent the line takes at a use of u: what it keeps for
// itself is taken always.
func (l *line) takes(u int64) int64 { return max(u, l.keep) }

// plant makes a tree of queues that hang together; those that do not are left out.
func plant(queues []Queue, flavors []Flavor) *tree {
	t := &tree{byName: map[string]int{}, flavors: flavors, nodes: []node{{parent: -1, weight: 1}}}
	below := map[string][]int{}
	for i := range queues {
		below[queues[i].Parent] = append(below[queues[i].Parent], i)
		for _, l := range queues[i].Quotas {
			if !slices.Contains(t.classes, l.Class) {
				t.classes = append(t.classes, l.Class)
			}
		}
	}
	for at := 0; at < len(t.nodes); at++ {
		name := ""
		if q := t.nodes[at].queue; q != nil {
			name = q.Name
		}
		for _, i := range below[name] {
			n := node{queue: &queues[i], parent: at, weight: queues[i].Weight}
			if n.weight == 0 {
				n.weight = 1
			}
			t.byName[queues[i].Name] = len(t.nodes)
			t.nodes[at].children = append(t.nodes[at].children, len(t.nodes))
			t.nodes = append(t.nodes, n)
		}
	}
	t.of = make([][]int, len(flavors))
	for f := range flavors {
		for k, c := range t.classes {
			if c.counts(&flavors[f]) {
				t.of[f] = append(t.of[f], k)
			}
		}
	}
	for _, root := range t.nodes[0].children {
		t.divide(root)
	}
	return t
}

// divide gives every queue of a root's tree its lines.
func (t *tree) divide(root int) {
	members := []int{root}
	for i := 0; i < len(members); i++ {
		members = append(members, t.nodes[members[i]].children...)
	}
	used := make([]bool, len(t.classes))
	for _, m := range members {
		for _, l := range t.nodes[m].queue.Quotas {
			used[slices.Index(t.classes, l.Class)] = true
		}
	}
	narrow := make([]bool, len(t.classes))
	for k, c := range t.classes {
		for b, d := range t.classes {
			narrow[k] = narrow[k] || used[b] && c.within(d)
		}
	}
	for _, m := range slices.Backward(members) {
		n := &t.nodes[m]
		n.lines = make([]line, len(t.classes))
		for k := range t.classes {
			if used[k] {
				n.lines[k] = t.line(n, k, narrow[k], m == root)
			}
		}
		for _, l := range n.queue.Quotas {
			n.promised = append(n.promised, t.promised(n, slices.Index(t.classes, l.Class)))
		}
	}
}

// line is what n has of class k.
func (t *tree) line(n *node, k int, narrow, root bool) line {
	l := line{bound: true, most: unlimited}
	c := t.classes[k]
	switch i := slices.IndexFunc(n.queue.Quotas, func(q Quota) bool { return q.Class == c }); {
	case i >= 0:
		q := n.queue.Quotas[i]
		l.nominal = q.Nominal
		if q.BorrowMax != nil {
			l.most = min(unlimited, q.Nominal+*q.BorrowMax)
		}
		if q.LendMax != nil {
			l.keep = q.Nominal - *q.LendMax
		}
	case narrow:
		l.bound = false
	case len(n.children) > 0:
		l.nominal = t.promised(n, k)
	default:
		l.nominal = ownWithin(n.queue, c)
	}
	if root && l.bound {
		l.most = l.nominal // it has nobody to borrow from
	}
	for _, child := range n.children {
		below := &t.nodes[child].lines[k]
		l.used += below.takes(below.used)
	}
	l.usedAtRest = l.used
	return l
}

// promised is what the children of n have of class k.
func (t *tree) promised(n *node, k int) int64 {
	sum := int64(0)
	for _, c := range n.children {
		sum += t.nodes[c].lines[k].nominal
	}
	return sum
}

// ownWithin is what a queue that has no line for c has in narrower ones: who owns
// eight H100s owns eight GPUs.
func ownWithin(q *Queue, c Class) int64 {
	sum := int64(0)
	for _, l := range q.Quotas {
		widest := !slices.ContainsFunc(q.Quotas, func(o Quota) bool { return l.Class.within(o.Class) && o.Class.within(c) })
		if l.Class.within(c) && widest {
			sum += l.Nominal
		}
	}
	return sum
}

// covered reports whether a line of the queue, or of one above it, counts flavour f.
// What nothing limits is free, but for accelerators.
func (t *tree) covered(n, f int) bool {
	if t.flavors[f].Resource != "" {
		return true
	}
	for ; n > 0; n = t.nodes[n].parent {
		for _, l := range t.nodes[n].queue.Quotas {
			if l.Class.counts(&t.flavors[f]) {
				return true
			}
		}
	}
	return false
}

// name of a node.
func (t *tree) name(n int) string {
	if n == 0 {
		return "the cloud"
	}
	return t.nodes[n].queue.Name
}
