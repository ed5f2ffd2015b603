package gang

import (
	"cmp"
	"slices"

	"polder.dev/polder/sched"
)

type placer struct {
	board *sched.Board
	gang  *Gang
	kinds []kind

	best     *Placement
	bestLost float64 // what is fragmented after it
	err      error
}

// domain is a part of the cluster, and how it suits the gang.
type domain struct {
	label sched.Label
	nodes []*sched.Node
	// room for each kind, up to as many as it has members; short is how many members
	// of all kinds find none. Kinds are counted one by one, so 0 promises nothing.
	room  []int
	short int
	idle  int64 // thousandths of devices
}

// domains are those of a level, best first: those that have room, and of them the one
// that is left with least.
func (p *placer) domains(level string) []*domain {
	byName := map[string]*domain{}
	nodes := p.board.Nodes()
	for i := range nodes {
		n := &nodes[i]
		name, ok := place(n, level)
		if !ok {
			continue
		}
		d := byName[name]
		if d == nil {
			d = &domain{label: sched.Label{Level: level, Name: name}, room: make([]int, len(p.kinds))}
			if level == "" {
				d.label = sched.Label{}
			}
			byName[name] = d
		}
		d.nodes = append(d.nodes, n)
		d.idle += n.Idle()
		for k := range p.kinds {
			if want := len(p.kinds[k].members) - d.room[k]; want > 0 && p.may(k, n.Name) {
				d.room[k] += sched.Places(n, &p.kinds[k].request, want)
			}
		}
	}
	var out []*domain
	for _, d := range byName {
		if slices.Contains(p.gang.Not, d.label) {
			continue
		}
		for k := range p.kinds {
			d.short += len(p.kinds[k].members) - d.room[k]
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *domain) int {
		return cmp.Or(cmp.Compare(a.short, b.short), cmp.Compare(a.idle, b.idle), cmp.Compare(a.label.Name, b.label.Name))
	})
	return out
}

// bar notes which kinds may not be everywhere: to ask about each node for each member
// takes longer than all else.
func (p *placer) bar() {
	if p.gang.May == nil {
		return
	}
	nodes := p.board.Nodes()
	for k := range p.kinds {
		p.kinds[k].barred = slices.ContainsFunc(nodes, func(n sched.Node) bool { return !p.gang.May(p.kinds[k].sort, n.Name) })
	}
}

// may says whether members of a kind may be on a node.
func (p *placer) may(kind int, node string) bool {
	return !p.kinds[kind].barred || p.gang.May(p.kinds[kind].sort, node)
}

// place is the name of the domain of a level that a node is in; ok is false if it is in
// none.
func place(n *sched.Node, level string) (name string, ok bool) {
	switch level {
	case "":
		return "", true
	case Host:
		return n.Name, true
	}
	for _, l := range n.Domain {
		if l.Level == level {
			return l.Name, true
		}
	}
	return "", false
}

// try places the gang in a domain, notes what that loses, and takes it off again. Where
// a kind finds no room behind the others it goes first the next time, for what is hard to
// place is not always what is large.
func (p *placer) try(d *domain) {
	order := make([]int, len(p.kinds))
	for i := range order {
		order[i] = i
	}
	for range len(order) {
		placed, failed := p.fill(d, order)
		if p.err != nil {
			return
		}
		if failed < 0 {
			if lost := p.board.Fragmentation(); p.best == nil || lost < p.bestLost {
				p.best, p.bestLost = &Placement{Decisions: placed, Domain: d.label}, lost
			}
		}
		p.clear(placed)
		if failed <= 0 { // it is done, or the first found no room
			return
		}
		k := order[failed]
		order = slices.Insert(slices.Delete(order, failed, failed+1), 0, k)
	}
}

// fill places the kinds in an order. It returns what it placed, by member, and the place
// in the order of the kind that found no room, or -1.
func (p *placer) fill(d *domain, order []int) (placed []sched.Decision, failed int) {
	placed = make([]sched.Decision, len(p.gang.Requests))
	for at, k := range order {
		r := p.kinds[k].request
		r.Within = inside(r.Within, d.label)
		may := p.filter(k, d)
		for _, m := range p.kinds[k].members {
			best, err := p.board.Rank(r, 1, may)
			if err != nil || len(best) == 0 {
				p.err = err
				return placed, at
			}
			if p.err = p.board.Place(p.gang.Requests[m], best[0]); p.err != nil {
				return placed, at
			}
			placed[m] = best[0]
		}
	}
	return placed, -1
}

// filter says which nodes a kind may be on, as far as its request does not: there is no
// label of a single host. Nil means all.
func (p *placer) filter(kind int, d *domain) func(node string) bool {
	if d.label.Level == Host {
		return func(node string) bool { return node == d.label.Name && p.may(kind, node) }
	}
	if !p.kinds[kind].barred {
		return nil
	}
	return func(node string) bool { return p.may(kind, node) }
}

// inside adds a domain to those that a request must be in.
func inside(all []sched.Label, l sched.Label) []sched.Label {
	if l.Level == "" || l.Level == Host || slices.Contains(all, l) {
		return all
	}
	out := append(slices.Clone(all), l)
	slices.SortFunc(out, func(a, b sched.Label) int { return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Name, b.Name)) })
	return out
}

// clear takes off what was placed.
func (p *placer) clear(placed []sched.Decision) {
	for m, d := range placed {
		if d.Node == "" {
			continue
		}
		if err := p.board.Release(p.gang.Requests[m], d); err != nil && p.err == nil {
			p.err = err
		}
	}
}

// take places the best for good.
func (p *placer) take() (*Placement, *Shortage, error) {
	for m, d := range p.best.Decisions {
		if p.err == nil {
			p.err = p.board.Place(p.gang.Requests[m], d)
		}
	}
	if p.err != nil {
		return nil, nil, p.err
	}
	return p.best, nil, nil
}
