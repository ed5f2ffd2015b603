package queue

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// State is the queues with all that waits and runs in them. It is not safe for use by
// many goroutines at once.
type State struct {
	tree    *tree
	options Options
	totals  [dimensions]float64
	given   []int64 // by flavour
	jobs    map[string]*job
	leaving map[string]*demand // ended for others, and not gone yet
	waiting int
	ends    []*job // of what runs, by when it ends; nil: not worked out
	now     time.Time
}

// New returns a State in which nothing waits, or says what is wrong with the forest.
func New(queues []Queue, flavors []Flavor, o Options) (*State, error) {
	if err := Check(queues, flavors, o); err != nil {
		return nil, err
	}
	o.Patience = cmp.Or(o.Patience, 10*time.Minute)
	o.VictimsMax = cmp.Or(o.VictimsMax, 1000)
	flavors = slices.Clone(flavors)
	slices.SortStableFunc(flavors, func(a, b Flavor) int { // the least that will do comes first
		return cmp.Or(cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.speed(), b.speed()), cmp.Compare(a.Name, b.Name))
	})
	s := &State{
		tree: plant(slices.Clone(queues), flavors), options: o, given: make([]int64, len(flavors)),
		jobs: map[string]*job{}, leaving: map[string]*demand{},
	}
	s.totals = totals(s.tree)
	s.tree.nodes[0].halfLife, s.tree.nodes[0].patience = o.HalfLife, o.Patience
	for i := range s.tree.nodes {
		n := &s.tree.nodes[i]
		if i > 0 {
			up := &s.tree.nodes[n.parent]
			n.halfLife, n.patience = cmp.Or(n.queue.HalfLife, up.halfLife), cmp.Or(n.queue.Patience, up.patience)
		}
		if i == 0 || len(n.children) > 0 {
			continue
		}
		n.leaf = &leaf{
			groups: map[string]*group{}, running: map[string]*job{}, levels: map[int32]int{},
			given: make([]int64, len(flavors)), covered: make([]bool, len(flavors)),
		}
		for f := range flavors {
			n.leaf.covered[f] = s.tree.covered(i, f)
		}
	}
	return s, nil
}

// Add puts a workload into its queue. The error says why it can never run as it is.
func (s *State) Add(w Workload) error {
	j, err := s.take(w)
	if err != nil {
		return err
	}
	s.wait(j)
	return nil
}

// Admitted puts in a workload that was admitted before, by an earlier State. It counts
// as what it was given, whether the quotas still allow that or not.
func (s *State) Admitted(w Workload, r Run) error {
	j, err := s.take(w)
	if err != nil {
		return err
	}
	d := j.like.demands[0]
	if i := slices.IndexFunc(j.like.demands, func(d *demand) bool { return slices.Equal(d.names, r.Flavors) }); i >= 0 {
		d = j.like.demands[i]
	}
	s.start(j, d, r)
	return nil
}

// take makes a job of a workload.
func (s *State) take(w Workload) (*job, error) {
	if s.jobs[w.ID] != nil {
		return nil, &Error{Field: "id", Why: fmt.Sprintf("%q is there twice", w.ID)}
	}
	n, ok := s.tree.byName[w.Queue]
	if !ok {
		return nil, &Error{Field: "spec.queue", Why: fmt.Sprintf("%q is not a queue of this cloud: known are %s", w.Queue, some(s.leaves(0)))}
	}
	if s.tree.nodes[n].leaf == nil {
		return nil, &Error{Field: "spec.queue", Why: fmt.Sprintf("%q has queues below it: name one of these: %s", w.Queue, some(s.leaves(n)))}
	}
	g, err := s.groupOf(&w, n)
	if err != nil {
		return nil, err
	}
	j := &job{work: w, leaf: n, like: g, at: -1}
	g.members++
	s.jobs[w.ID] = j
	return j, nil
}

// leaves below a node, by name.
func (s *State) leaves(n int) []string {
	var out []string
	todo := []int{n}
	for len(todo) > 0 {
		n, todo = todo[0], todo[1:]
		if s.tree.nodes[n].leaf != nil {
			out = append(out, s.tree.name(n))
		}
		todo = append(todo, s.tree.nodes[n].children...)
	}
	slices.Sort(out)
	return out
}

// Remove forgets a workload, whether it waits, runs or is on its way out. It does
// nothing if there is none.
func (s *State) Remove(id string, now time.Time) {
	s.advance(now)
	delete(s.leaving, id)
	j := s.jobs[id]
	if j == nil {
		return
	}
	if j.with != nil {
		s.end(j)
	} else {
		s.unwait(j)
	}
	delete(s.jobs, id)
	if j.like.members--; j.like.members == 0 {
		delete(s.tree.nodes[j.leaf].leaf.groups, j.like.key)
	}
}

// Leaving says that a workload that waits still has pods of before, with these
// flavours, so that what takes their place must wait for it.
func (s *State) Leaving(id string, flavors []string) {
	j := s.jobs[id]
	if j == nil {
		return
	}
	s.leaving[id] = j.like.demands[0]
	for _, d := range j.like.demands {
		if slices.Equal(d.names, flavors) {
			s.leaving[id] = d
		}
	}
}

// After are the workloads that are on their way out with something that one has been
// given which was admitted, so that it must not start yet.
func (s *State) After(id string) []string {
	j := s.jobs[id]
	if j == nil || j.with == nil {
		return nil
	}
	return s.leavingOf(j.with)
}

// Gone says that nothing of a workload runs any more that was ended for others.
func (s *State) Gone(id string) { delete(s.leaving, id) }

// Saved says that a workload kept what it had done until then.
func (s *State) Saved(id string, at time.Time) {
	if j := s.jobs[id]; j != nil {
		j.run.Saved = at
	}
}

// Pending is how many workloads wait.
func (s *State) Pending() int { return s.waiting }

// Past is the share a queue had, and when; see SetPast. It is for whoever keeps it
// while no State does.
func (s *State) Past(queue string, now time.Time) float64 {
	s.advance(now)
	n, ok := s.tree.byName[queue]
	if !ok {
		return 0
	}
	return s.tree.nodes[n].past
}

// SetPast says what share a queue had until asOf.
func (s *State) SetPast(queue string, past float64, asOf time.Time) {
	if n, ok := s.tree.byName[queue]; ok && past >= 0 {
		s.tree.nodes[n].past, s.tree.nodes[n].asOf = past, asOf
	}
}
