package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// groupOf finds or makes the group of a workload.
func (s *State) groupOf(w *Workload, leaf int) (*group, error) {
	if err := sane(w); err != nil {
		return nil, err
	}
	key := keyOf(w)
	l := s.tree.nodes[leaf].leaf
	if g := l.groups[key]; g != nil {
		return g, nil
	}
	demands, err := s.demands(w, leaf)
	if err != nil {
		return nil, err
	}
	g := &group{key: key, leaf: leaf, demands: demands}
	l.groups[g.key] = g
	return g, nil
}

// keyOf is what workloads have in common that can be given the same. It is asked of all,
// with each decision.
func keyOf(w *Workload) string {
	key := strconv.AppendInt(make([]byte, 0, 64), int64(w.Priority), 10)
	for _, p := range w.PodSets {
		for _, n := range [...]int64{int64(p.Count), p.CPU, p.Memory} {
			key = strconv.AppendInt(append(key, '|'), n, 10)
		}
		if p.Ask.Count > 0 {
			key = fmt.Appendf(key, " %v", p.Ask)
		}
	}
	return string(key)
}

// sane refuses numbers that mean nothing.
func sane(w *Workload) error {
	if w.ID == "" {
		return &Error{Field: "id", Why: "is empty"}
	}
	if len(w.PodSets) == 0 {
		return &Error{Field: "spec.workers", Why: "is 0: a workload has at least one pod"}
	}
	for i, p := range w.PodSets {
		at := fmt.Sprintf("podSets[%d].", i)
		const most = int64(1) << 50 // so that no product leaves 64 bits
		switch {
		case p.Count < 1 || p.Count > podsMax:
			return &Error{Field: at + "count", Why: fmt.Sprintf("is %d: it must lie between 1 and %d", p.Count, podsMax)}
		case p.CPU < 0 || p.CPU > most/int64(p.Count):
			return &Error{Field: at + "cpu", Why: "must not be below zero, nor beyond what any machine has"}
		case p.Memory < 0 || p.Memory > most/int64(p.Count)*1024:
			return &Error{Field: at + "memory", Why: "must not be below zero, nor beyond what any machine has"}
		case p.Ask.Count < 0 || p.Ask.Count > devicesMax || p.Ask.MemoryMin < 0:
			return &Error{Field: at + "accelerators", Why: "must ask for 0 to 1024 devices, and for no negative memory"}
		}
		for _, n := range p.Ask.Takes {
			if n < 1 || n > devicesMax*Device {
				return &Error{Field: at + "accelerators", Why: "must take something of a flavour, and at most 1024 devices"}
			}
		}
		for _, k := range p.Ask.Kinds {
			if !slices.Contains(device.Kinds(), k) {
				return &Error{Field: at + "accelerators.kinds", Why: fmt.Sprintf("names %q, which nobody knows: known are %s", k, words(device.Kinds()))}
			}
		}
	}
	return nil
}

// demands are the ways to give a workload what it asks for, best first. There are
// several if several flavours will do; all pods of a set get the same.
func (s *State) demands(w *Workload, leaf int) ([]*demand, error) {
	out := []*demand{{}}
	for i, p := range w.PodSets {
		n := int64(p.Count)
		for _, d := range out {
			s.plain(d, CPU, n*p.CPU)
			s.plain(d, Memory, n*p.Memory)
		}
		if p.Ask.Count == 0 {
			continue
		}
		fit, err := s.fitting(&p.Ask, leaf)
		if err != nil {
			err.Field = strings.Replace(err.Field, "podSets[]", fmt.Sprintf("podSets[%d]", i), 1)
			return nil, err
		}
		var next []*demand
		for _, d := range out {
			for _, f := range fit {
				e := &demand{names: append(slices.Clone(d.names), s.tree.flavors[f].Name), units: d.units}
				e.flavors, e.classes = slices.Clone(d.flavors), slices.Clone(d.classes)
				e.take(s.tree, f, n*int64(p.Ask.Count)*takes(&p.Ask, &s.tree.flavors[f]))
				if next = append(next, e); len(next) == optionsMax {
					break
				}
			}
			if len(next) == optionsMax {
				break
			}
		}
		out = next
	}
	return out, nil
}

// plain adds a resource that is no accelerator, if somebody counts it.
func (s *State) plain(d *demand, resource string, n int64) {
	if f := slices.IndexFunc(s.tree.flavors, func(f Flavor) bool { return f.Resource == resource }); f >= 0 {
		d.take(s.tree, f, n)
	}
}

// fitting are the flavours that serve what is asked, in the order in which they are
// asked for, and then the least first: what has much memory is kept for those that
// need it.
func (s *State) fitting(a *Ask, leaf int) ([]int, *Error) {
	kinds := a.Kinds
	if len(kinds) == 0 {
		kinds = device.Accelerators()
	}
	var out []int
	exists := false
	for f := range s.tree.flavors {
		if !serves(&s.tree.flavors[f], a, kinds) {
			continue
		}
		exists = true
		if s.tree.nodes[leaf].leaf.covered[f] {
			out = append(out, f)
		}
	}
	if len(out) == 0 && exists {
		return nil, &Error{Field: "spec.queue", Why: fmt.Sprintf("%q has no quota for %s, and none above it has: name another queue, or have an administrator add a line to it", s.tree.name(leaf), a)}
	}
	if len(out) == 0 {
		return nil, &Error{Field: "spec.accelerators", Why: fmt.Sprintf("asks for %s, which this cloud does not have: ask for less, or add such a node", a)}
	}
	slices.SortStableFunc(out, func(x, y int) int {
		fx, fy := &s.tree.flavors[x], &s.tree.flavors[y]
		return cmp.Or(
			cmp.Compare(slices.Index(a.Software, fx.Software), slices.Index(a.Software, fy.Software)),
			cmp.Compare(slices.Index(kinds, fx.Kind), slices.Index(kinds, fy.Kind)),
		)
	})
	if len(a.Kinds) == 0 && len(a.Software) == 0 { // any kind is as good as another
		slices.Sort(out)
	}
	s.fastest(out, a.Speeds)
	return out, nil
}

// fastest has the fastest come first of those flavours whose speed is known. The others
// stay where they are.
func (s *State) fastest(flavors []int, speeds map[string]float64) {
	known := func(f int) bool { return speeds[s.tree.flavors[f].Software] > 0 }
	sorted := slices.DeleteFunc(slices.Clone(flavors), func(f int) bool { return !known(f) })
	slices.SortStableFunc(sorted, func(x, y int) int {
		return cmp.Compare(speeds[s.tree.flavors[y].Software], speeds[s.tree.flavors[x].Software])
	})
	for i, f := range flavors {
		if known(f) {
			flavors[i], sorted = sorted[0], sorted[1:]
		}
	}
}

// serves reports whether a device of the flavour will do.
func serves(f *Flavor, a *Ask, kinds []device.Kind) bool {
	if a.Takes != nil {
		return f.Resource == "" && a.Takes[f.Name] > 0
	}
	return f.Resource == "" && slices.Contains(kinds, f.Kind) &&
		(len(a.Products) == 0 || slices.Contains(a.Products, f.Product)) &&
		(len(a.Software) == 0 || slices.Contains(a.Software, f.Software)) &&
		(a.Precision == "" || f.Precisions == nil || slices.Contains(f.Precisions, a.Precision)) &&
		f.Memory >= a.MemoryMin
}

// takes is what one device of the ask takes of the flavour: the smallest part that has
// the memory, if a part will do and it is known how much memory is needed.
func takes(a *Ask, f *Flavor) int64 {
	if a.Takes != nil {
		return a.Takes[f.Name]
	}
	if !a.Share || a.MemoryMin <= 0 {
		return Device
	}
	least := Device
	for _, p := range f.Parts {
		if p.Memory >= a.MemoryMin && p.Takes > 0 {
			least = min(least, p.Takes)
		}
	}
	if len(f.Parts) == 0 && f.Memory > 0 {
		least = part(a.MemoryMin, f.Memory)
	}
	return least
}

// String says in words what is asked.
func (a *Ask) String() string {
	if a.Takes != nil {
		return strings.Join(append(slices.Sorted(maps.Keys(a.Takes)), "devices")[:max(1, len(a.Takes))], " or ")
	}
	var kinds []string
	for _, k := range a.Kinds {
		kinds = append(kinds, strings.ToUpper(string(k))+"s")
	}
	s := "accelerators"
	if len(kinds) > 0 {
		s = strings.Join(kinds, " or ")
	}
	if len(a.Products) > 0 {
		s = strings.Join(a.Products, " or ")
	}
	if a.MemoryMin > 0 {
		s += fmt.Sprintf(" with at least %s GiB", short(float64(a.MemoryMin)/(1<<30)))
	}
	if len(a.Software) > 0 {
		s += " for " + strings.Join(a.Software, " or ")
	}
	return s
}
