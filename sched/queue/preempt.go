package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// preempt makes room for the first of a group, if others may be ended for it. What is
// kept for those of other queues that wait for long does not count: who has a right
// comes before them. But nothing overtakes the one that its own queue waits for.
func (s *State) preempt(p *Plan, g *group) bool {
	if slices.ContainsFunc(p.kept, func(k *group) bool { return k.leaf == g.leaf }) {
		return false
	}
	for _, k := range p.kept {
		s.release(k.leaf, k.demands[0])
	}
	victims, d := s.room(g, p.left)
	if d != nil {
		p.left -= len(victims)
		s.replace(p, g, d, victims)
	}
	for _, k := range p.kept {
		s.charge(k.leaf, k.demands[0])
	}
	return d != nil
}

// replace ends the victims and admits the first of g in their place. They wait again
// from now on; what starts waits for them to be gone.
func (s *State) replace(p *Plan, g *group, d *demand, victims []*job) {
	w := g.first().work
	for _, v := range victims {
		s.leaving[v.work.ID] = v.with
		p.Preempt = append(p.Preempt, Preemption{
			ID: v.work.ID, Queue: s.tree.name(v.leaf), For: w.ID, Lost: s.lost(v), Why: s.because(v, g),
		})
		s.end(v)
		s.wait(v)
	}
	s.grant(p, g, d)
}

// because says to a victim why it must end. Queues may be of several tenants, so it
// names no work.
func (s *State) because(v *job, g *group) string {
	if v.leaf == g.leaf {
		return fmt.Sprintf("work of priority %d takes its place in queue %s, and its own is %d", g.first().work.Priority, s.tree.name(g.leaf), v.work.Priority)
	}
	return fmt.Sprintf("queue %s had borrowed what queue %s needs now", s.tree.name(v.leaf), s.tree.name(g.leaf))
}

// room finds the victims that make the first of g fit, none of them in vain. There
// are none if what others left is enough, and it borrows nothing. A nil demand: it
// cannot be.
func (s *State) room(g *group, most int) ([]*job, *demand) {
	for _, d := range g.demands {
		if _, fits := s.fit(g.leaf, d, false); fits {
			if !s.borrows(g.leaf, g.leaf, d) {
				return nil, d
			}
			continue // it is kept for another
		}
		if _, possible := s.fit(g.leaf, d, true); !possible {
			continue
		}
		if victims := s.victims(g, d, most); len(victims) > 0 {
			return victims, d
		}
	}
	return nil, nil
}

// candidate is a job that may be ended, and the node of its side just below what it
// has in common with those it would be ended for; 0 if it is of the same queue.
type candidate struct {
	job  *job
	side int
	// fair is the node of the other side, just below what they have in common, if it
	// borrows itself; 0 if it does not.
	fair int
	lost float64
}

// victims takes candidates until d fits, and gives back those that turn out to be
// spare, the dearest first.
func (s *State) victims(g *group, d *demand, most int) []*job {
	all := s.candidates(g, d)
	var taken []candidate
	fits := false
	for _, c := range all {
		if len(taken) == most {
			break
		}
		if c.side > 0 && !s.borrowed(c, d) {
			continue // those before it gave back what they had borrowed
		}
		s.release(c.job.leaf, c.job.with)
		if c.fair > 0 && !s.fairer(c, d) {
			s.charge(c.job.leaf, c.job.with)
			continue
		}
		taken = append(taken, c)
		if _, fits = s.fit(g.leaf, d, false); fits {
			break
		}
	}
	var victims []*job
	for _, c := range slices.Backward(taken) {
		s.charge(c.job.leaf, c.job.with)
		if !fits {
			continue
		}
		if _, still := s.fit(g.leaf, d, false); !still {
			s.release(c.job.leaf, c.job.with)
			victims = append(victims, c.job)
		}
	}
	for _, v := range victims { // the books as they were
		s.charge(v.leaf, v.with)
	}
	slices.Reverse(victims)
	return victims
}

// borrowed reports whether the candidate's queue, and all above it below the common
// one, have more than is theirs of something that d counts.
func (s *State) borrowed(c candidate, d *demand) bool {
	for n := c.job.leaf; ; n = s.tree.nodes[n].parent {
		if !s.exceeds(n, d) {
			return false
		}
		if n == c.side {
			return true
		}
	}
}

// fairer reports whether the candidate's side, without the candidate, has no smaller
// share by weight than the other one with d. What was used before does not count, or
// two queues could end each other's work in turn.
func (s *State) fairer(c candidate, d *demand) bool {
	side, other := &s.tree.nodes[c.side], s.tree.nodes[c.fair]
	for i := range other.units {
		other.units[i] += d.units[i]
	}
	return s.dominant(side)/side.weight >= s.dominant(&other)/other.weight
}

// candidates are those that may be ended for the first of g, cheapest first.
func (s *State) candidates(g *group, d *demand) []candidate {
	policy := s.tree.nodes[g.leaf].queue.Preempt
	priority := g.first().work.Priority
	var out []candidate
	if policy.Within != Never {
		out = s.collect(out, g.leaf, candidate{}, d, priority, true)
	}
	for n := g.leaf; n > 0; n = s.tree.nodes[n].parent {
		rule, c := policy.Reclaim, candidate{}
		if s.borrows(n, g.leaf, d) {
			rule, c.fair = policy.Fair, n
		}
		if rule == Never {
			continue
		}
		for _, side := range s.tree.nodes[s.tree.nodes[n].parent].children {
			if side != n && s.exceeds(side, d) {
				c.side = side
				out = s.collect(out, side, c, d, priority, rule == LowerPriority)
			}
		}
	}
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.job.work.Priority, b.job.work.Priority),
			cmp.Compare(a.lost, b.lost),
			b.job.run.Started.Compare(a.job.run.Started),
			strings.Compare(a.job.work.ID, b.job.work.ID),
		)
	})
	return out
}

// collect adds what runs below node n and may be ended. What was admitted in this very
// cycle stays for one.
func (s *State) collect(out []candidate, n int, like candidate, d *demand, priority int32, lower bool) []candidate {
	l := s.tree.nodes[n].leaf
	if l == nil {
		for _, c := range s.tree.nodes[n].children {
			if s.exceeds(c, d) {
				out = s.collect(out, c, like, d, priority, lower)
			}
		}
		return out
	}
	if lower && !anyBelow(l.levels, priority) {
		return out
	}
	for _, j := range l.running {
		if j.work.Keep || j.run.Started.Equal(s.now) || lower && j.work.Priority >= priority || !overlap(j.with, d) {
			continue
		}
		like.job, like.lost = j, s.lost(j)
		out = append(out, like)
	}
	return out
}

// anyBelow reports whether something of lower priority runs.
func anyBelow(levels map[int32]int, priority int32) bool {
	for p := range levels {
		if p < priority {
			return true
		}
	}
	return false
}

// overlap reports whether ending a can help b.
func overlap(a, b *demand) bool {
	shares := func(x, y []amount) bool {
		return slices.ContainsFunc(x, func(p amount) bool {
			return slices.ContainsFunc(y, func(q amount) bool { return p.of == q.of })
		})
	}
	return shares(a.classes, b.classes) || shares(a.flavors, b.flavors)
}

// lost is the work that a job loses if it ends now.
func (s *State) lost(j *job) float64 {
	since := j.run.Started
	if j.run.Saved.After(since) {
		since = j.run.Saved
	}
	units := float64(j.with.units[0]) / float64(Device) / 1000
	if units == 0 {
		units = float64(j.with.units[1]) / 1000 // without accelerators it is processors
	}
	return max(0, float64(s.now.Sub(since))/float64(time.Second)) * units
}
