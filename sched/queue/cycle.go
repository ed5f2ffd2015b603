package queue

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Plan is what a cycle decided. The State has it in its books already.
type Plan struct {
	Admit   []Admission
	Preempt []Preemption

	kept []*group // that resources are kept for
	left int      // how many may still be ended
}

// Admission says that a workload may start.
type Admission struct {
	ID, Queue string
	// Flavors of its accelerators, one for each set of pods that asks for some.
	Flavors []string
	// Borrows says that it has more than is its queue's own, and may be ended for it.
	Borrows bool
	// After are workloads that were ended and must be gone before it starts.
	After []string
}

// Preemption says that a workload must end and wait again.
type Preemption struct {
	ID, Queue string
	// For is the workload that takes its place.
	For string
	// Lost is the work that it loses: seconds since it was last saved, times the
	// devices by their speed.
	Lost float64
	// Why in a sentence.
	Why string
}

// Cycle admits all that may start now. Of what is free each is given what it is fastest
// with, if that is known; and of those that one queue admits together, those get the
// flavours that others would be no faster with who are, as long as each gives another
// what that one gives up.
func (s *State) Cycle(now time.Time) Plan {
	s.advance(now)
	p := Plan{left: s.options.VictimsMax}
	s.hold(&p)
	s.admit(&p)
	s.trade(&p)
	s.lift(&p)
	return p
}

// choose finds the first demand of a group that fits, before others one that borrows
// nothing of its neighbours.
func (s *State) choose(g *group) (*demand, bool) {
	var fits *demand
	for _, d := range g.demands {
		if _, ok := s.fit(g.leaf, d, false); !ok {
			continue
		}
		if !s.borrows(g.leaf, g.leaf, d) {
			return d, true
		}
		if fits == nil {
			fits = d
		}
	}
	return fits, fits != nil
}

// grant admits the first of a group.
func (s *State) grant(p *Plan, g *group, d *demand) {
	j := g.first()
	a := Admission{ID: j.work.ID, Queue: s.tree.name(j.leaf), Flavors: d.names, Borrows: s.borrows(j.leaf, j.leaf, d), After: s.leavingOf(d)}
	s.unwait(j)
	s.start(j, d, Run{Flavors: d.names, Started: s.now})
	p.Admit = append(p.Admit, a)
}

// leavingOf are the workloads that are on their way out with something that d counts.
func (s *State) leavingOf(d *demand) []string {
	var out []string
	for id, e := range s.leaving {
		shares := slices.ContainsFunc(d.flavors, func(a amount) bool {
			return slices.ContainsFunc(e.flavors, func(b amount) bool { return a.of == b.of })
		})
		if shares {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// hold looks first at those that have waited for too long. What fits is admitted; for
// what does not, the resources it lacks are kept until all others have been looked at:
// as if it ran already.
func (s *State) hold(p *Plan) {
	busy := map[int]bool{}
	for _, g := range s.impatient() {
		if d, ok := s.choose(g); ok {
			s.grant(p, g, d)
			continue
		}
		if s.preempt(p, g) {
			continue
		}
		d := g.demands[0]
		_, possible := s.fit(g.leaf, d, true)
		if !possible || slices.ContainsFunc(d.flavors, func(a amount) bool { return busy[a.of] }) {
			continue
		}
		for _, a := range d.flavors {
			busy[a.of] = true
		}
		g.held = true
		s.charge(g.leaf, d)
		p.kept = append(p.kept, g)
	}
}

// lift gives free what was kept.
func (s *State) lift(p *Plan) {
	for _, g := range p.kept {
		s.release(g.leaf, g.demands[0])
	}
}

// impatient are the groups whose first is the first of its queue and has waited for
// too long, the oldest first.
func (s *State) impatient() []*group {
	var old []*group
	for i := range s.tree.nodes {
		l := s.tree.nodes[i].leaf
		if l == nil {
			continue
		}
		var first *group
		for _, g := range l.groups {
			g.held = false
			if len(g.waiting) > 0 && (first == nil || before(g.first(), first.first()) < 0) {
				first = g
			}
		}
		if patience := s.tree.nodes[i].patience; first != nil && patience >= 0 && s.now.Sub(first.first().work.Created) >= patience {
			old = append(old, first)
		}
	}
	slices.SortFunc(old, func(a, b *group) int {
		return cmp.Or(a.first().work.Created.Compare(b.first().work.Created), before(a.first(), b.first()))
	})
	return old
}

// admit runs the race for what is free. What does not fit makes room for itself, if it
// may, or is set aside with its like until the next cycle.
func (s *State) admit(p *Plan) {
	for s.line(); s.tree.nodes[0].race.any(); {
		n := 0
		for s.tree.nodes[n].leaf == nil {
			n = s.tree.nodes[n].race.lanes[0]
		}
		r := &s.tree.nodes[n].race
		g := r.groups[0]
		d, ok := s.choose(g)
		if ok {
			s.grant(p, g, d)
		} else {
			ok = s.preempt(p, g)
		}
		if !ok || len(g.waiting) == 0 {
			heap.Pop(&r.groups)
		} else {
			heap.Fix(&r.groups, 0)
		}
		s.again(n)
	}
}
