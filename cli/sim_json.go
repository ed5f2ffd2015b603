package cli

import (
	"math"
	"strconv"

	"polder.dev/polder/sched/sim"
)

// simRun is a policy's result for programs. Allocation and fragmentation are percent
// of the cluster's devices, by what had arrived in percent of them.
type simRun struct {
	Allocation    map[string]float64 `json:"allocation"`
	Fragmentation map[string]float64 `json:"fragmentation"`
	Pods          int                `json:"pods"`
	// Refused pods found no room: when they arrived, or, with departures, ever.
	Refused int        `json:"refused"`
	Wait    *sim.Waits `json:"waitSeconds,omitempty"`
	// InUse is the mean over time of what is in use, in percent.
	InUse float64 `json:"inUse,omitempty"`
	// Why tells, of the first seed, which requests found no room, the most common first.
	Why []simWhy `json:"why,omitempty"`
	// Before is the same for the cluster without what was added.
	Before *simRun  `json:"before,omitempty"`
	WhatIf []string `json:"whatIf,omitempty"`
}

type simWhy struct {
	Pods    int    `json:"pods"`
	Request string `json:"request"`
	Reason  string `json:"reason"`
}

// simRuns is the result of several policies.
type simRuns struct {
	Policies map[string]*simRun `json:"policies"`
}

// simJSON is one run if there was one policy, and else all by name. The last variant is
// the one that was asked for.
func simJSON(variants []variant, whatIf []string) any {
	all := simRuns{Policies: map[string]*simRun{}}
	last := variants[len(variants)-1]
	for i, c := range last.runs {
		r := runOf(&c.Result)
		if len(variants) > 1 {
			r.Before, r.WhatIf = runOf(&variants[0].runs[i].Result), whatIf
		}
		all.Policies[c.Name] = r
	}
	if len(last.runs) == 1 {
		return all.Policies[last.runs[0].Name]
	}
	return all
}

func runOf(r *sim.Result) *simRun {
	out := &simRun{Allocation: map[string]float64{}, Fragmentation: map[string]float64{}, Pods: r.Pods, Refused: r.Refused, Wait: r.Waits}
	if r.Waits != nil {
		out.InUse = thousandths(r.Waits.Use)
	}
	for _, w := range r.Why {
		out.Why = append(out.Why, simWhy{w.Pods, w.Request.String(), w.Refusal.String()})
	}
	for _, b := range r.Buckets {
		key := strconv.Itoa(b.Arrived)
		out.Allocation[key], out.Fragmentation[key] = thousandths(b.Allocation), thousandths(b.Fragmentation)
	}
	return out
}

// thousandths cuts off the digits that say nothing.
func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }
