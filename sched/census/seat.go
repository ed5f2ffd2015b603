package census

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// place is the devices of one node. A whole and the parts that share its counters are
// one device of the board.
type place struct{ units []*unit }

type unit struct {
	class  *stock.Class // of the largest
	usable bool
	taken  int    // thousandths
	fabric string // that it is in, as its driver says; "" for none

	cut  *sched.Cut // nil for a device that is not cut
	left []int64    // of each counter; negative if more is taken than there is
	gone []bool
}

// seat is where on the board a published device is, and what of the board's device it is.
type seat struct {
	node  string
	index int
	part  int // of its cut, or -1
	share int // thousandths; 0: by what is consumed of it
}

// uncut is in place of a part of a device that is not cut.
const uncut = -1

// set is counters that a whole and its parts share.
type set struct{ driver, pool, name string }

// seats gives each accelerator of a node its place on the board. Processors are published,
// too, and are no room for anybody who wants more.
func (t *taker) seats(offers []claim.Offer) {
	offers = slices.DeleteFunc(offers, func(o claim.Offer) bool { return o.Describe().Kind == device.CPU || t.places[o.Node] == nil })
	counters, pieces := t.counters(), map[set][]*claim.Offer{}
	for i := range offers {
		for _, c := range offers[i].Device.ConsumesCounters {
			at := set{offers[i].Driver, offers[i].Pool, c.CounterSet}
			pieces[at] = append(pieces[at], &offers[i])
		}
	}
	for i := range offers {
		o := &offers[i]
		if len(o.Device.ConsumesCounters) == 0 {
			t.sit(o)
			continue
		}
		at := set{o.Driver, o.Pool, o.Device.ConsumesCounters[0].CounterSet}
		if pieces[at][0] == o {
			t.divide(counters[at], pieces[at])
		}
	}
}

// counters of each set, of the newest generation of its pool.
func (t *taker) counters() map[set]map[string]resourcev1.Counter {
	out, newest := map[set]map[string]resourcev1.Counter{}, map[set]int64{}
	for i := range t.Slices {
		s := &t.Slices[i].Spec
		for _, c := range s.SharedCounters {
			at := set{s.Driver, s.Pool.Name, c.Name}
			if out[at] == nil || s.Pool.Generation > newest[at] {
				out[at], newest[at] = c.Counters, s.Pool.Generation
			}
		}
	}
	return out
}

// sit gives a device that is not cut its place.
func (t *taker) sit(o *claim.Offer) {
	p := t.places[o.Node]
	u := &unit{class: t.catalogue.Of(o.Driver, o.Device), usable: open(t.nodes[o.Node]) && works(o)}
	if f := o.Fabric(); f != "" {
		u.fabric = o.Driver + "/" + f
	}
	if t.samples[u.class.Model] == nil {
		t.samples[u.class.Model] = o
	}
	s := seat{node: o.Node, index: len(p.units), part: uncut, share: sched.Whole}
	if o.Shared() {
		s.share = 0
	}
	p.units, t.at[o.ID()] = append(p.units, u), s
	t.name(o)
}

// divide gives those that share a set of counters their places, if the board can say how
// they do: each takes of one set alone, and all are of one node.
func (t *taker) divide(counters map[string]resourcev1.Counter, offers []*claim.Offer) {
	var pieces []stock.Piece
	for _, o := range offers {
		pieces = append(pieces, stock.Piece{Device: o.Device, Class: t.catalogue.Of(o.Driver, o.Device)})
	}
	node := offers[0].Node
	cut := t.catalogue.Cut(counters, pieces)
	if cut == nil || slices.ContainsFunc(offers, func(o *claim.Offer) bool { return o.Node != node }) {
		return
	}
	whole, p := cut.Whole(), t.places[node]
	u := &unit{cut: cut, left: whole.Left, gone: whole.Gone}
	for i, o := range offers {
		share := cut.Parts[i].Share
		t.at[o.ID()] = seat{node: node, index: len(p.units), part: i, share: share}
		t.name(o)
		u.gone[i] = !works(o)
		u.usable = u.usable || open(t.nodes[node]) && works(o)
		if k := pieces[i].Class; k.Model == whole.Model {
			u.class = k
		}
		if t.samples[pieces[i].Class.Model] == nil && share == sched.Whole {
			t.samples[pieces[i].Class.Model] = o
		}
	}
	p.units = append(p.units, u)
}

// name notes by what a claim can name a device that has its place.
func (t *taker) name(o *claim.Offer) {
	s := t.at[o.ID()]
	t.out.uuids[piece{s.node, s.index, s.part}] = o.UUID()
}

// works reports whether no taint keeps claims from a device.
func works(o *claim.Offer) bool { return !slices.ContainsFunc(o.Taints(), claim.KeepsAway) }

// full reports whether more of a device is taken than the board can say.
func (u *unit) full() bool {
	return u.taken > sched.Whole || slices.ContainsFunc(u.left, func(n int64) bool { return n < 0 })
}

// open reports whether a node takes new work.
func open(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && !n.Spec.Unschedulable
		}
	}
	return false
}

// claimed is one device that a claim has.
type claimed struct {
	seat
	share int
	odd   bool // the board cannot say where
}

// taken takes off what claims have, and notes which pod has what for itself.
func (t *taker) taken() {
	for i := range t.Claims {
		c := &t.Claims[i]
		if c.Status.Allocation == nil {
			t.unmet[types.NamespacedName{Namespace: c.Namespace, Name: c.Name}] = c
			continue
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			if r.AdminAccess != nil && *r.AdminAccess {
				continue // watches, and takes nothing
			}
			one := claimed{odd: len(c.Status.ReservedFor) != 1}
			s, known := t.at[claim.ID{Driver: r.Driver, Pool: r.Pool, Device: r.Device}]
			if known {
				one.seat, one.share = s, t.take(s, &r)
			}
			one.odd = one.odd || !known || one.share < 1 || one.share > sched.Whole
			for _, p := range c.Status.ReservedFor {
				t.owns[p.UID] = append(t.owns[p.UID], one)
			}
		}
	}
}

// take takes one device off, and says how many thousandths that are.
func (t *taker) take(s seat, r *resourcev1.DeviceRequestAllocationResult) int {
	u := t.places[s.node].units[s.index]
	share := s.share
	if share == 0 {
		share = u.class.Share(&resourcev1.CapacityRequirements{Requests: r.ConsumedCapacity})
	}
	u.taken += share
	if s.part != uncut {
		u.gone[s.part] = true
		for c, n := range u.cut.Parts[s.part].Takes {
			u.left[c] -= n
		}
	}
	return share
}

// levelFabric is the level of the devices' domains that the board is told of.
const levelFabric = "fabric"

// outOfUse is behind the model of devices that take no new work, so that no request is
// for one.
const outOfUse = ", out of use"

// devices of the board.
func (p *place) devices() []sched.Device {
	var out []sched.Device
	for _, u := range p.units {
		d := sched.Device{Model: u.class.Model, Free: max(0, sched.Whole-u.taken), Cut: u.cut, Gone: u.gone}
		for _, n := range u.left {
			d.Left = append(d.Left, max(0, n))
		}
		if u.fabric != "" {
			d.Domain = []sched.Label{{Level: levelFabric, Name: u.fabric}}
		}
		if !u.usable {
			d.Model, d.Free, d.Cut = cmp.Or(u.class.Model, "device")+outOfUse, 0, u.outOfUse()
		}
		out = append(out, d)
	}
	return out
}

// outOfUse is the cut of a device whose parts no request is for.
func (u *unit) outOfUse() *sched.Cut {
	if u.cut == nil {
		return nil
	}
	c := *u.cut
	c.Parts = slices.Clone(c.Parts)
	for i := range c.Parts {
		c.Parts[i].Model += outOfUse
	}
	return &c
}

// OutOfUse reports whether a model of the board is of devices that take no new work.
func OutOfUse(model string) bool { return strings.HasSuffix(model, outOfUse) }
