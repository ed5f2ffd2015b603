package sched

import (
	"fmt"
	"slices"
	"strings"
)

// Config is how a [Board] decides.
type Config struct {
	// Policy is the name of one of [Policies].
	Policy string
	// Workload is what requests are expected to be like, all of them: a policy looks at
	// as much of it as it wants.
	Workload Workload
	// Draw returns a number from 0 to n-1, for the policy random, which has no chance
	// of its own; the others draw nothing.
	Draw func(n int) int
}

// Policy is a way to choose among the nodes that have room.
type Policy struct {
	Name string
	What string // in a sentence, for people

	coverage int // of the workload that it looks at, in percent
	make     func(*Board) chooser
}

// Policies lists them, plainest first.
func Policies() []Policy {
	return []Policy{
		{"random", "any node with room, any device", Coverage, func(b *Board) chooser { return &random{b} }},
		{"dotprod", "the node whose free CPU and devices are least like what is asked", Coverage, plain(dotProduct)},
		{"clustering", "a node that runs the like of it", Coverage, plain(clustering)},
		{"packing", "devices in use before idle ones, nodes in use before idle ones", Coverage, plain(packing)},
		{"bestfit", "the node that has the least left", Coverage, func(b *Board) chooser { return &bestFit{b} }},
		{"fgd", "the node that least is lost on for what is expected: fragmentation gradient descent", Coverage, func(b *Board) chooser { return &gradient{b: b, steepness: published} }},
		{"polder", "as fgd, and leaving models to requests that can run on no other", 100, newScarce},
	}
}

// PolicyNames lists the names.
func PolicyNames() []string {
	var names []string
	for _, p := range Policies() {
		names = append(names, p.Name)
	}
	return names
}

func policyOf(name string) (Policy, error) {
	all := Policies()
	i := slices.IndexFunc(all, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Policy{}, fmt.Errorf("policy %q is not known; choose one of %s", name, strings.Join(PolicyNames(), ", "))
	}
	return all[i], nil
}

// chooser is a policy at work on a board.
type chooser interface {
	// score of placing r on node i, which has room for it; more is better. It depends
	// on the node alone, so that it holds until the node changes.
	score(i int, r *Request) int32
	// best of the nodes whose score is not none, the first of equals.
	best(scores []int32, r *Request) (node int, score int64)
	// devices of node i that r gets.
	devices(i int, r *Request) []pick
}

// none is the score of a node without room.
const none = -1 << 31

// highest is the first of the nodes with the highest score, or -1.
func highest(scores []int32) (int, int64) {
	at, top := -1, int32(none)
	for i, s := range scores {
		if s > top {
			at, top = i, s
		}
	}
	return at, int64(top)
}
