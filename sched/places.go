package sched

// Places is how many requests like r fit on n at once, at most so many. What it counts
// does not depend on the order in which they come.
func Places(n *Node, r *Request, most int) int {
	if !within(n, r) {
		return 0
	}
	limit := func(free, each int64) {
		if each > 0 {
			most = int(min(int64(most), max(0, free)/each))
		}
	}
	limit(n.Free.CPU, r.CPU)
	limit(n.Free.Memory, r.Memory)
	limit(n.Free.Pods, 1)
	if r.Count == 0 {
		return most
	}
	parts := make([]int, 0, len(n.Devices))
	for i := range n.Devices {
		if p := r.parts(&n.Devices[i]); p > 0 {
			parts = append(parts, p)
		}
	}
	// m requests of k different devices each fit if the devices have k·m parts, of which
	// no more than m count of each.
	for ; most > 0; most-- {
		sum := 0
		for _, p := range parts {
			sum += min(p, most)
		}
		if sum >= most*r.Count {
			break
		}
	}
	return most
}

// parts is how many requests one device has room for.
func (r *Request) parts(d *Device) int {
	if !r.usable(d) {
		return 0
	}
	n := d.Free / r.Share
	for _, need := range r.Needs {
		for _, c := range d.Counters {
			if c.Name == need.Name {
				n = int(min(int64(n), c.Free/need.Amount))
			}
		}
	}
	return n
}

// Nodes are those of the board, as they are now; they are not to be changed.
func (b *Board) Nodes() []Node { return b.nodes }
