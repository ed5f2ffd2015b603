package sched

import (
	"fmt"
	"slices"
	"strings"
)

// Decision is where a request goes.
type Decision struct {
	Node    string
	Devices []int // indices in the node's Devices
	Score   int64 // more is better, among decisions for one request on one snapshot

	at int
}

// Board is a snapshot that is kept up: decisions are made on it, placed and released.
// It remembers the scores of nodes that have not changed, so that a decision costs a
// look at each node and the work of those that have. It is not safe for concurrent
// use.
type Board struct {
	config  Config
	chooser chooser
	nodes   []Node // sorted by name, which is the order among equals
	at      map[string]int

	sort   []int    // of each node, by what devices it has
	sorts  []sorted // what nodes there are, by their devices
	tables []*table // by sort; nil for devices of several models or with partitions

	total     int64   // of the workload's weights
	fragments []int64 // of each node
	sum       int64   // of fragments
	idle      []int64 // by sort

	holds   map[string]*Hold
	version []uint32
	memory  memory
	free    int64
}

// sorted is a sort of nodes: those whose devices are of the same models.
type sorted struct {
	models  []string // of the devices, none twice
	example int      // one such node
}

// NewBoard checks snapshot and configuration, and copies what will change.
func NewBoard(s Snapshot, c Config) (*Board, error) {
	p, err := policyOf(c.Policy)
	if err != nil {
		return nil, err
	}
	if p.Name == "random" && c.Draw == nil {
		return nil, fmt.Errorf("policy random needs chance from the caller; set Draw")
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := c.Workload.Check(); err != nil {
		return nil, err
	}
	b := &Board{config: c, at: map[string]int{}, holds: map[string]*Hold{}, total: c.Workload.total()}
	b.nodes = make([]Node, len(s.Nodes))
	for i := range s.Nodes {
		b.nodes[i] = s.Nodes[i].clone()
	}
	slices.SortFunc(b.nodes, byName)
	for _, h := range s.Holds {
		b.hold(h.Models, h.Milli)
	}
	b.index()
	b.chooser = p.make(b)
	return b, nil
}

// index fills what is derived from the nodes.
func (b *Board) index() {
	n := len(b.nodes)
	b.sort, b.fragments, b.version = make([]int, n), make([]int64, n), make([]uint32, n)
	byModels := map[string]int{}
	for i := range b.nodes {
		node := &b.nodes[i]
		b.at[node.Name] = i
		key, models, plain := sortOf(node)
		s, ok := byModels[key]
		if !ok {
			s = len(b.sorts)
			byModels[key] = s
			b.sorts = append(b.sorts, sorted{models, i})
			b.idle = append(b.idle, 0)
			var t *table
			if plain {
				t = b.config.Workload.tabulate(strings.Join(models, ""))
			}
			b.tables = append(b.tables, t)
		}
		b.sort[i] = s
		b.version[i] = 1
		b.fragments[i] = b.countFragments(i)
		b.sum += b.fragments[i]
		b.idle[s] += node.Idle()
		b.free += node.Idle()
	}
}

// sortOf tells nodes apart by their devices; plain means that they are all of one
// model, or none, and have no counters.
func sortOf(n *Node) (key string, models []string, plain bool) {
	plain = true
	var parts []string
	for i := range n.Devices {
		d := &n.Devices[i]
		part := fmt.Sprintf("%q", d.Model)
		for _, c := range d.Counters {
			plain = false
			part += fmt.Sprintf(" %q %d", c.Name, c.Size)
		}
		parts = append(parts, part)
		models = append(models, d.Model)
	}
	slices.Sort(parts)
	slices.Sort(models)
	models = slices.Compact(models)
	return strings.Join(slices.Compact(parts), "\n"), models, plain && len(models) < 2
}

func (b *Board) countFragments(i int) int64 {
	if t := b.tables[b.sort[i]]; t != nil {
		var v view
		v.look(t, &b.nodes[i], b.nodes[i].Free.CPU)
		return v.sum()
	}
	return b.config.Workload.Fragments(&b.nodes[i])
}

// Decide returns where r would go, or why it goes nowhere. It changes nothing.
func (b *Board) Decide(r Request) (*Decision, *Refusal, error) {
	d, err := b.decide(&r)
	if err != nil || d != nil {
		return d, nil, err
	}
	s := Snapshot{Nodes: b.nodes}
	f := s.Explain(r)
	return nil, &f, nil
}

func (b *Board) decide(r *Request) (*Decision, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	i, score := b.chooser.best(b.scores(r), r)
	if i < 0 {
		return nil, nil
	}
	return &Decision{Node: b.nodes[i].Name, Devices: b.chooser.devices(i, r), Score: score, at: i}, nil
}

// Place takes what the decision gives to the request.
func (b *Board) Place(r Request, d Decision) error { return b.change(&r, d, 1) }

// Release gives back what a placed request had.
func (b *Board) Release(r Request, d Decision) error { return b.change(&r, d, -1) }

func (b *Board) change(r *Request, d Decision, sign int) error {
	i, ok := b.at[d.Node]
	if !ok {
		return fmt.Errorf("there is no node %q on this board", d.Node)
	}
	n := &b.nodes[i]
	if err := may(n, r, d.Devices, sign); err != nil {
		return fmt.Errorf("node %s: %w", d.Node, err)
	}
	take(n, r, d.Devices, sign)
	b.version[i]++
	before := b.fragments[i]
	b.fragments[i] = b.countFragments(i)
	b.sum += b.fragments[i] - before
	b.idle[b.sort[i]] -= int64(sign) * r.Milli()
	b.free -= int64(sign) * r.Milli()
	if len(r.Models) > 0 {
		b.hold(r.Models, int64(sign)*r.Milli())
	}
	return nil
}

func (b *Board) hold(models []string, milli int64) {
	key := fmt.Sprintf("%q", models)
	if b.holds[key] == nil {
		b.holds[key] = &Hold{Models: models}
	}
	b.holds[key].Milli += milli
}

// may refuses what would give a device or a node less than nothing, or more than it
// has.
func may(n *Node, r *Request, devices []int, sign int) error {
	if len(devices) != r.Count {
		return fmt.Errorf("%d devices are named for a request of %d", len(devices), r.Count)
	}
	left := Amount{n.Free.CPU - int64(sign)*r.CPU, n.Free.Memory - int64(sign)*r.Memory, n.Free.Pods - int64(sign)}
	if left.CPU < 0 || left.Memory < 0 || left.Pods < 0 || left.CPU > n.Size.CPU || left.Memory > n.Size.Memory || left.Pods > n.Size.Pods {
		return fmt.Errorf("its CPU, memory or pods would be %+v of %+v", left, n.Size)
	}
	for k, i := range devices {
		if i < 0 || i >= len(n.Devices) || slices.Contains(devices[:k], i) {
			return fmt.Errorf("device %d is not there, or named twice", i)
		}
		d := &n.Devices[i]
		if free := d.Free - sign*r.Share; free < 0 || free > Whole {
			return fmt.Errorf("device %d would have %d thousandths free", i, free)
		}
		for _, need := range r.Needs {
			j := slices.IndexFunc(d.Counters, func(c Counter) bool { return c.Name == need.Name })
			if j < 0 {
				return fmt.Errorf("device %d has no counter %q", i, need.Name)
			}
			if free := d.Counters[j].Free - int64(sign)*need.Amount; free < 0 || free > d.Counters[j].Size {
				return fmt.Errorf("device %d would have %d of %s free", i, free, need.Name)
			}
		}
	}
	return nil
}

// take gives the request what it wants of the node, or with -1 gives it back.
func take(n *Node, r *Request, devices []int, sign int) {
	n.Free.CPU -= int64(sign) * r.CPU
	n.Free.Memory -= int64(sign) * r.Memory
	n.Free.Pods -= int64(sign)
	if c := r.class(); c >= 0 {
		n.Classes[c] += sign
	}
	for _, i := range devices {
		d := &n.Devices[i]
		d.Free -= sign * r.Share
		for _, need := range r.Needs {
			for j := range d.Counters {
				if d.Counters[j].Name == need.Name {
					d.Counters[j].Free -= int64(sign) * need.Amount
				}
			}
		}
	}
}

// firstDevices are the first that have room.
func (*Board) firstDevices(n *Node, r *Request) []int {
	out := make([]int, 0, r.Count)
	for i := 0; i < len(n.Devices) && len(out) < r.Count; i++ {
		if r.usable(&n.Devices[i]) {
			out = append(out, i)
		}
	}
	return out
}

// Fragmentation is how many idle thousandths a request of the workload can be
// expected not to use, over all nodes.
func (b *Board) Fragmentation() float64 {
	if b.total == 0 {
		return 0
	}
	return float64(b.sum) / float64(b.total)
}

// Idle is how many thousandths of devices are free.
func (b *Board) Idle() int64 { return b.free }

// Snapshot is a copy of the board as it is.
func (b *Board) Snapshot() Snapshot {
	var s Snapshot
	for i := range b.nodes {
		s.Nodes = append(s.Nodes, b.nodes[i].clone())
	}
	for _, h := range b.holds {
		if h.Milli != 0 {
			s.Holds = append(s.Holds, *h)
		}
	}
	slices.SortFunc(s.Holds, func(a, b Hold) int { return slices.Compare(a.Models, b.Models) })
	return s
}

// Choose is Decide for who does not ask why: it returns nil where there is no room.
func (b *Board) Choose(r Request) (*Decision, error) { return b.decide(&r) }
