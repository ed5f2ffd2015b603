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
	sum := 0
	for _, r := range r.apart(n) {
		sum += placesOf(n, r, most)
	}
	return min(most, sum)
}

// placesOf counts by the devices alone.
func placesOf(n *Node, r *Request, most int) int {
	parts, cut := make([]int, 0, len(n.Devices)), 0
	for i := range n.Devices {
		if d := &n.Devices[i]; d.Cut != nil {
			cut += d.room(r, most*r.Count)
		} else if r.usable(d) {
			parts = append(parts, d.Free/r.Share)
		}
	}
	// m requests of k different devices each fit if the devices have k·m parts, of which
	// no more than m count of each; those of a device that is cut all count.
	for ; most > 0; most-- {
		sum := cut
		for _, p := range parts {
			sum += min(p, most)
		}
		if sum >= most*r.Count {
			break
		}
	}
	return most
}

// Nodes are those of the board, as they are now; they are not to be changed.
func (b *Board) Nodes() []Node { return b.nodes }
