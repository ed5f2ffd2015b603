package queue

// Usage is how a queue stands.
type Usage struct {
	Queue            string
	Pending, Running int
	Share            float64 // dominant, of all there is, by its weight
	Past             float64 // what is remembered of it
	Lines            []LineUsage
	Flavors          map[string]int64 // what is given out, of a leaf
}

// LineUsage is one class that limits the queue, or of which it has some.
type LineUsage struct {
	Class    Class
	Nominal  int64
	Used     int64
	Borrowed int64
}

// Usage of all queues, parents before their children.
func (s *State) Usage() []Usage {
	out := make([]Usage, 0, len(s.tree.nodes))
	for i := range s.tree.nodes[1:] {
		n := &s.tree.nodes[i+1]
		u := Usage{Queue: n.queue.Name, Share: s.dominant(n) / n.weight, Past: n.past}
		for k, l := range n.lines {
			if l.bound {
				used := s.below(i+1, k)
				u.Lines = append(u.Lines, LineUsage{Class: s.tree.classes[k], Nominal: l.nominal, Used: used, Borrowed: max(0, used-l.nominal)})
			}
		}
		u.Flavors = map[string]int64{}
		s.eachLeaf(i+1, func(l *leaf) {
			u.Running += len(l.running)
			for _, g := range l.groups {
				u.Pending += len(g.waiting)
			}
			for f, n := range l.given {
				if n > 0 {
					u.Flavors[s.tree.flavors[f].Name] += n
				}
			}
		})
		out = append(out, u)
	}
	return out
}

// below is what is really used below a node, without what is only kept.
func (s *State) below(n, class int) int64 {
	sum := int64(0)
	s.eachLeaf(n, func(l *leaf) {
		for f, g := range l.given {
			if s.tree.classes[class].counts(&s.tree.flavors[f]) {
				sum += g
			}
		}
	})
	return sum
}

// eachLeaf calls do for the leaves below n, and for n if it is one.
func (s *State) eachLeaf(n int, do func(*leaf)) {
	if l := s.tree.nodes[n].leaf; l != nil {
		do(l)
	}
	for _, c := range s.tree.nodes[n].children {
		s.eachLeaf(c, do)
	}
}
