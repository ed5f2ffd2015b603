package sched

import (
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSetIsPlaceByAnother: a board that is told of nodes decides as one that placed
// what is on them.
func TestSetIsPlaceByAnother(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewSource(seed))
	nodes := []Node{node("a", 32, "T4", Whole, Whole), node("b", 32, "H100", Whole, Whole), node("c", 16, "T4", Whole), node("d", 8, "")}
	requests := []Request{
		{CPU: 1000, Count: 1, Share: 300, Models: []string{"T4"}}, {CPU: 2000, Count: 1, Share: 500},
		{CPU: 1000, Count: 1, Share: Whole}, {CPU: 500},
	}
	config := Config{Policy: "polder", Workload: Typical(requests)}
	placed, err := NewBoard(Snapshot{Nodes: nodes}, config)
	if err != nil {
		t.Fatal(err)
	}
	told, err := NewBoard(Snapshot{Nodes: nodes}, config)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		r := requests[draw.Intn(len(requests))]
		want, err := placed.Choose(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := told.Rank(r, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			if len(got) != 0 {
				t.Fatalf("%s: %+v, want none", r, got)
			}
			continue
		}
		if diff := cmp.Diff([]Decision{*want}, got); diff != "" {
			t.Fatal(r, diff)
		}
		if err := placed.Place(r, *want); err != nil {
			t.Fatal(err)
		}
		for _, n := range placed.Snapshot().Nodes {
			if err := told.Set(n); err != nil {
				t.Fatal(err)
			}
		}
		told.Hold(r, r.Milli())
		if placed.Fragmentation() != told.Fragmentation() || placed.Idle() != told.Idle() {
			t.Fatalf("fragmentation %v and %v, idle %d and %d", placed.Fragmentation(), told.Fragmentation(), placed.Idle(), told.Idle())
		}
	}
}

func TestSetRefusesOtherDevices(t *testing.T) {
	b, err := NewBoard(Snapshot{Nodes: []Node{node("a", 8, "T4", Whole)}}, Config{Policy: "fgd"})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]Node{
		"another node": node("b", 8, "T4", Whole), "another model": node("a", 8, "P4", Whole),
		"one more": node("a", 8, "T4", Whole, Whole), "too much": node("a", 8, "T4", 2*Whole),
	} {
		if b.Set(n) == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestRankAsksWhoMay(t *testing.T) {
	b, err := NewBoard(Snapshot{Nodes: []Node{node("a", 8, "T4", 500), node("b", 8, "T4", Whole), node("c", 8, "T4", 300)}}, Config{Policy: "bestfit"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Rank(Request{Count: 1, Share: 400}, 3, func(n string) bool { return n != "a" })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Node != "b" {
		t.Errorf("%+v, want b alone", got)
	}
}
