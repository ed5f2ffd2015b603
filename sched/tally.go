package sched

// tally keeps the fragments of every node up to date.
type tally struct {
	workload Workload
	total    int64    // of the workload's weights
	tables   []*table // by sort of node; nil where the rooms know
	rooms    *rooms
	of       []int64 // of each node
	sum      int64
	v        view
}

func (b *Board) tally(w Workload) *tally {
	t := &tally{workload: w, total: w.total(), of: make([]int64, len(b.nodes)), rooms: newRooms(w)}
	for _, s := range b.sorts {
		var x *table
		if s.plain && len(s.models) == 1 {
			x = w.tabulate(s.models[0])
		}
		t.tables = append(t.tables, x)
	}
	for i := range b.nodes {
		t.update(b.sort[i], i, &b.nodes[i])
	}
	return t
}

// update counts node i anew, which is of that sort.
func (t *tally) update(sort, i int, n *Node) {
	t.sum -= t.of[i]
	if x := t.tables[sort]; x != nil {
		t.v.look(x, n, n.Free.CPU)
		t.of[i] = t.v.sum()
	} else {
		t.rooms.look(n)
		t.of[i] = t.rooms.sum(n.Idle(), n.Free.CPU)
	}
	t.sum += t.of[i]
}
