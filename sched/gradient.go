package sched

import "math"

// gradient is the policy fgd of "Beware of Fragmentation" (USENIX ATC'23): a request
// goes where it makes the fragments grow least, or shrink most.
type gradient struct {
	b *Board
	v view
}

// steepness is how much is gained or lost, in thousandths of a device, for a score to
// move from a half to three quarters, about. Differences far below it score alike,
// and there the order of the nodes decides: fragments are an expectation, and to
// follow the last thousandth of one spreads work over more nodes than it needs.
const steepness = Whole

// slope turns lost and gained fragments into a score of 0 to 100, of which half is no
// change.
func (g *gradient) slope(before, after int64) int32 {
	return slopeOf(before-after, g.b.total)
}

func slopeOf(gain, total int64) int32 {
	if total == 0 {
		return 50
	}
	x := float64(gain) / float64(total) / steepness
	return int32(100 / (1 + math.Exp(-x)))
}

func (g *gradient) score(i int, r *Request) int32 {
	_, after := g.try(i, r)
	return g.slope(g.b.fragments[i], after)
}

func (*gradient) best(scores []int32, _ *Request) (int, int64) { return highest(scores) }

// try returns the device where a request for a part of one is best, or -1 if there is
// nothing to choose, and the fragments after it.
func (g *gradient) try(i int, r *Request) (device int, after int64) {
	n := &g.b.nodes[i]
	t := g.b.tables[g.b.sort[i]]
	if t == nil || len(r.Needs) > 0 {
		return g.tryEach(n, r)
	}
	g.v.look(t, n, n.Free.CPU-r.CPU)
	switch {
	case r.Count == 0:
		return -1, g.v.sum()
	case r.Count > 1 || r.Share == Whole:
		for _, k := range g.devices(i, r) {
			free := n.Devices[k].Free
			g.v.put(free, -1)
			g.v.put(free-r.Share, 1)
			g.v.idle -= int64(r.Share)
		}
		return -1, g.v.sum()
	}
	device = -1
	top := int32(-1)
	for k := range n.Devices {
		free := n.Devices[k].Free
		if free < r.Share || earlier(n.Devices[:k], free) {
			continue
		}
		left := g.v.without(free, r.Share)
		if s := g.slope(g.b.fragments[i], left); s > top {
			device, after, top = k, left, s
		}
	}
	return device, after
}

// earlier reports whether one of the devices has as much free.
func earlier(d []Device, free int) bool {
	for i := range d {
		if d[i].Free == free {
			return true
		}
	}
	return false
}

// tryEach is try by the definition, for devices of several models or with partitions.
func (g *gradient) tryEach(n *Node, r *Request) (device int, after int64) {
	c := n.clone()
	if r.Count != 1 || r.Share == Whole {
		take(&c, r, g.b.firstDevices(n, r), 1)
		return -1, g.b.config.Workload.Fragments(&c)
	}
	before := g.b.config.Workload.Fragments(n)
	device = -1
	top := int32(-1)
	for k := range n.Devices {
		if !r.usable(&n.Devices[k]) {
			continue
		}
		take(&c, r, []int{k}, 1)
		left := g.b.config.Workload.Fragments(&c)
		take(&c, r, []int{k}, -1)
		if s := g.slope(before, left); s > top {
			device, after, top = k, left, s
		}
	}
	return device, after
}

// devices are the best one for a part of a device, and otherwise the first.
func (g *gradient) devices(i int, r *Request) []int {
	if r.Count == 1 && r.Share < Whole {
		k, _ := g.try(i, r)
		return []int{k}
	}
	return g.b.firstDevices(&g.b.nodes[i], r)
}
