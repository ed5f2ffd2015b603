package defrag

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"polder.dev/polder/sched"
)

// Work is something that runs.
type Work struct {
	Name     string
	Request  sched.Request
	Decision sched.Decision // where it is
	// Movable is set for work that goes on elsewhere from a checkpoint.
	Movable bool
	// Cost of moving it: the device-seconds of computing that are lost, such as those
	// since its last checkpoint, and those of stopping and starting.
	Cost float64
	// Group names work that stops and starts together, such as the workers of a job; ""
	// is alone. Cost is the group's then, whoever of it is moved.
	Group string
	// May says which nodes it may go to; nil is all.
	May func(node string) bool
	// Within is set for work that may also go to other devices of its node.
	Within bool
}

// group is what it is moved with.
func (w *Work) group() string { return cmp.Or(w.Group, w.Name) }

// Config says what a plan is to be like.
type Config struct {
	// Policy that chooses where work goes.
	Policy string
	// Workload that is expected: a fragment is what it cannot use.
	Workload sched.Workload
	// MovesMax is the most moves of a plan; 0 means 32. A group's are one.
	MovesMax int
	// GainMin is the least that a move has to gain, in thousandths of a device; 0 means
	// 100, a tenth of one.
	GainMin float64
}

// Move is one piece of work that goes elsewhere, to another node or to other devices of its
// own.
type Move struct {
	Name  string
	Group string // of the work
	From  sched.Decision
	To    sched.Decision
	// Step is the same for moves that gain something only together, such as those that
	// empty a node.
	Step int
	// Gain of the whole step in thousandths of a device, and Cost of this move, or of all
	// of its group's in the step.
	Gain float64
	Cost float64
}

// Plan is moves in their order, and what they lead from and to.
type Plan struct {
	Moves         []Move
	Before, After State
}

const (
	movesMax = 32
	gainMin  = 100
)

// Make plans. The snapshot is of a cluster in which all of work runs.
func Make(s sched.Snapshot, work []Work, c Config) (*Plan, error) {
	if c.MovesMax == 0 {
		c.MovesMax = movesMax
	}
	if c.GainMin == 0 {
		c.GainMin = gainMin
	}
	if c.MovesMax < 0 || c.GainMin < 0 {
		return nil, fmt.Errorf("the most moves are %d and the least gain is %g; neither can be negative", c.MovesMax, c.GainMin)
	}
	b, err := sched.NewBoard(s, sched.Config{Policy: c.Policy, Workload: c.Workload})
	if err != nil {
		return nil, err
	}
	p := &planner{board: b, work: slices.Clone(work), config: c, moved: map[string]bool{}}
	if err := p.check(); err != nil {
		return nil, err
	}
	plan := &Plan{Before: p.state()}
	for step := 1; ; step++ {
		t, err := p.best(c.MovesMax - len(p.moved))
		if err != nil {
			return nil, err
		}
		if t == nil {
			break
		}
		moves, err := p.make(t, step)
		if err != nil {
			return nil, err
		}
		plan.Moves = append(plan.Moves, moves...)
	}
	plan.After = p.state()
	return plan, nil
}

type planner struct {
	board  *sched.Board
	work   []Work
	config Config
	moved  map[string]bool // by group; nothing is moved twice
	tried  trials
}

// check looks that work is where it says, by taking it away and putting it back.
func (p *planner) check() error {
	names := map[string]bool{}
	for i := range p.work {
		w := &p.work[i]
		if w.Name == "" || names[w.Name] {
			return fmt.Errorf("work %d: its name %q is empty or that of another; give each its own", i, w.Name)
		}
		names[w.Name] = true
		if w.Cost < 0 {
			return fmt.Errorf("work %s: its cost %g is negative", w.Name, w.Cost)
		}
		if err := p.board.Release(w.Request, w.Decision); err != nil {
			return fmt.Errorf("work %s is not where it says: %w", w.Name, err)
		}
		if err := p.board.Place(w.Request, w.Decision); err != nil {
			return fmt.Errorf("work %s is not where it says: %w", w.Name, err)
		}
	}
	return nil
}

// step is work that is moved together: each piece to another node, or, within, one to other
// devices of its node.
type step struct {
	work   []int // indices
	within bool
}

// trial is a step that was tried.
type trial struct {
	step
	to   []sched.Decision
	gain float64
	cost float64
}

// worth is what steps are compared by: the gain for each device-second that is lost.
func (t *trial) worth() float64 { return t.gain / (1 + t.cost) }

// best is the step of at most so many moves that is worth most, or nil if none gains
// enough. A step is worth less and less as others are taken, seldom more, so one that is
// still worth more than all others were when they were tried last is taken without trying
// these again. When none is left all are tried once more.
func (p *planner) best(moves int) (*trial, error) {
	for fresh := false; ; {
		t, err := p.first(moves)
		if t != nil || err != nil || fresh {
			return t, err
		}
		fresh = true
		for _, c := range p.candidates() {
			t, err := p.gainful(c)
			if err != nil {
				return nil, err
			}
			if t != nil {
				p.tried = append(p.tried, t)
			}
		}
		heap.Init(&p.tried)
	}
}

// first takes the best of those tried before, if it still is.
func (p *planner) first(moves int) (*trial, error) {
	for len(p.tried) > 0 {
		old := heap.Pop(&p.tried).(*trial)
		if len(p.groups(old.work)) > moves || slices.ContainsFunc(old.work, func(i int) bool { return p.moved[p.work[i].group()] }) {
			continue
		}
		t, err := p.gainful(old.step)
		if err != nil {
			return nil, err
		}
		switch {
		case t == nil:
		case len(p.tried) == 0 || t.worth() >= p.tried[0].worth():
			return t, nil
		default:
			heap.Push(&p.tried, t)
		}
	}
	return nil, nil
}

// gainful tries a step; nil if it does not gain enough.
func (p *planner) gainful(s step) (*trial, error) {
	t, err := p.try(s)
	if t == nil || err != nil || t.gain < p.config.GainMin*float64(len(p.groups(s.work))) {
		return nil, err
	}
	return t, nil
}

// groups of some work.
func (p *planner) groups(work []int) map[string]bool {
	out := map[string]bool{}
	for _, i := range work {
		out[p.work[i].group()] = true
	}
	return out
}

// trials is a heap of what was tried, the worthiest first; of equals, the first work's.
type trials []*trial

func (h trials) Len() int { return len(h) }
func (h trials) Less(i, j int) bool {
	if a, b := h[i].worth(), h[j].worth(); a != b {
		return a > b
	}
	if c := slices.Compare(h[i].work, h[j].work); c != 0 {
		return c < 0
	}
	return !h[i].within && h[j].within
}
func (h trials) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *trials) Push(t any)   { *h = append(*h, t.(*trial)) }
func (h *trials) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}

// candidates are each piece of work that can be moved, to another node and within its own,
// and all work of a node, where all that has devices can be: on nodes with idle devices,
// for others cannot gain.
func (p *planner) candidates() []step {
	idle := map[string]bool{}
	nodes := p.board.Nodes()
	for i := range nodes {
		idle[nodes[i].Name] = nodes[i].Idle() > 0
	}
	var out []step
	byNode, fixed := map[string][]int{}, map[string]bool{}
	for i := range p.work {
		w := &p.work[i]
		node := w.Decision.Node
		if w.Request.Count == 0 || !idle[node] {
			continue
		}
		if !w.Movable || p.moved[w.group()] {
			fixed[node] = true
			continue
		}
		out = append(out, step{work: []int{i}})
		if w.Within {
			out = append(out, step{work: []int{i}, within: true})
		}
		byNode[node] = append(byNode[node], i)
	}
	for i := range nodes {
		node := nodes[i].Name
		if all := byNode[node]; len(all) > 1 && !fixed[node] {
			slices.SortStableFunc(all, func(a, b int) int { // what is large finds room last
				return cmp.Compare(p.work[b].Request.Milli(), p.work[a].Request.Milli())
			})
			out = append(out, step{work: all})
		}
	}
	return out
}

// try makes a step and undoes it. It returns nil if there is no room for it.
func (p *planner) try(s step) (*trial, error) {
	if s.within {
		return p.shift(s)
	}
	before, work := p.board.Fragmentation(), s.work
	t := &trial{}
	err := p.place(t, work)
	if err == nil && len(t.to) == len(work) {
		t.gain = before
		for _, i := range work {
			err = cmp.Or(err, p.board.Release(p.work[i].Request, p.work[i].Decision))
		}
		t.gain -= p.board.Fragmentation()
		for _, i := range work {
			err = cmp.Or(err, p.board.Place(p.work[i].Request, p.work[i].Decision))
		}
	}
	for j, d := range t.to {
		err = cmp.Or(err, p.board.Release(p.work[work[j]].Request, d))
	}
	if err != nil || len(t.to) < len(work) {
		return nil, err
	}
	return t, nil
}

// shift tries to give work other devices of its node: those that it would be given if it
// came anew, for what it has is free by then.
func (p *planner) shift(s step) (*trial, error) {
	before, w := p.board.Fragmentation(), &p.work[s.work[0]]
	if err := p.board.Release(w.Request, w.Decision); err != nil {
		return nil, err
	}
	var t *trial
	best, err := p.board.Rank(w.Request, 1, func(node string) bool { return node == w.Decision.Node })
	if err == nil && len(best) > 0 && !sameDevices(best[0], w.Decision) {
		if err = p.board.Place(w.Request, best[0]); err == nil {
			t = &trial{step: s, to: best, gain: before - p.board.Fragmentation(), cost: w.Cost}
			err = p.board.Release(w.Request, best[0])
		}
	}
	if err = cmp.Or(err, p.board.Place(w.Request, w.Decision)); err != nil {
		return nil, err
	}
	return t, nil
}

func sameDevices(a, b sched.Decision) bool {
	return slices.Equal(a.Devices, b.Devices) && slices.Equal(a.Parts, b.Parts)
}

// place puts each piece of work on another node, in addition to where it is.
func (p *planner) place(t *trial, work []int) error {
	paid := map[string]bool{}
	for _, i := range work {
		w := &p.work[i]
		best, err := p.board.Rank(w.Request, 1, func(node string) bool { return node != w.Decision.Node && (w.May == nil || w.May(node)) })
		if err != nil || len(best) == 0 {
			return err
		}
		if err := p.board.Place(w.Request, best[0]); err != nil {
			return err
		}
		t.work, t.to = append(t.work, i), append(t.to, best[0])
		if !paid[w.group()] {
			paid[w.group()] = true
			t.cost += w.Cost
		}
	}
	return nil
}

// make takes a step for good.
func (p *planner) make(t *trial, step int) ([]Move, error) {
	var moves []Move
	for j, i := range t.work {
		w := &p.work[i]
		acts := []func() error{
			func() error { return p.board.Place(w.Request, t.to[j]) },
			func() error { return p.board.Release(w.Request, w.Decision) },
		}
		if t.within { // it may have some of the same devices
			slices.Reverse(acts)
		}
		for _, act := range acts {
			if err := act(); err != nil {
				return nil, err
			}
		}
		moves = append(moves, Move{Name: w.Name, Group: w.Group, From: w.Decision, To: t.to[j], Step: step, Gain: t.gain, Cost: w.Cost})
		w.Decision = t.to[j]
		p.moved[w.group()] = true
	}
	return moves, nil
}
