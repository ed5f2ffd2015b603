package plugin

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched/stock"
)

// key names a device.
type key struct{ driver, pool, device string }

// unit is a device that the board knows.
type unit struct {
	key    key
	class  *stock.Class
	usable bool // no taint keeps claims away
}

// machine is a node with what is published of it.
type machine struct {
	name   string
	slices map[string]*resourcev1.ResourceSlice
	units  []unit       // in the order in which upstream's allocator finds them
	info   fwk.NodeInfo // nil while the scheduler does not know the node
	seen   int64        // generation of info that the board has
}

// inventory is which devices there are.
type inventory struct {
	catalogue *stock.Catalogue
	machines  map[string]*machine
	of        map[key]*machine
	slices    map[string]*resourcev1.ResourceSlice // as last seen, by name
	common    []*resourcev1.ResourceSlice          // those that are not one node's
}

func newInventory() *inventory {
	return &inventory{catalogue: stock.NewCatalogue(), machines: map[string]*machine{}, of: map[key]*machine{}, slices: map[string]*resourcev1.ResourceSlice{}}
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
	for _, u := range m.units {
		if v.of[u.key] == m {
			delete(v.of, u.key)
		}
	}
	m.units = nil
	newest := map[key]int64{}
	for _, s := range m.slices {
		pool := key{driver: s.Spec.Driver, pool: s.Spec.Pool.Name}
		newest[pool] = max(newest[pool], s.Spec.Pool.Generation)
	}
	for _, s := range slices.SortedFunc(maps.Values(m.slices), found) {
		if s.Spec.Pool.Generation < newest[key{driver: s.Spec.Driver, pool: s.Spec.Pool.Name}] {
			continue
		}
		for i := range s.Spec.Devices {
			d := &s.Spec.Devices[i]
			u := unit{key{s.Spec.Driver, s.Spec.Pool.Name, d.Name}, v.catalogue.Of(s.Spec.Driver, d), !slices.ContainsFunc(d.Taints, claim.KeepsAway)}
			v.of[u.key] = m
			if !u.class.Odd {
				m.units = append(m.units, u)
			}
		}
	}
}

// found is the order in which upstream's allocator goes through slices.
func found(a, b *resourcev1.ResourceSlice) int {
	return cmp.Or(strings.Compare(a.Spec.Driver, b.Spec.Driver), strings.Compare(a.Spec.Pool.Name, b.Spec.Pool.Name), strings.Compare(a.Name, b.Name))
}

// show is the machine's slices with some of its devices moved to where the allocator
// looks first: to the front of their slices, and these to the front of their pool. The
// order of slices is that of their names, which allocations do not record.
func (m *machine) show(first []int) []*resourcev1.ResourceSlice {
	rank := make(map[key]int, len(first))
	for i, k := range first {
		rank[m.units[k].key] = i - len(first)
	}
	out := make([]*resourcev1.ResourceSlice, 0, len(m.slices))
	for _, s := range m.slices {
		of := func(d resourcev1.Device) int { return rank[key{s.Spec.Driver, s.Spec.Pool.Name, d.Name}] }
		least := 0
		for i := range s.Spec.Devices {
			least = min(least, of(s.Spec.Devices[i]))
		}
		if least < 0 {
			c := *s
			c.Spec.Devices = slices.Clone(s.Spec.Devices)
			slices.SortStableFunc(c.Spec.Devices, func(a, b resourcev1.Device) int { return of(a) - of(b) })
			c.Name = " " + s.Name // before any name that may be
			s = &c
		}
		out = append(out, s)
	}
	return out
}
