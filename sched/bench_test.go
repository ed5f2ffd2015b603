package sched

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// BenchmarkDecide makes decisions with the policy polder on clusters that are three
// quarters full, of nodes with 8 devices of four models, while pods come and go. What
// people ask for is made up: 60 kinds, a fifth of them choosy. It reports percentiles of
// the time of a decision with its placement.
func BenchmarkDecide(b *testing.B) {
	for _, nodes := range []int{100, 300, 1000, 3000, 10000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			draw := rand.New(rand.NewSource(1))
			board, all, kinds := busyBoard(b, draw, nodes)
			decide(b, draw, board, all, kinds)
		})
	}
}

// BenchmarkDecideParts does so where all devices are cut as with MIG, and people ask for
// parts of all sizes.
func BenchmarkDecideParts(b *testing.B) {
	for _, nodes := range []int{100, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			draw := rand.New(rand.NewSource(1))
			var s Snapshot
			c := mig("H100")
			for i := range nodes {
				s.Nodes = append(s.Nodes, cutNode(fmt.Sprintf("n%05d", i), c, 8))
				s.Nodes[i].Size.CPU, s.Nodes[i].Free.CPU = 1000_000, 1000_000
			}
			var kinds []Request
			for cpu := range int64(9) {
				for _, model := range []string{"H100", "H100 1g", "H100 2g", "H100 3g", "H100 4g"} {
					r := of(model)
					r.CPU = (cpu + 1) * 1000
					kinds = append(kinds, r)
				}
			}
			board, all := fillBoard(b, draw, s, kinds)
			decide(b, draw, board, all, kinds)
		})
	}
}

// decide measures decisions while what was placed comes and goes.
func decide(b *testing.B, draw *rand.Rand, board *Board, all []placed, kinds []Request) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		k := draw.Intn(len(all))
		if err := board.Release(all[k].r, all[k].d); err != nil {
			b.Fatal(err)
		}
		r := kinds[draw.Intn(len(kinds))]
		began := time.Now()
		d, _, err := board.Decide(r)
		if err == nil && d != nil {
			err = board.Place(r, *d)
		}
		took = append(took, time.Since(began))
		if err != nil {
			b.Fatal(err)
		}
		if d == nil {
			all = slices.Delete(all, k, k+1)
		} else {
			all[k] = placed{r, *d}
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
	b.ReportMetric(float64(took[len(took)-1].Nanoseconds())/1e3, "max-us")
}

// BenchmarkFirst is a decision for a shape that was never asked for, so that every
// node is looked at anew.
func BenchmarkFirst(b *testing.B) {
	for _, nodes := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			draw := rand.New(rand.NewSource(1))
			board, _, _ := busyBoard(b, draw, nodes)
			cpu := int64(0)
			for b.Loop() {
				cpu++
				if _, _, err := board.Decide(Request{CPU: cpu, Count: 1, Share: 300}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func busyBoard(b *testing.B, draw *rand.Rand, nodes int) (*Board, []placed, []Request) {
	b.Helper()
	var s Snapshot
	models := []string{"G2", "T4", "H100", "MI300"}
	for i := range nodes {
		s.Nodes = append(s.Nodes, node(fmt.Sprintf("n%05d", i), 96, models[i*len(models)/nodes], Whole, Whole, Whole, Whole, Whole, Whole, Whole, Whole))
		s.Nodes[i].Size.Memory, s.Nodes[i].Free.Memory = 1<<40, 1<<40
	}
	var kinds []Request
	for range 60 {
		r := Request{CPU: int64(1+draw.Intn(12)) * 1000, Memory: int64(draw.Intn(32)) << 30, Count: 1, Share: (1 + draw.Intn(10)) * 100}
		if r.Share == Whole {
			r.Count = 1 << draw.Intn(4)
		}
		if draw.Intn(5) == 0 {
			r.Models = []string{models[draw.Intn(len(models))]}
		}
		kinds = append(kinds, r)
	}
	board, all := fillBoard(b, draw, s, kinds)
	return board, all, kinds
}

// fillBoard places requests of some kinds until three quarters are taken.
func fillBoard(b *testing.B, draw *rand.Rand, s Snapshot, kinds []Request) (*Board, []placed) {
	b.Helper()
	board, err := NewBoard(s, Config{Policy: "polder", Workload: Typical(kinds)})
	if err != nil {
		b.Fatal(err)
	}
	full := board.Idle() / 4
	var all []placed
	for board.Idle() > full {
		r := kinds[draw.Intn(len(kinds))]
		d, err := board.Choose(r)
		if err != nil {
			b.Fatal(err)
		}
		if d == nil {
			continue
		}
		if err := board.Place(r, *d); err != nil {
			b.Fatal(err)
		}
		all = append(all, placed{r, *d})
	}
	return board, all
}

// BenchmarkRefuse is a request that has no room, and the reasons for it.
func BenchmarkRefuse(b *testing.B) {
	board, _, _ := busyBoard(b, rand.New(rand.NewSource(1)), 10000)
	for b.Loop() {
		_, no, err := board.Decide(Request{CPU: 97000, Count: 8, Share: Whole, Models: []string{"H100", "T4"}})
		if err != nil || no == nil {
			b.Fatal("there is room", err)
		}
	}
}
