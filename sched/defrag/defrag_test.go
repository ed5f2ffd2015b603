package defrag

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/sched"
)

// node has so many devices of one model, none of them in use.
func node(name string, devices int) sched.Node {
	n := sched.Node{Name: name, Size: sched.Amount{CPU: 64000, Memory: 256 << 30, Pods: 100}}
	n.Free = n.Size
	for range devices {
		n.Devices = append(n.Devices, sched.Device{Model: "H100", Free: sched.Whole})
	}
	return n
}

func whole8() sched.Request { return sched.Request{CPU: 8000, Count: 8, Share: sched.Whole} }

// run puts work where it is said to be.
func run(t *testing.T, s sched.Snapshot, work ...Work) sched.Snapshot {
	t.Helper()
	b, err := sched.NewBoard(s, sched.Config{Policy: "bestfit"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range work {
		if err := b.Place(w.Request, w.Decision); err != nil {
			t.Fatal(err)
		}
	}
	return b.Snapshot()
}

// one is work of so many thousandths of one device.
func one(name, node string, device, share int, movable bool) Work {
	return Work{Name: name, Request: sched.Request{CPU: 1000, Count: 1, Share: share}, Decision: sched.Decision{Node: node, Devices: []int{device}}, Movable: movable, Cost: 60}
}

func TestStragglersMakeRoomForAWholeNode(t *testing.T) {
	work := []Work{one("a1", "a", 0, 1000, true), one("a2", "a", 5, 1000, true), one("b1", "b", 0, 1000, true), one("b2", "b", 1, 1000, false)}
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8), node("b", 8)}}, work...)
	p, err := Make(s, work, Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{whole8()})})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Moves) != 2 || p.Moves[0].Step != p.Moves[1].Step {
		t.Fatalf("moves are %+v", p.Moves)
	}
	for _, m := range p.Moves {
		if m.From.Node != "a" || m.To.Node != "b" || m.Cost != 60 {
			t.Errorf("%+v; the node whose work can all be moved is a", m)
		}
	}
	if before, after := p.Before.Room[3], p.After.Room[3]; before.Requests != 0 || after.Requests != 1 || after.Count != 8 {
		t.Errorf("there is room for %+v, and before for %+v", after, before)
	}
	if p.Before.Fragmented != 12000 || p.After.Fragmented != 4000 || p.Before.Idle != p.After.Idle {
		t.Errorf("from %+v to %+v", p.Before, p.After)
	}
}

func TestWhatCannotBeMovedStays(t *testing.T) {
	work := []Work{one("a1", "a", 0, 1000, false), one("b1", "b", 0, 1000, false)}
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8), node("b", 8)}}, work...)
	p, err := Make(s, work, Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{whole8()})})
	if err != nil || len(p.Moves) != 0 || p.Before.Fragmented != p.After.Fragmented {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestTheCheaperMoves: of two nodes that could be emptied, the one whose work was saved
// last.
func TestTheCheaperMoves(t *testing.T) {
	dear, cheap := one("dear", "a", 0, 1000, true), one("cheap", "b", 0, 1000, true)
	dear.Cost = 36000
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8), node("b", 8)}}, dear, cheap)
	p, err := Make(s, []Work{dear, cheap}, Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{whole8()})})
	if err != nil || len(p.Moves) != 1 || p.Moves[0].Name != "cheap" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestBadInput(t *testing.T) {
	w := one("w", "a", 0, 1000, true)
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8)}}, w)
	elsewhere, unnamed, free := w, w, w
	elsewhere.Decision.Node, unnamed.Name, free.Cost = "z", "", -1
	for want, work := range map[string][]Work{"not where it says": {elsewhere}, "its name": {unnamed}, "cost": {free}, "that of another": {w, w}} {
		if _, err := Make(s, work, Config{Policy: "fgd"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := Make(s, []Work{w}, Config{Policy: "none"}); err == nil {
		t.Error("a policy that is not known is taken")
	}
	if _, err := Make(s, []Work{w}, Config{Policy: "fgd", MovesMax: -1}); err == nil {
		t.Error("less than no moves are planned")
	}
}

// TestPlansCanBeCarriedOut, on random clusters: each move finds its room while all else
// stays, the cluster is never worse, and nothing is moved that cannot be or twice.
func TestPlansCanBeCarriedOut(t *testing.T) {
	for i := range 30 {
		seed := time.Now().UnixNano() + int64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { carryOut(t, rand.New(rand.NewSource(seed))) })
	}
}

func carryOut(t *testing.T, draw *rand.Rand) {
	var s sched.Snapshot
	for i := range 3 + draw.Intn(8) {
		s.Nodes = append(s.Nodes, node(fmt.Sprintf("n%02d", i), 1+draw.Intn(8)))
	}
	b, err := sched.NewBoard(s, sched.Config{Policy: "random", Draw: draw.Intn})
	if err != nil {
		t.Fatal(err)
	}
	var work []Work
	var asked []sched.Request
	for i := range 40 {
		r := sched.Request{CPU: 1000, Count: 1, Share: []int{250, 500, 810, 1000}[draw.Intn(4)]}
		if draw.Intn(4) == 0 {
			r = sched.Request{CPU: 1000, Count: 1 << draw.Intn(4), Share: sched.Whole}
		}
		asked = append(asked, r)
		d, err := b.Choose(r)
		if err != nil {
			t.Fatal(err)
		}
		if d == nil || draw.Intn(3) == 0 {
			continue
		}
		if err := b.Place(r, *d); err != nil {
			t.Fatal(err)
		}
		work = append(work, Work{Name: fmt.Sprint("w", i), Request: r, Decision: *d, Movable: draw.Intn(4) > 0, Within: draw.Intn(2) > 0, Cost: float64(draw.Intn(1000))})
	}
	p, err := Make(b.Snapshot(), work, Config{Policy: "polder", Workload: sched.Typical(asked), MovesMax: 1 + draw.Intn(10)})
	if err != nil {
		t.Fatal(err)
	}
	byName, moved := map[string]Work{}, map[string]bool{}
	for _, w := range work {
		byName[w.Name] = w
	}
	for _, m := range p.Moves {
		w := byName[m.Name]
		if !w.Movable || moved[m.Name] || m.Gain <= 0 {
			t.Errorf("%+v of %+v", m, w)
		}
		moved[m.Name] = true
		within := m.From.Node == m.To.Node
		if within { // its own are free by then
			if err := b.Release(w.Request, m.From); err != nil || !w.Within {
				t.Fatalf("%+v of %+v: %v", m, w, err)
			}
		}
		if err := b.Place(w.Request, m.To); err != nil {
			t.Fatalf("there is no room for %+v: %v", m, err)
		}
		if within {
			continue
		}
		if err := b.Release(w.Request, m.From); err != nil {
			t.Fatal(err)
		}
	}
	if p.After.Fragmented > p.Before.Fragmented || p.After.Idle != p.Before.Idle || b.Idle() != p.After.Idle {
		t.Errorf("from %+v to %+v", p.Before, p.After)
	}
}

// TestAGroupIsMovedOnce: its cost is counted once, and no second step stops it again.
func TestAGroupIsMovedOnce(t *testing.T) {
	work := []Work{one("g/0", "a", 0, 1000, true), one("g/1", "a", 1, 1000, true), one("g/2", "b", 0, 1000, true), one("x", "c", 0, 1000, false)}
	for i := range 3 {
		work[i].Group = "g"
	}
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8), node("b", 8), node("c", 8)}}, work...)
	p, err := Make(s, work, Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{whole8()}), MovesMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	steps := map[int]bool{}
	for _, m := range p.Moves {
		steps[m.Step] = true
		if m.Group != "g" {
			t.Errorf("%+v", m)
		}
	}
	if len(steps) != 1 || p.After.Fragmented >= p.Before.Fragmented {
		t.Errorf("moves are %+v", p.Moves)
	}
}

// TestWorkGoesWhereItMay, and nowhere else.
func TestWorkGoesWhereItMay(t *testing.T) {
	work := []Work{one("w", "a", 0, 1000, true), one("x", "b", 0, 1000, false), one("y", "c", 0, 1000, false)}
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 8), node("b", 8), node("c", 8)}}, work...)
	for _, only := range []string{"b", "c", "z"} {
		work[0].May = func(node string) bool { return node == only }
		p, err := Make(s, work, Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{whole8()})})
		if err != nil {
			t.Fatal(err)
		}
		if only == "z" && len(p.Moves) > 0 || only != "z" && (len(p.Moves) != 1 || p.Moves[0].To.Node != only) {
			t.Errorf("moves are %+v; it may go to %s alone", p.Moves, only)
		}
	}
}

// TestPartsOfANodeComeTogether: two halves on two devices become one device that is whole,
// on one node that nothing can leave.
func TestPartsOfANodeComeTogether(t *testing.T) {
	work := []Work{one("left", "a", 0, 500, true), one("right", "a", 1, 500, true)}
	for i := range work {
		work[i].May, work[i].Within = func(string) bool { return false }, true
	}
	s := run(t, sched.Snapshot{Nodes: []sched.Node{node("a", 2)}}, work...)
	workload := sched.Typical([]sched.Request{{CPU: 1000, Count: 1, Share: sched.Whole}})
	p, err := Make(s, work, Config{Policy: "polder", Workload: workload})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Moves) != 1 || p.Moves[0].From.Node != "a" || p.Moves[0].To.Node != "a" || slices.Equal(p.Moves[0].From.Devices, p.Moves[0].To.Devices) || p.Moves[0].Cost != 60 {
		t.Fatalf("moves are %+v", p.Moves)
	}
	if p.Before.Fragmented != 1000 || p.After.Fragmented != 0 || p.Before.Room[0].Requests != 0 || p.After.Room[0].Requests != 1 {
		t.Errorf("from %+v to %+v", p.Before, p.After)
	}
	for i := range work {
		work[i].Within = false
	}
	if p, err := Make(s, work, Config{Policy: "polder", Workload: workload}); err != nil || len(p.Moves) != 0 {
		t.Errorf("what may not be moved within its node is: %+v, %v", p, err)
	}
}
