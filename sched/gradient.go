package sched

import "math"

// gradient is the policy fgd of "Beware of Fragmentation" (USENIX ATC'23): a request
// goes where it makes the fragments grow least, or shrink most.
type gradient struct {
	b         *Board
	steepness float64
	// exact chooses among the devices of a node by the fragments themselves, where fgd
	// takes the first of those whose score is the same.
	exact bool
	v     view
}

// The steepness of a slope is how many thousandths of a device are gained or lost for
// the score to move from a half to three quarters, about; a point is a 25th of it.
// What differs by less than a point scores alike, and there the order of the nodes
// decides. It must: fragments are an expectation, and who follows the last thousandth
// of it spreads work over more nodes than it needs, and loses 3 % of a cluster.
const (
	// published is that of the policy fgd.
	published = Whole
	// coarse is that of the policy polder. With it a point is 120 thousandths, half of
	// the smallest share that is common, so that no node is opened to save less than
	// anybody could use.
	coarse = 3 * Whole
)

// slope turns lost and gained fragments into a score of 0 to 100, of which half is no
// change.
func (g *gradient) slope(before, after int64) int32 {
	if g.b.seen.total == 0 {
		return 50
	}
	x := float64(before-after) / float64(g.b.seen.total) / g.steepness
	return int32(100 / (1 + math.Exp(-x)))
}

func (g *gradient) score(i int, r *Request) int32 {
	lost := int64(0)
	if !g.tabled(i, r) {
		_, _, lost = g.tryEach(i, r)
	} else {
		_, lost = g.try(i, r)
	}
	return g.slope(g.b.seen.of[i], lost)
}

// tabled reports whether a table knows what r does on a node.
func (g *gradient) tabled(i int, r *Request) bool {
	return g.b.seen.tables[g.b.sort[i]] != nil && r.In == ""
}

func (*gradient) best(scores []int32, _ *Request) (int, int64) { return highest(scores) }

// try returns the device where a request for a part of one is best, or -1 if there is
// nothing to choose, and the fragments after it. The node has a table.
func (g *gradient) try(i int, r *Request) (device int, after int64) {
	n := &g.b.nodes[i]
	g.v.look(g.b.seen.tables[g.b.sort[i]], n, n.Free.CPU-r.CPU)
	switch {
	case r.Count == 0:
		return -1, g.v.sum()
	case r.Count > 1 || r.Share == Whole:
		for _, p := range firstDevices(n, r) {
			free := n.Devices[p.device].Free
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
		if s := g.slope(g.b.seen.of[i], left); s > top || g.exact && left < after {
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

// devices are the best one for a part of a device, and otherwise the first; of nodes
// with devices that are cut, the best of all.
func (g *gradient) devices(i int, r *Request) []pick {
	switch {
	case !g.tabled(i, r):
		picks, _, _ := g.tryEach(i, r)
		return picks
	case r.Count == 1 && r.Share < Whole:
		k, _ := g.try(i, r)
		return []pick{{k, uncut}}
	}
	return firstDevices(&g.b.nodes[i], r)
}
