package census

import (
	"cmp"
	"maps"
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
	class    *stock.Class
	usable   bool
	taken    int              // thousandths
	counters map[string]int64 // how much of each there is
	used     map[string]int64
}

// seat is where on the board a published device is, and what of the board's device it is.
type seat struct {
	node  string
	index int
	share int // thousandths; 0: by what is consumed of it
	needs []sched.Need
}

// set is counters that a whole and its parts share.
type set struct{ driver, pool, name string }

// seats gives each accelerator of a node its place on the board, wholes before their
// parts. Processors are published, too, and are no room for anybody who wants more.
func (t *taker) seats(offers []claim.Offer) {
	offers = slices.DeleteFunc(offers, func(o claim.Offer) bool { return o.Describe().Kind == device.CPU })
	size, index := map[set]map[string]int64{}, map[set]int{}
	for i := range offers {
		if at, c := countersOf(&offers[i]); at.name != "" {
			if size[at] == nil {
				size[at] = map[string]int64{}
			}
			for name, n := range c {
				size[at][name] = max(size[at][name], n)
			}
		}
	}
	for _, parts := range []bool{false, true} {
		for i := range offers {
			o := &offers[i]
			p := t.places[o.Node]
			at, c := countersOf(o)
			part := at.name != "" && !maps.Equal(c, size[at])
			if p == nil || part != parts {
				continue
			}
			j, known := index[at]
			if at.name == "" || !known {
				u := &unit{class: t.catalogue.Of(o.Driver, o.Device), usable: open(t.nodes[o.Node]) && !slices.ContainsFunc(o.Taints(), claim.KeepsAway), counters: size[at], used: map[string]int64{}}
				j, p.units = len(p.units), append(p.units, u)
				if t.samples[u.class.Model] == nil && !part {
					t.samples[u.class.Model] = o
				}
				if at.name != "" {
					index[at] = j
				}
			}
			s := seat{node: o.Node, index: j, share: sched.Whole}
			switch {
			case part:
				s.share, s.needs = fraction(c, size[at]), needsOf(c)
			case o.Shared():
				s.share = 0
			}
			t.at[o.ID()] = s
		}
	}
}

// countersOf is what a device takes of the first set of counters that it shares.
func countersOf(o *claim.Offer) (set, map[string]int64) {
	if len(o.Device.ConsumesCounters) == 0 {
		return set{}, nil
	}
	c, out := &o.Device.ConsumesCounters[0], map[string]int64{}
	for name, v := range c.Counters {
		out[name] = v.Value.Value()
	}
	return set{o.Driver, o.Pool, c.CounterSet}, out
}

// measures are the counters that tell best how much of a whole a part is, the best first.
var measures = []string{"share", "multiprocessors", "memory"}

// fraction is how many thousandths of a whole a part is, by one counter: what parts take
// of several is more than the whole together.
func fraction(part, whole map[string]int64) int {
	for _, name := range slices.Concat(measures, slices.Sorted(maps.Keys(whole))) {
		if whole[name] > 0 {
			return max(1, int(part[name]*sched.Whole/whole[name]))
		}
	}
	return 1
}

// full reports whether more of a device is taken than the board can say.
func (u *unit) full() bool {
	for name, n := range u.used {
		if n > u.counters[name] {
			return true
		}
	}
	return u.taken > sched.Whole
}

func needsOf(counters map[string]int64) []sched.Need {
	var out []sched.Need
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if counters[name] > 0 {
			out = append(out, sched.Need{Name: name, Amount: counters[name]})
		}
	}
	return out
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
	for _, n := range s.needs {
		u.used[n.Name] += n.Amount
	}
	return share
}

// outOfUse is behind the model of devices that take no new work, so that no request is
// for one.
const outOfUse = ", out of use"

// devices of the board.
func (p *place) devices() []sched.Device {
	var out []sched.Device
	for _, u := range p.units {
		d := sched.Device{Model: u.class.Model, Free: max(0, sched.Whole-u.taken)}
		for _, name := range slices.Sorted(maps.Keys(u.counters)) {
			size := u.counters[name]
			d.Counters = append(d.Counters, sched.Counter{Name: name, Size: size, Free: min(size, max(0, size-u.used[name]))})
		}
		if !u.usable {
			d.Model, d.Free = cmp.Or(u.class.Model, "device")+outOfUse, 0
		}
		out = append(out, d)
	}
	return out
}

// OutOfUse reports whether a model of the board is of devices that take no new work.
func OutOfUse(model string) bool { return strings.HasSuffix(model, outOfUse) }
