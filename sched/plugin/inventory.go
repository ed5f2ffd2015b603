package plugin

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// key names a device.
type key struct{ driver, pool, device string }

// unit is a device of the board: one that is published, or several that are parts of
// it.
type unit struct {
	cut    *sched.Cut // nil for a device that is not cut
	pieces []piece    // in the order of its parts
}

// piece is a device as it is published.
type piece struct {
	key        key
	class      *stock.Class
	attributes map[resourcev1.QualifiedName]resourcev1.DeviceAttribute
	usable     bool // no taint keeps claims away
}

// machine is a node with what is published of it.
type machine struct {
	name   string
	slices map[string]*resourcev1.ResourceSlice
	newest []*resourcev1.ResourceSlice // of each pool, in the order in which upstream's allocator goes through them
	keys   []key                       // of all devices of these
	units  []unit                      // those that the board knows, in that order, too
	info   fwk.NodeInfo                // nil while the scheduler does not know the node
	seen   int64                       // generation of info that the board has
}

// spot is where a published device is; unit is -1 for one that the board does not know.
type spot struct {
	machine     *machine
	unit, piece int
}

// inventory is which devices there are.
type inventory struct {
	catalogue *stock.Catalogue
	machines  map[string]*machine
	of        map[key]spot
	slices    map[string]*resourcev1.ResourceSlice // as last seen, by name
	common    []*resourcev1.ResourceSlice          // those that are not one node's
}

func newInventory() *inventory {
	return &inventory{catalogue: stock.NewCatalogue(), machines: map[string]*machine{}, of: map[key]spot{}, slices: map[string]*resourcev1.ResourceSlice{}}
}

func (v *inventory) machine(name string) *machine {
	m := v.machines[name]
	if m == nil {
		m = &machine{name: name, slices: map[string]*resourcev1.ResourceSlice{}}
		v.machines[name] = m
	}
	return m
}

// update compares with what was there before, and returns the machines whose devices
// changed. A slice that changed is another object.
func (v *inventory) update(list []*resourcev1.ResourceSlice) map[*machine]bool {
	var fresh []*resourcev1.ResourceSlice
	for _, s := range list {
		if v.slices[s.Name] != s {
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 && len(list) == len(v.slices) {
		return nil
	}
	changed := map[*machine]bool{}
	now := make(map[string]*resourcev1.ResourceSlice, len(list))
	for _, s := range list {
		now[s.Name] = s
	}
	for name, s := range v.slices {
		if now[name] != s && s.Spec.NodeName != nil {
			m := v.machine(*s.Spec.NodeName)
			delete(m.slices, name)
			changed[m] = true
		}
	}
	slices.SortFunc(fresh, func(a, b *resourcev1.ResourceSlice) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range fresh {
		if s.Spec.NodeName != nil {
			m := v.machine(*s.Spec.NodeName)
			m.slices[s.Name] = s
			changed[m] = true
		}
	}
	v.slices, v.common = now, nil
	for _, s := range list {
		if s.Spec.NodeName != nil {
			continue
		}
		v.common = append(v.common, s)
		for i := range s.Spec.Devices { // of no one node: the board cannot say where such a device is
			v.catalogue.Of(s.Spec.Driver, &s.Spec.Devices[i]).Odd = true
		}
	}
	for m := range changed {
		v.unpack(m)
	}
	return changed
}

// unpack lists a machine's devices anew. Of a pool, only slices of its newest
// generation count.
func (v *inventory) unpack(m *machine) {
	for _, k := range m.keys {
		if v.of[k].machine == m {
			delete(v.of, k)
		}
	}
	m.keys, m.units, m.newest = nil, nil, nil
	newest := map[key]int64{}
	for _, s := range m.slices {
		newest[pool(s)] = max(newest[pool(s)], s.Spec.Pool.Generation)
	}
	sets := map[key]*set{}
	for _, s := range slices.SortedFunc(maps.Values(m.slices), found) {
		if s.Spec.Pool.Generation < newest[pool(s)] {
			continue
		}
		m.newest = append(m.newest, s)
		for i := range s.Spec.SharedCounters {
			c := &s.Spec.SharedCounters[i]
			setOf(sets, s, c.Name).counters = c.Counters
		}
	}
	for _, s := range m.newest {
		for i := range s.Spec.Devices {
			d := &s.Spec.Devices[i]
			p := piece{key{s.Spec.Driver, s.Spec.Pool.Name, d.Name}, v.catalogue.Of(s.Spec.Driver, d), d.Attributes, !slices.ContainsFunc(d.Taints, claim.KeepsAway)}
			m.keys, v.of[p.key] = append(m.keys, p.key), spot{m, unknown, 0}
			for _, c := range d.ConsumesCounters {
				of := setOf(sets, s, c.CounterSet)
				of.pieces, of.devices = append(of.pieces, p), append(of.devices, stock.Piece{Device: d, Class: p.class})
				if len(of.pieces) == 1 {
					of.unit = len(m.units)
					m.units = append(m.units, unit{})
				}
			}
			if len(d.ConsumesCounters) == 0 && !p.class.Odd {
				m.units = append(m.units, unit{pieces: []piece{p}})
			}
		}
	}
	for _, of := range sets {
		if len(of.pieces) == 0 || of.counters == nil && !v.complete(of.slice) {
			continue // of no device, or the slice with the counters is on its way
		}
		if cut := v.catalogue.Cut(of.counters, of.devices); cut != nil {
			m.units[of.unit] = unit{cut, of.pieces}
		}
	}
	m.units = slices.DeleteFunc(m.units, func(u unit) bool { return len(u.pieces) == 0 })
	for i := range m.units {
		for j := range m.units[i].pieces {
			v.of[m.units[i].pieces[j].key] = spot{m, i, j}
		}
	}
}

// unknown is in place of the unit of a device that the board does not know.
const unknown = -1

// set is the devices that share counters.
type set struct {
	slice    *resourcev1.ResourceSlice // one of the pool
	counters map[string]resourcev1.Counter
	pieces   []piece
	devices  []stock.Piece
	unit     int
}

func setOf(sets map[key]*set, s *resourcev1.ResourceSlice, name string) *set {
	k := key{s.Spec.Driver, s.Spec.Pool.Name, name}
	if sets[k] == nil {
		sets[k] = &set{slice: s}
	}
	return sets[k]
}

// pool of a slice.
func pool(s *resourcev1.ResourceSlice) key {
	return key{driver: s.Spec.Driver, pool: s.Spec.Pool.Name}
}

// complete reports whether all slices of a slice's pool are there, on whatever nodes.
func (v *inventory) complete(s *resourcev1.ResourceSlice) bool {
	n := int64(0)
	for _, o := range v.slices {
		if pool(o) == pool(s) && o.Spec.Pool.Generation == s.Spec.Pool.Generation {
			n++
		}
	}
	return n >= s.Spec.Pool.ResourceSliceCount
}

// found is the order in which upstream's allocator goes through slices.
func found(a, b *resourcev1.ResourceSlice) int {
	return cmp.Or(strings.Compare(a.Spec.Driver, b.Spec.Driver), strings.Compare(a.Spec.Pool.Name, b.Spec.Pool.Name), strings.Compare(a.Name, b.Name))
}

// show is what the allocator is to see if these were decided: the slices of their nodes,
// with the chosen devices first. It takes nothing of a pool of which slices lack, so
// that it is shown the rest of a pool that other nodes have, too: who has devices there
// has counters that are shared.
func (v *inventory) show(to ...sched.Decision) []*resourcev1.ResourceSlice {
	out := slices.Clone(v.common)
	for i := range to {
		if m := v.machines[to[i].Node]; m != nil {
			out = append(out, m.show(&to[i])...)
		}
	}
	have := map[key]int64{}
	for _, s := range out {
		have[pool(s)]++
	}
	lacks := false
	for _, s := range out {
		lacks = lacks || have[pool(s)] < s.Spec.Pool.ResourceSliceCount
	}
	if !lacks {
		return out
	}
	nodes := map[string]bool{}
	for i := range to {
		nodes[to[i].Node] = true
	}
	for _, s := range v.slices {
		if n := s.Spec.NodeName; n != nil && !nodes[*n] && have[pool(s)] > 0 {
			out = append(out, s)
		}
	}
	return out
}

// show is the machine's slices, with the devices of a decision moved to where the
// allocator looks first: to the front of the first slice of their pool. The order of
// slices is that of their names, which allocations do not record; nor do they record
// the slice.
func (m *machine) show(d *sched.Decision) []*resourcev1.ResourceSlice {
	rank := make(map[key]int, len(d.Devices))
	for i, k := range d.Devices {
		p := 0
		if m.units[k].cut != nil {
			p = d.Parts[i]
		}
		rank[m.units[k].pieces[p].key] = i
	}
	first := map[key][]resourcev1.Device{}
	out := make([]*resourcev1.ResourceSlice, 0, len(m.newest))
	for _, s := range m.newest {
		chosen := func(d resourcev1.Device) bool {
			_, ok := rank[key{s.Spec.Driver, s.Spec.Pool.Name, d.Name}]
			return ok
		}
		if slices.ContainsFunc(s.Spec.Devices, chosen) {
			c := *s
			c.Spec.Devices = make([]resourcev1.Device, 0, len(s.Spec.Devices))
			for _, d := range s.Spec.Devices {
				if chosen(d) {
					first[pool(s)] = append(first[pool(s)], d)
				} else {
					c.Spec.Devices = append(c.Spec.Devices, d)
				}
			}
			s = &c
		}
		out = append(out, s)
	}
	for i, s := range out {
		front := first[pool(s)]
		if front == nil || len(s.Spec.SharedCounters) > 0 {
			continue
		}
		delete(first, pool(s))
		of := func(d resourcev1.Device) int { return rank[key{s.Spec.Driver, s.Spec.Pool.Name, d.Name}] }
		slices.SortFunc(front, func(a, b resourcev1.Device) int { return of(a) - of(b) })
		c := *s
		c.Name = " " + s.Name // before any name that may be
		c.Spec.Devices = append(front, s.Spec.Devices...)
		out[i] = &c
	}
	return out
}
