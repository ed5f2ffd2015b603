package sched

import (
	"cmp"
	"slices"
)

// The published policies that others are compared with. Their scores are whole
// numbers, cut off where the schedulers they come from cut them off.

// The sizes that nodes are measured by: those of the largest of the published
// cluster.
const (
	nodeCPU   = 128_000
	nodeMilli = 8 * Whole
)

// random chooses by the caller's chance.
type random struct{ b *Board }

func (*random) score(int, *Request) int32 { return 0 }

func (p *random) best(scores []int32, _ *Request) (int, int64) {
	room := 0
	for _, s := range scores {
		if s != none {
			room++
		}
	}
	if room == 0 {
		return -1, 0
	}
	skip := p.b.config.Draw(room)
	for i, s := range scores {
		if s == none {
			continue
		}
		if skip == 0 {
			return i, 0
		}
		skip--
	}
	panic("sched: Draw(n) returned a number outside 0 to n-1")
}

func (p *random) devices(i int, r *Request) []pick {
	n := &p.b.nodes[i]
	order := usableDevices(n, r)
	if p.b.sorts[p.b.sort[i]].cut { // of one device it may get several parts
		for k := len(order); k > 1; k-- {
			other := p.b.config.Draw(k)
			order[k-1], order[other] = order[other], order[k-1]
		}
		return fill(n, r, order)
	}
	for len(order) > r.Count {
		k := p.b.config.Draw(len(order))
		order = append(order[:k], order[k+1:]...)
	}
	return fill(n, r, order)
}

// plain is a policy that is a function of the node, and takes the fullest devices.
func plain(f func(n *Node, r *Request) int32) func(*Board) chooser {
	return func(b *Board) chooser { return &byNode{b, f} }
}

type byNode struct {
	b *Board
	f func(n *Node, r *Request) int32
}

func (p *byNode) score(i int, r *Request) int32              { return p.f(&p.b.nodes[i], r) }
func (*byNode) best(scores []int32, _ *Request) (int, int64) { return highest(scores) }
func (p *byNode) devices(i int, r *Request) []pick           { return fullest(&p.b.nodes[i], r) }

func dotProduct(n *Node, r *Request) int32 {
	cpu := float64(n.Free.CPU) / nodeCPU * (float64(r.CPU) / nodeCPU)
	device := float64(n.Idle()) / nodeMilli * (float64(r.Milli()) / nodeMilli)
	return int32(100 * (1 - (cpu+device)/2))
}

func clustering(n *Node, r *Request) int32 {
	c := r.class()
	if c < 0 {
		return 0
	}
	packed := 25 * (nodeMilli - (n.Idle() - r.Milli())) / nodeMilli
	others := 0
	for i, k := range n.Classes {
		if i != c && k > 0 {
			others++
		}
	}
	switch {
	case n.Classes[c] > 0 && others == 0:
		packed += 75
	case n.Classes[c] > 0:
		packed += 50
	case others == 0:
		packed += 25
	}
	return int32(packed)
}

func packing(n *Node, r *Request) int32 {
	if r.Count == 0 {
		return 0
	}
	whole, partly, freePart := 0, 0, int64(0)
	for i := range n.Devices {
		switch d := &n.Devices[i]; {
		case d.Free == Whole:
			whole++
		case r.usable(d):
			partly++
			freePart += int64(d.Free) * 100 / Whole
		}
	}
	switch {
	case r.Share < Whole && partly >= r.Count:
		return int32(max(100-freePart/10, 50))
	case whole < len(n.Devices):
		return int32(max(50-(r.Count-min(partly, r.Count-1)), 33))
	}
	return int32(max(33-whole, whole))
}

// bestFit stretches the scores over the nodes with room, so that the last bit of
// each counts.
type bestFit struct{ b *Board }

func (p *bestFit) score(i int, r *Request) int32 {
	n := &p.b.nodes[i]
	cpu := float64(n.Free.CPU-r.CPU) / nodeCPU
	device := float64(n.Idle()-r.Milli()) / nodeMilli
	return int32(100 * (1 - cpu/2 - device/2))
}

func (*bestFit) best(scores []int32, _ *Request) (int, int64) {
	low, high := int32(1<<31-1), int32(none)
	for _, s := range scores {
		if s != none {
			low, high = min(low, s), max(high, s)
		}
	}
	if high <= low {
		return highest(scores)
	}
	at, top := -1, int32(none)
	for i, s := range scores {
		if s == none {
			continue
		}
		if s = (s - low) * 100 / (high - low); s > top {
			at, top = i, s
		}
	}
	return at, int64(top)
}

func (p *bestFit) devices(i int, r *Request) []pick { return fullest(&p.b.nodes[i], r) }

func usableDevices(n *Node, r *Request) []int {
	out := make([]int, 0, len(n.Devices))
	for i := range n.Devices {
		if r.usable(&n.Devices[i]) {
			out = append(out, i)
		}
	}
	return out
}

// fullest are the devices that have least left and yet enough, the first of equals.
func fullest(n *Node, r *Request) []pick {
	order := usableDevices(n, r)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(n.Devices[a].Free, n.Devices[b].Free) })
	out := fill(n, r, order)
	slices.SortStableFunc(out, func(a, b pick) int { return cmp.Compare(a.device, b.device) })
	return out
}
