package queue

import (
	"cmp"
	"maps"
	"slices"
)

// roundsMax bounds how often all pairs of flavours are gone through. Each trade makes the
// work of a queue faster together, so it would end without.
const roundsMax = 8

// trader is a job that was admitted in this cycle and is known to be faster with one
// flavour than with another.
type trader struct {
	job       *job
	admission int // in the plan
}

// speed of the work on a flavour; 0 if it is not known. Only those trade that are given
// one flavour for all.
func (s *State) speed(j *job, f int) float64 {
	for i := range j.work.PodSets {
		if a := &j.work.PodSets[i].Ask; a.Count > 0 {
			return a.Speeds[s.tree.flavors[f].Software]
		}
	}
	return 0
}

// flavor is the accelerators that a demand is of, and how much of them.
func (s *State) flavor(d *demand) amount {
	i := slices.IndexFunc(d.flavors, func(a amount) bool { return s.tree.flavors[a.of].Resource == "" })
	return d.flavors[i]
}

// on is the demand of a job that is of a flavour, or nil.
func (s *State) on(j *job, f int) *demand {
	i := slices.IndexFunc(j.like.demands, func(d *demand) bool { return len(d.names) == 1 && s.flavor(d).of == f })
	if i < 0 {
		return nil
	}
	return j.like.demands[i]
}

// trade has those of a queue exchange what they were given in this cycle, so that what is
// scarce goes to those whose speed it raises most, as Gavel has it. Who trades asks for as
// much of either as the other does, so all that is counted stays as it is, of each queue
// and of the cloud: no more is used, nobody else is concerned, and nobody is passed. Where
// others were ended to make room, it stays at that.
func (s *State) trade(p *Plan) {
	if len(p.Preempt) > 0 {
		return
	}
	leaves := map[int][]trader{}
	for i := range p.Admit {
		j := s.jobs[p.Admit[i].ID]
		if len(j.with.names) == 1 && s.speed(j, s.flavor(j.with).of) > 0 {
			leaves[j.leaf] = append(leaves[j.leaf], trader{j, i})
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		all, of := leaves[leaf], map[int]bool{}
		for _, t := range all {
			of[s.flavor(t.job.with).of] = true
		}
		flavors := slices.Sorted(maps.Keys(of))
		for round, again := 0, true; again && round < roundsMax; round++ {
			again = false
			for i, a := range flavors {
				for _, b := range flavors[i+1:] {
					again = s.between(p, all, a, b) || again
				}
			}
		}
	}
}

// between has jobs trade two flavours, and reports whether any has.
func (s *State) between(p *Plan, all []trader, a, b int) bool {
	lots := map[[2]int64][]trader{} // by how much they ask for of either
	for _, t := range all {
		da, db := s.on(t.job, a), s.on(t.job, b)
		has := s.flavor(t.job.with).of
		if da != nil && db != nil && (has == a || has == b) && s.speed(t.job, a) > 0 && s.speed(t.job, b) > 0 {
			k := [2]int64{s.flavor(da).n, s.flavor(db).n}
			lots[k] = append(lots[k], t)
		}
	}
	moves := map[int]*demand{} // by admission
	for _, lot := range lots {
		gain := func(t trader) float64 { return s.speed(t.job, a) / s.speed(t.job, b) }
		have := func(t trader) int {
			if s.flavor(t.job.with).of == a {
				return 0
			}
			return 1
		}
		n := 0
		for _, t := range lot {
			n += 1 - have(t)
		}
		slices.SortStableFunc(lot, func(x, y trader) int { // who gains alike keeps what it has
			return cmp.Or(cmp.Compare(gain(y), gain(x)), have(x)-have(y))
		})
		for i, t := range lot {
			to := s.on(t.job, b)
			if i < n {
				to = s.on(t.job, a)
			}
			if to != t.job.with {
				moves[t.admission] = to
			}
		}
	}
	s.exchange(p, moves)
	return len(moves) > 0
}

// exchange has each take what another leaves.
func (s *State) exchange(p *Plan, moves map[int]*demand) {
	for i := range moves {
		j := s.jobs[p.Admit[i].ID]
		s.end(j)
	}
	for _, i := range slices.Sorted(maps.Keys(moves)) {
		a, d := &p.Admit[i], moves[i]
		j := s.jobs[a.ID]
		j.run.Flavors = d.names
		a.Flavors, a.Borrows, a.After = d.names, s.borrows(j.leaf, j.leaf, d), s.leavingOf(d)
		s.start(j, d, j.run)
	}
}
