package sched

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seeds are of the runs of a random test; each prints its own when it fails.
func seeds(t *testing.T, n int, run func(t *testing.T, draw *rand.Rand)) {
	t.Helper()
	first := time.Now().UnixNano()
	for i := range n {
		seed := first + int64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { run(t, rand.New(rand.NewSource(seed))) })
	}
}

// madeUpCuts are devices whose parts have places, as those of MIG do, and one whose
// parts have none.
var madeUpCuts = []*Cut{mig("A"), mig("B"), {
	Counters: []Counter{{"share", Whole}},
	Parts:    []Part{{"C", Whole, []int64{Whole}}, {"C half", 500, []int64{500}}, {"C half", 500, []int64{500}}, {"C third", 333, []int64{333}}, {"C third", 333, []int64{333}}, {"C third", 333, []int64{333}}},
}}

var madeUpParts = [][]string{{"A 1g"}, {"A 2g"}, {"A 3g"}, {"A 1g", "A 2g", "B 3g"}, {"B 1g", "C third"}, {"C half"}, {"A", "A 3g", "A 4g"}}

// madeUpCluster has nodes of all sorts: empty, of one model, of two, and with devices
// that are cut.
func madeUpCluster(draw *rand.Rand, nodes int) Snapshot {
	var s Snapshot
	models := []string{"A", "B", "C"}
	for i := range nodes {
		n := Node{Name: fmt.Sprintf("n%03d", i), Size: Amount{int64(8+draw.Intn(100)) * 1000, int64(32+draw.Intn(300)) << 30, 40}}
		n.Domain = []Label{{"rack", fmt.Sprintf("r%d", i%3)}}
		n.Free = n.Size
		sort, model := draw.Intn(6), models[draw.Intn(3)]
		for k := range draw.Intn(9) {
			d := Device{Model: model, Free: Whole}
			if sort == 0 {
				d.Model = models[k%3]
			}
			if sort == 1 || sort == 2 && k%2 == 0 {
				d = madeUpCuts[draw.Intn(len(madeUpCuts))].Whole()
			}
			if sort != 3 || k%3 > 0 {
				d.Domain = []Label{{"fabric", fmt.Sprint(k / 4)}}
			}
			n.Devices = append(n.Devices, d)
		}
		s.Nodes = append(s.Nodes, n)
	}
	return s
}

func madeUpRequest(draw *rand.Rand) Request {
	r := Request{CPU: int64(draw.Intn(12)) * 1000, Memory: int64(draw.Intn(40)) << 30}
	switch draw.Intn(7) {
	case 0:
	case 1, 2, 3:
		r.Count, r.Share = 1, []int{100, 230, 470, 810}[draw.Intn(4)]
	case 4:
		r.Count, r.Share = 1+draw.Intn(3), 1
		r.Models = madeUpParts[draw.Intn(len(madeUpParts))]
		if draw.Intn(3) == 0 {
			r.Together = "fabric"
		}
		return r
	case 5:
		r.Count, r.Share = 1+draw.Intn(3), 500
	default:
		r.Count, r.Share = 1<<draw.Intn(4), Whole
	}
	if r.Count > 0 && draw.Intn(3) == 0 {
		r.Together = "fabric"
	}
	if r.Count > 0 && draw.Intn(3) == 0 {
		r.Models = [][]string{{"A"}, {"B"}, {"A", "B"}, {"C"}}[draw.Intn(4)]
	}
	if draw.Intn(8) == 0 {
		r.Within = []Label{{"rack", "r1"}}
	}
	return r
}

func madeUpWorkload(draw *rand.Rand) Workload {
	var all []Request
	for range 200 {
		all = append(all, madeUpRequest(draw))
	}
	return Typical(all)
}

func madeUpBoard(t *testing.T, draw *rand.Rand, policy string) *Board {
	t.Helper()
	b, err := NewBoard(madeUpCluster(draw, 30), Config{Policy: policy, Workload: madeUpWorkload(draw), Draw: draw.Intn})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type placed struct {
	r Request
	d Decision
}

// TestNothingIsGivenTwice places and releases at random with every policy, and looks
// at the books after each step.
func TestNothingIsGivenTwice(t *testing.T) {
	for _, policy := range PolicyNames() {
		t.Run(policy, func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, draw *rand.Rand) {
				b := madeUpBoard(t, draw, policy)
				empty := b.Snapshot()
				var all []placed
				for range 400 {
					if len(all) > 0 && draw.Intn(4) == 0 {
						k := draw.Intn(len(all))
						if err := b.Release(all[k].r, all[k].d); err != nil {
							t.Fatal(err)
						}
						all = slices.Delete(all, k, k+1)
					} else {
						all = append(all, place(t, b, madeUpRequest(draw))...)
					}
					audit(t, b, empty, all)
				}
				for _, p := range all {
					if err := b.Release(p.r, p.d); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(empty, b.Snapshot()); diff != "" {
					t.Errorf("after everything was given back: %s", diff)
				}
			})
		})
	}
}

// place does so where there is room. A refusal must be true of every node.
func place(t *testing.T, b *Board, r Request) []placed {
	t.Helper()
	d, no, err := b.Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	if d == nil {
		if no.By[Fits] != 0 || no.Nodes != 30 {
			t.Fatalf("%+v was refused, and there is room: %s", r, no)
		}
		return nil
	}
	if err := b.Place(r, *d); err != nil {
		t.Fatal(err)
	}
	return []placed{{r, *d}}
}

// audit sums up what was placed, and compares with what the board says is free.
func audit(t *testing.T, b *Board, empty Snapshot, all []placed) {
	t.Helper()
	if err := (&Snapshot{Nodes: b.nodes}).Check(); err != nil {
		t.Fatal(err)
	}
	used, left := map[string]int{}, map[string][]int64{}
	cpu := map[string]int64{}
	for _, p := range all {
		cpu[p.d.Node] += p.r.CPU
		for at, k := range p.d.Devices {
			if first := &b.nodes[b.at[p.d.Node]].Devices[p.d.Devices[0]]; p.r.Together != "" && (first.in("fabric") == "" || first.in("fabric") != b.nodes[b.at[p.d.Node]].Devices[k].in("fabric")) {
				t.Fatalf("%s has %v of %s", p.r, p.d.Devices, p.d.Node)
			}
			d, name := &b.nodes[b.at[p.d.Node]].Devices[k], fmt.Sprint(p.d.Node, k)
			if d.Cut == nil {
				used[name] += p.r.Share
				continue
			}
			part := &d.Cut.Parts[p.d.Parts[at]]
			if !p.r.allows(part.Model) || part.Share < p.r.Share {
				t.Fatalf("%s has %+v", p.r, *part)
			}
			used[name] += part.Share
			if left[name] == nil {
				left[name] = d.Cut.Whole().Left
			}
			for c, n := range part.Takes {
				left[name][c] -= n
			}
		}
	}
	idle := int64(0)
	for i := range b.nodes {
		n := &b.nodes[i]
		if n.Free.CPU != empty.Nodes[i].Free.CPU-cpu[n.Name] {
			t.Fatalf("node %s: %d of CPU free, %d used", n.Name, n.Free.CPU, cpu[n.Name])
		}
		for k := range n.Devices {
			if n.Devices[k].Free != Whole-used[fmt.Sprint(n.Name, k)] {
				t.Fatalf("node %s, device %d: %d free, %d used", n.Name, k, n.Devices[k].Free, used[fmt.Sprint(n.Name, k)])
			}
			if want := left[fmt.Sprint(n.Name, k)]; want != nil && !slices.Equal(want, n.Devices[k].Left) {
				t.Fatalf("node %s, device %d: %d are left of its counters, and should be %d", n.Name, k, n.Devices[k].Left, want)
			}
		}
		idle += n.Idle()
	}
	if f := b.Fragmentation(); idle != b.Idle() || f < 0 || f > float64(idle) {
		t.Fatalf("%d are free, by the board %d, and %g fragments", idle, b.Idle(), f)
	}
}

// TestRememberedScoresAreRight: a board that has seen much decides as a fresh one on
// the same snapshot, and as the definition of fragments has it.
func TestRememberedScoresAreRight(t *testing.T) {
	for _, policy := range PolicyNames()[1:] {
		t.Run(policy, func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, draw *rand.Rand) {
				b := madeUpBoard(t, draw, policy)
				for i := range 60 {
					place(t, b, madeUpRequest(draw))
					fresh, err := NewBoard(b.Snapshot(), b.config)
					if err != nil {
						t.Fatal(err)
					}
					r := madeUpRequest(draw)
					one, oneNo, _ := b.Decide(r)
					two, twoNo, _ := fresh.Decide(r)
					if diff := cmp.Diff(one, two); diff != "" || (oneNo == nil) != (twoNo == nil) {
						t.Fatalf("%+v: %s", r, diff)
					}
					if i%10 > 0 {
						continue // this is slow
					}
					for i := range b.nodes {
						if want := b.seen.workload.Fragments(&b.nodes[i]); b.seen.of[i] != want {
							t.Fatalf("node %s has %d fragments, by the definition %d", b.nodes[i].Name, b.seen.of[i], want)
						}
					}
				}
			})
		})
	}
}

// TestTriedIsWhatComes: the fragments that a placement is judged by are those that
// there are when it is done.
func TestTriedIsWhatComes(t *testing.T) {
	for _, policy := range []string{"fgd", "polder"} {
		seeds(t, 3, func(t *testing.T, draw *rand.Rand) {
			b := madeUpBoard(t, draw, policy)
			g, ok := b.chooser.(*gradient)
			if !ok {
				g = &b.chooser.(*scarce).gradient
			}
			for range 200 {
				r := madeUpRequest(draw)
				d, _, _ := b.Decide(r)
				if d == nil {
					continue
				}
				device, after, i := -1, int64(0), b.at[d.Node]
				if in, _ := b.together(i, &r); !g.tabled(i, in) {
					var picks []pick
					picks, after, _ = g.tryEach(i, in)
					if diff := cmp.Diff(*d, decision(d.Node, picks, d.Score)); diff != "" {
						t.Fatalf("%+v: %s", r, diff)
					}
				} else if device, after = g.try(i, &r); device >= 0 && !slices.Equal(d.Devices, []int{device}) {
					t.Fatalf("%+v: device %d was best, and %v is chosen", r, device, d.Devices)
				}
				if err := b.Place(r, *d); err != nil {
					t.Fatal(err)
				}
				if b.seen.of[b.at[d.Node]] != after {
					t.Fatalf("%+v on %s leaves %d fragments, and was to leave %d", r, d.Node, b.seen.of[b.at[d.Node]], after)
				}
			}
		})
	}
}
