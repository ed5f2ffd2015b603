package queue

import (
	"cmp"
	"container/heap"
	"strings"
)

// job is a workload that the State knows.
type job struct {
	work Workload
	leaf int
	like *group
	at   int // in the heap of its group; -1: it is not waiting

	with *demand // what it was given; nil: it is waiting
	run  Run
}

// before is the order within a queue.
func before(a, b *job) int {
	return cmp.Or(
		cmp.Compare(b.work.Priority, a.work.Priority),
		a.work.Created.Compare(b.work.Created),
		strings.Compare(a.work.ID, b.work.ID),
	)
}

// group is the waiting workloads of a queue that ask for the same with the same
// priority: if one of them does not fit, none does.
type group struct {
	key     string
	leaf    int
	demands []*demand // any of them will do, best first
	waiting jobs
	members int  // that wait or run
	held    bool // the resources that its first lacks are kept for it
}

func (g *group) first() *job { return g.waiting[0] }

// jobs is a heap in the order within a queue.
type jobs []*job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(i, j int) bool { return before(h[i], h[j]) < 0 }
func (h jobs) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for package heap.
func (h *jobs) Push(x any) {
	j, _ := x.(*job)
	j.at = len(*h)
	*h = append(*h, j)
}

// Pop is for package heap.
func (h *jobs) Pop() any {
	j := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	j.at = -1
	return j
}

// leaf is what waits and runs in a queue.
type leaf struct {
	groups  map[string]*group // by key; each has members
	running map[string]*job
	given   []int64       // by flavour
	levels  map[int32]int // how many run, by priority
	covered []bool        // by flavour
	ranks   map[*job]int  // of what waits; nil: not worked out
}

// wait puts a job among those that wait.
func (s *State) wait(j *job) {
	s.tree.nodes[j.leaf].leaf.ranks = nil
	heap.Push(&j.like.waiting, j)
	s.waiting++
}

// unwait takes it out.
func (s *State) unwait(j *job) {
	s.tree.nodes[j.leaf].leaf.ranks = nil
	heap.Remove(&j.like.waiting, j.at)
	s.waiting--
}

// start gives a waiting job what it asked for.
func (s *State) start(j *job, d *demand, r Run) {
	s.rememberUp(j.leaf)
	l := s.tree.nodes[j.leaf].leaf
	j.with, j.run = d, r
	s.ends = nil
	l.running[j.work.ID] = j
	l.levels[j.work.Priority]++
	s.charge(j.leaf, d)
}

// end takes it back.
func (s *State) end(j *job) {
	s.rememberUp(j.leaf)
	l := s.tree.nodes[j.leaf].leaf
	s.release(j.leaf, j.with)
	delete(l.running, j.work.ID)
	if l.levels[j.work.Priority]--; l.levels[j.work.Priority] == 0 {
		delete(l.levels, j.work.Priority)
	}
	j.with = nil
	s.ends = nil
}
