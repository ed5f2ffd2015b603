package defrag

import "polder.dev/polder/sched"

// counts of whole devices that requests usually have.
var counts = []int{1, 2, 4, 8}

// State is what a cluster has left.
type State struct {
	// Idle and Fragmented are thousandths of devices: all that are free, and those of
	// them that a request of the workload can be expected not to use.
	Idle       int64
	Fragmented float64
	// Room says how many requests of so many whole devices on one node would find
	// room, by the devices alone.
	Room []Room
}

// Room is how many requests of Count whole devices there is room for.
type Room struct{ Count, Requests int }

func (p *planner) state() State {
	s := State{Idle: p.board.Idle(), Fragmented: p.board.Fragmentation()}
	nodes := p.board.Nodes()
	for _, n := range counts {
		r := Room{Count: n}
		for i := range nodes {
			r.Requests += whole(&nodes[i]) / n
		}
		s.Room = append(s.Room, r)
	}
	return s
}

// whole is how many devices of a node nobody uses.
func whole(n *sched.Node) int {
	count := 0
	for i := range n.Devices {
		if n.Devices[i].Free == sched.Whole {
			count++
		}
	}
	return count
}
