package sim

import (
	"cmp"
	"slices"

	"polder.dev/polder/sched"
)

// Why is a request that found no room, how many pods made it, and what the nodes
// lacked when the run was over.
type Why struct {
	Request sched.Request
	Pods    int
	Refusal sched.Refusal
}

// whyMax is how many requests are told of, those of most pods.
const whyMax = 5

// unmet counts requests without room.
type unmet map[string]*Why

func (u unmet) add(r sched.Request) {
	key := r.Shape()
	if u[key] == nil {
		u[key] = &Why{Request: r}
	}
	u[key].Pods++
}

// tell asks the board about the most common.
func (u unmet) tell(b *sched.Board) []Why {
	var all []Why
	for _, w := range u {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b Why) int {
		return cmp.Or(b.Pods-a.Pods, cmp.Compare(a.Request.Shape(), b.Request.Shape()))
	})
	all = all[:min(len(all), whyMax)]
	for i := range all {
		all[i].Refusal = b.Explain(all[i].Request)
	}
	return all
}
