package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Decision is where a request goes.
type Decision struct {
	Node    string
	Devices []int // indices in the node's Devices
	// Parts are indices in the cuts of these devices, of which there may be several of
	// one device; -1 for a device that is not cut, and nil if none is.
	Parts []int
	Score int64 // more is better, among decisions for one request on one snapshot
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

	sort  []int    // of each node
	sorts []sorted // what nodes there are, by their devices
	free  int64    // thousandths of devices

	seen, told *tally // fragments as the policy counts them, and as they are reported
	reach      reach

	version []uint32 // of each node, counts its changes
	memory  memory
}

// sorted is a sort of nodes: those whose devices are of the same models, and can be cut
// into the same parts.
type sorted struct {
	models  []string // of the devices and their parts, none twice
	plain   bool     // one model at most, and none is cut
	cut     bool     // some are
	example int      // one such node
	size    int64    // thousandths of all their devices
	free    int64
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
	b := &Board{config: c, at: make(map[string]int, len(s.Nodes))}
	b.nodes = make([]Node, len(s.Nodes))
	for i := range s.Nodes {
		b.nodes[i] = s.Nodes[i].clone()
	}
	slices.SortFunc(b.nodes, byName)
	b.index()
	b.told = b.tally(c.Workload.Cover(Coverage))
	b.seen = b.told
	if p.coverage != Coverage {
		b.seen = b.tally(c.Workload.Cover(p.coverage))
	}
	b.reach = newReach(b)
	for _, h := range s.Holds {
		b.reach.hold(&Request{Count: 1, Models: h.Models}, h.Milli)
	}
	b.chooser = p.make(b)
	return b, nil
}

// index sorts the nodes by what devices they have.
func (b *Board) index() {
	b.sort, b.version = make([]int, len(b.nodes)), make([]uint32, len(b.nodes))
	byDevices, cuts := map[string]int{}, map[*Cut]string{}
	for i := range b.nodes {
		node := &b.nodes[i]
		b.at[node.Name] = i
		key := sortOf(node, cuts)
		s, ok := byDevices[key]
		if !ok {
			s = len(b.sorts)
			byDevices[key] = s
			b.sorts = append(b.sorts, newSort(node, i))
		}
		b.sort[i], b.version[i] = s, 1
		b.sorts[s].size += int64(len(node.Devices)) * Whole
		b.sorts[s].free += node.Idle()
		b.free += node.Idle()
	}
}

// sortOf tells nodes apart by their devices. What cuts look like is remembered.
func sortOf(n *Node, cuts map[*Cut]string) string {
	var parts []string
	for i := range n.Devices {
		d := &n.Devices[i]
		part := strconv.Quote(d.Model)
		if d.Cut != nil {
			if cuts[d.Cut] == "" {
				cuts[d.Cut] = fmt.Sprintf("%#v", *d.Cut)
			}
			part += cuts[d.Cut]
		}
		parts = append(parts, part)
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "\n")
}

func newSort(n *Node, at int) sorted {
	s := sorted{example: at}
	for i := range n.Devices {
		d := &n.Devices[i]
		s.models = append(s.models, d.Model)
		if d.Cut == nil {
			continue
		}
		s.cut = true
		for k := range d.Cut.Parts {
			s.models = append(s.models, d.Cut.Parts[k].Model)
		}
	}
	slices.Sort(s.models)
	s.models = slices.Compact(s.models)
	s.plain = !s.cut && len(s.models) < 2
	return s
}

// Decide returns where r would go, or why it goes nowhere. It changes nothing.
func (b *Board) Decide(r Request) (*Decision, *Refusal, error) {
	d, err := b.decide(&r)
	if err != nil || d != nil {
		return d, nil, err
	}
	f := b.Explain(r)
	return nil, &f, nil
}

// Explain counts, over all nodes, what keeps r away now.
func (b *Board) Explain(r Request) Refusal {
	s := Snapshot{Nodes: b.nodes}
	return s.Explain(r)
}

// Choose is Decide for who does not ask why: it returns nil where there is no room.
func (b *Board) Choose(r Request) (*Decision, error) { return b.decide(&r) }

func (b *Board) decide(r *Request) (*Decision, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	i, score := b.chooser.best(b.scores(r), r)
	if i < 0 {
		return nil, nil
	}
	d := decision(b.nodes[i].Name, b.devices(i, r), score)
	return &d, nil
}

// score of a node that has room for r, and devices that r gets there: of the domains that
// they may be together in, those of the best; of equals, of the one with least left.
func (b *Board) score(i int, r *Request) int32 {
	_, score := b.together(i, r)
	return score
}

func (b *Board) devices(i int, r *Request) []pick {
	in, _ := b.together(i, r)
	return b.chooser.devices(i, in)
}

func (b *Board) together(i int, r *Request) (best *Request, score int32) {
	if r.Together == "" {
		return r, b.chooser.score(i, r)
	}
	n, least := &b.nodes[i], 0
	for _, in := range r.apart(n) {
		if !fits(n, in) {
			continue
		}
		s, idle := b.chooser.score(i, in), 0
		for k := range n.Devices {
			if in.near(&n.Devices[k]) {
				idle += n.Devices[k].Free
			}
		}
		if best == nil || s > score || s == score && idle < least {
			best, score, least = in, s, idle
		}
	}
	return best, score
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
	if d.Parts != nil && len(d.Parts) != len(d.Devices) {
		return fmt.Errorf("node %s: %d parts are named of %d devices", d.Node, len(d.Parts), len(d.Devices))
	}
	n, picks := &b.nodes[i], d.picks()
	if err := may(n, r, picks, sign); err != nil {
		return fmt.Errorf("node %s: %w", d.Node, err)
	}
	take(n, r, picks, sign)
	milli := int64(sign) * n.milli(r, picks)
	b.changed(i, -milli)
	b.reach.hold(r, milli)
	return nil
}

// changed counts node i anew, of which so many thousandths of devices more are free.
func (b *Board) changed(i int, free int64) {
	b.version[i]++
	b.seen.update(b.sort[i], i, &b.nodes[i])
	if b.told != b.seen {
		b.told.update(b.sort[i], i, &b.nodes[i])
	}
	b.free += free
	b.sorts[b.sort[i]].free += free
}

// Fragmentation is how many idle thousandths of devices a request of the workload can
// be expected not to use, over all nodes.
func (b *Board) Fragmentation() float64 {
	if b.told.total == 0 {
		return 0
	}
	return float64(b.told.sum) / float64(b.told.total)
}

// Idle is how many thousandths of devices are free.
func (b *Board) Idle() int64 { return b.free }

// Snapshot is a copy of the board as it is.
func (b *Board) Snapshot() Snapshot {
	var s Snapshot
	for i := range b.nodes {
		s.Nodes = append(s.Nodes, b.nodes[i].clone())
	}
	s.Holds = b.reach.list()
	return s
}
