package main

import (
	"fmt"
	"math/rand"
	"time"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/defrag"
	"polder.dev/polder/sched/trace"
)

// defragFill is how much of the cluster was asked for, in percent, and defragMoves the
// most moves of the plan.
const (
	defragFill  = 80
	defragMoves = 100
)

// defragment fills the cluster of a trace without thought, as a scheduler does that
// spreads, and plans what to move.
func (b *bench) defragment(nodes []sched.Node, pods []trace.Pod) error {
	var before, after, rooms, more, took []float64
	for i := range int64(b.runs) {
		s, work, workload, err := scattered(nodes, pods, rand.New(rand.NewSource(firstSeed+i)))
		if err != nil {
			return err
		}
		began := time.Now()
		p, err := defrag.Make(s, work, defrag.Config{Policy: "polder", Workload: workload, MovesMax: defragMoves})
		if err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		before, after = append(before, p.Before.Fragmented/sched.Whole), append(after, p.After.Fragmented/sched.Whole)
		rooms, more = append(rooms, float64(p.Before.Room[3].Requests)), append(more, float64(p.After.Room[3].Requests))
	}
	note := fmt.Sprintf("openb default, placed at random until %d %% arrived; at most %d moves", defragFill, defragMoves)
	b.add("devices that are idle and of no use, before defragmentation", "", before, note)
	b.add("the same, after", "", after, "")
	b.add("room for requests of 8 whole devices, before defragmentation", "", rooms, "")
	b.add("the same, after", "", more, "")
	b.add("time to plan", "s", took, "")
	return nil
}

// scattered is the cluster with pods at random places.
func scattered(nodes []sched.Node, pods []trace.Pod, draw *rand.Rand) (s sched.Snapshot, work []defrag.Work, w sched.Workload, err error) {
	b, err := sched.NewBoard(sched.Snapshot{Nodes: nodes}, sched.Config{Policy: "random", Draw: draw.Intn})
	if err != nil {
		return s, nil, w, err
	}
	capacity, arrived := b.Idle(), int64(0)
	var asked []sched.Request
	for _, i := range draw.Perm(len(pods)) {
		r := pods[i].Request
		asked = append(asked, r)
		if arrived >= capacity*defragFill/100 {
			continue
		}
		arrived += r.Milli()
		d, err := b.Choose(r)
		if err != nil {
			return s, nil, w, err
		}
		if d == nil {
			continue
		}
		if err := b.Place(r, *d); err != nil {
			return s, nil, w, err
		}
		work = append(work, defrag.Work{Name: pods[i].Name, Request: r, Decision: *d, Movable: true, Cost: float64(draw.Intn(600)) * float64(r.Count)})
	}
	return b.Snapshot(), work, sched.Typical(asked), nil
}
