package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/census"
	"polder.dev/polder/sched/defrag"
)

// defragPolicy chooses where jobs go, as the scheduler would.
const defragPolicy = "polder"

// defragger plans moves and makes them.
type defragger struct {
	cloud     cloudView
	flags     defragFlags
	namespace string            // "": all
	fixed     map[string]string // jobs that are not to be moved in this run, and why
	now       func() time.Time
	every     time.Duration
	tell      progress
	show      func(*proposal) error // the plan, before it is made; nil: in a line
}

// jobMove is one job that goes elsewhere.
type jobMove struct {
	// Step is the same for moves that gain something only together.
	Step int    `json:"step"`
	Job  string `json:"job"`
	// From are the nodes that it leaves, and To those that it goes to.
	From []string `json:"from"`
	To   []string `json:"to"`
	// Devices that it has, and Gain of the whole step in devices.
	Devices float64 `json:"devices"`
	Gain    float64 `json:"gainDevices"`
	// Cost in device-seconds that are computed again.
	Cost float64 `json:"costDeviceSeconds"`

	// Named are the UUIDs of the devices that its workers are to have, where some of
	// them stay on their node; else any of the nodes' will do.
	Named []string `json:"named,omitempty"`

	moves    []defrag.Move
	nodes    []string // all that its workers are on afterwards
	restarts int32
}

// stay is a job that is not moved.
type stay struct {
	Job string `json:"job"`
	Why string `json:"why"`
}

// state is what a cloud has left, in devices.
type defragState struct {
	Idle    float64       `json:"idleDevices"`
	Useless float64       `json:"uselessDevices"`
	Room    []defrag.Room `json:"room"`
}

// proposal is a plan as people read it.
type proposal struct {
	Before defragState `json:"before"`
	After  defragState `json:"after"`
	Moves  []jobMove   `json:"moves"`
	Stays  []stay      `json:"stays"`
	Nodes  []nodeBar   `json:"nodes"`

	devices int
	room    int
	expects bool // something runs or waits, or was named
	census  *census.Census
}

// look takes the census of the cloud.
func (d *defragger) look(ctx context.Context) (*census.Census, error) {
	w, err := d.cloud.World(ctx)
	if err != nil {
		return nil, err
	}
	return census.Take(w, census.Config{Namespace: d.namespace, Restart: d.flags.restarts, Fixed: d.fixed}), nil
}

// propose plans from what the cloud says now.
func (d *defragger) propose(ctx context.Context) (*proposal, error) {
	c, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	return d.proposeFor(c, d.flags.movesMax)
}

func (d *defragger) proposeFor(c *census.Census, movesMax int) (*proposal, error) {
	expected := c.Workload()
	if d.flags.room > 0 {
		expected = sched.Typical([]sched.Request{{Count: d.flags.room, Share: sched.Whole}})
	}
	plan, err := defrag.Make(c.Snapshot, c.Work, defrag.Config{
		Policy: defragPolicy, Workload: expected, MovesMax: movesMax, GainMin: d.flags.gainMin * sched.Whole,
	})
	if err != nil {
		return nil, fmt.Errorf("planning: %w", err)
	}
	p := &proposal{
		Before: stateOf(plan.Before), After: stateOf(plan.After), Moves: []jobMove{}, Stays: []stay{}, Nodes: bars(c, plan.Moves),
		room: d.flags.room, expects: len(expected.Kinds) > 0, census: c,
	}
	for _, n := range c.Snapshot.Nodes {
		p.devices += len(n.Devices)
	}
	for _, m := range plan.Moves {
		p.add(m)
	}
	for i := range p.Moves {
		p.Moves[i].settle(c)
	}
	for _, job := range slices.Sorted(maps.Keys(c.Stays)) {
		p.Stays = append(p.Stays, stay{job, c.Stays[job]})
	}
	return p, nil
}

func stateOf(s defrag.State) defragState {
	return defragState{float64(s.Idle) / sched.Whole, s.Fragmented / sched.Whole, s.Room}
}

// add puts the moves of a job's workers together.
func (p *proposal) add(m defrag.Move) {
	i := slices.IndexFunc(p.Moves, func(j jobMove) bool { return j.Job == m.Group })
	if i < 0 {
		i = len(p.Moves)
		p.Moves = append(p.Moves, jobMove{Step: m.Step, Job: m.Group, Gain: m.Gain / sched.Whole, Cost: m.Cost})
	}
	j := &p.Moves[i]
	j.moves = append(j.moves, m)
	j.From, j.To = with(j.From, m.From.Node), with(j.To, m.To.Node)
}

// with adds a name to sorted ones.
func with(names []string, name string) []string {
	if i, there := slices.BinarySearch(names, name); !there {
		return slices.Insert(names, i, name)
	}
	return names
}

// settle adds what only the whole job tells.
func (j *jobMove) settle(c *census.Census) {
	milli := int64(0)
	for _, w := range c.Work {
		if w.Group != j.Job {
			continue
		}
		milli += w.Request.Milli()
		j.nodes = with(j.nodes, j.after(&w).Node)
	}
	j.Named = j.names(c)
	j.Devices, j.restarts = float64(milli)/sched.Whole, c.Jobs[j.Job].Status.Restarts
}

// after is where a worker is when the job has been moved.
func (j *jobMove) after(w *defrag.Work) sched.Decision {
	for _, m := range j.moves {
		if m.Name == w.Name {
			return m.To
		}
	}
	return w.Decision
}

// within reports whether a worker goes to other devices of its node.
func (j *jobMove) within() bool {
	return slices.ContainsFunc(j.moves, func(m defrag.Move) bool { return m.From.Node == m.To.Node })
}

// names are the devices of all workers, if one of them would be given any of its node
// otherwise.
func (j *jobMove) names(c *census.Census) []string {
	if !j.within() {
		return nil
	}
	var out []string
	for i := range c.Work {
		if w := &c.Work[i]; w.Group == j.Job {
			uuids, _ := c.UUIDs(j.after(w)) // census plans no such move where it cannot name them
			for _, u := range uuids {
				out = with(out, u)
			}
		}
	}
	return out
}

// where it goes, in words.
func (j *jobMove) where() string {
	to := strings.Join(j.To, ", ")
	if j.within() {
		to = "other devices of " + to
	}
	return to
}

// still says why a move that was planned earlier cannot be made now, "" if it can.
func (j *jobMove) still(c *census.Census) string {
	job := c.Jobs[j.Job]
	if job == nil {
		return "it has no devices any more"
	}
	if why := c.Stays[j.Job]; why != "" {
		return why
	}
	if job.Status.Restarts != j.restarts {
		return "it was started again"
	}
	b, err := sched.NewBoard(c.Snapshot, sched.Config{Policy: defragPolicy})
	if err != nil {
		return err.Error()
	}
	for _, m := range j.moves {
		i := slices.IndexFunc(c.Work, func(w defrag.Work) bool { return w.Name == m.Name })
		if i < 0 || c.Work[i].Decision.Node != m.From.Node {
			return "its workers are not where they were"
		}
		w := &c.Work[i]
		if m.From.Node == m.To.Node {
			if err := b.Release(w.Request, w.Decision); err != nil {
				return err.Error()
			}
			if b.Place(w.Request, m.To) != nil {
				return fmt.Sprintf("the other devices of node %s have no room for it any more", m.To.Node)
			}
			continue
		}
		best, err := b.Rank(w.Request, 1, func(node string) bool { return node == m.To.Node && w.May(node) })
		if err == nil && len(best) == 0 {
			return fmt.Sprintf("node %s has no room for it any more", m.To.Node)
		}
		if err = cmp.Or(err, b.Place(w.Request, first(best))); err != nil {
			return err.Error()
		}
	}
	if j.Named = j.names(c); j.within() && len(j.Named) == 0 {
		return "its devices cannot be named any more"
	}
	return ""
}

func first(d []sched.Decision) sched.Decision {
	if len(d) == 0 {
		return sched.Decision{}
	}
	return d[0]
}
