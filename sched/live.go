package sched

import (
	"fmt"
	"reflect"
	"slices"
)

// Set replaces what is free of a node by what somebody else has counted. The node must
// be there with the same devices; one that has others needs another board.
func (b *Board) Set(n Node) error {
	i, ok := b.at[n.Name]
	if !ok {
		return fmt.Errorf("there is no node %q on this board", n.Name)
	}
	if err := n.check(); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	old := &b.nodes[i]
	if !slices.EqualFunc(old.Devices, n.Devices, alike) {
		return fmt.Errorf("node %s: its devices are not those that it had; make another board", n.Name)
	}
	if old.Free == n.Free && old.Size == n.Size && old.Classes == n.Classes && slices.Equal(old.Domain, n.Domain) && slices.EqualFunc(old.Devices, n.Devices, equal) {
		return nil
	}
	more := n.Idle() - old.Idle()
	*old = n.clone()
	b.changed(i, more)
	return nil
}

// alike reports whether two devices differ by what is free only.
func alike(a, b Device) bool {
	return a.Model == b.Model && slices.Equal(a.Domain, b.Domain) && (a.Cut == b.Cut || a.Cut != nil && b.Cut != nil && reflect.DeepEqual(a.Cut, b.Cut))
}

func equal(a, b Device) bool {
	return a.Model == b.Model && a.Free == b.Free && slices.Equal(a.Left, b.Left) && slices.Equal(a.Gone, b.Gone)
}

// Hold notes that requests like r have so many thousandths more, or with a negative
// number less, on nodes that are [Board.Set]; Place and Release do so themselves.
func (b *Board) Hold(r Request, milli int64) { b.reach.hold(&r, milli) }

// Rank is where r would go, the best first, and where it would go if that were not to
// be had: at most k decisions. may, unless nil, says which nodes are asked about.
func (b *Board) Rank(r Request, k int, may func(node string) bool) ([]Decision, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	scores := b.scores(&r)
	if may != nil || k > 1 {
		scores = slices.Clone(scores) // they are remembered, and nodes are struck out below
	}
	for i := 0; may != nil && i < len(scores); i++ {
		if scores[i] != none && !may(b.nodes[i].Name) {
			scores[i] = none
		}
	}
	var out []Decision
	for len(out) < k {
		i, score := b.chooser.best(scores, &r)
		if i < 0 {
			break
		}
		out = append(out, decision(b.nodes[i].Name, b.devices(i, &r), score))
		if len(out) < k {
			scores[i] = none
		}
	}
	return out, nil
}

// Each tells of every node that has room for r how good it is, in the numbers that the
// policy compares, before any that it makes of all of them together.
func (b *Board) Each(r Request, tell func(node string, score int64)) error {
	if err := r.Check(); err != nil {
		return err
	}
	prices := b.prices(&r)
	for i, s := range b.scores(&r) {
		if s == none {
			continue
		}
		v := int64(s)
		if prices != nil {
			v -= int64(prices[b.sort[i]])
		}
		tell(b.nodes[i].Name, v)
	}
	return nil
}

// prices are those of the sorts of nodes, or nil where the policy has none for r.
func (b *Board) prices(r *Request) []float64 {
	p, ok := b.chooser.(*scarce)
	if !ok || r.Count == 0 || len(b.reach.stocks) == 0 {
		return nil
	}
	p.reprice()
	return p.price
}

// Prices are what the models cost now, in points of the score: the most of any node
// that has such a device. Policies without prices charge nothing.
func (b *Board) Prices() map[string]float64 {
	out := map[string]float64{}
	prices := b.prices(&Request{Count: 1, Share: Whole})
	for k := range b.sorts {
		for _, m := range b.sorts[k].models {
			out[m] = max(out[m], 0)
			if prices != nil {
				out[m] = max(out[m], prices[k])
			}
		}
	}
	return out
}
