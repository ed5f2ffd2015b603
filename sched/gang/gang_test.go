package gang

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"polder.dev/polder/sched"
)

// cluster has racks of nodes with so many devices each.
func cluster(racks ...[]int) sched.Snapshot {
	var s sched.Snapshot
	for r, nodes := range racks {
		for i, devices := range nodes {
			n := sched.Node{Name: fmt.Sprintf("r%d-n%d", r, i), Size: sched.Amount{CPU: 96000, Memory: 512 << 30, Pods: 100}, Domain: []sched.Label{{Level: "rack", Name: fmt.Sprintf("r%d", r)}}}
			n.Free = n.Size
			for range devices {
				n.Devices = append(n.Devices, sched.Device{Model: "H100", Free: sched.Whole})
			}
			s.Nodes = append(s.Nodes, n)
		}
	}
	return s
}

func of(n, count int) []sched.Request {
	return slices.Repeat([]sched.Request{{CPU: 4000, Count: count, Share: sched.Whole}}, n)
}

func board(t *testing.T, s sched.Snapshot, workload ...sched.Request) *sched.Board {
	t.Helper()
	b, err := sched.NewBoard(s, sched.Config{Policy: "polder", Workload: sched.Typical(workload)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDomains(t *testing.T) {
	s := cluster([]int{8, 8, 8}, []int{8, 8}, []int{4, 4})
	for _, c := range []struct {
		what   string
		gang   Gang
		domain string // "" for none
		says   string
	}{
		{"the tightest rack", Gang{Requests: of(8, 1), Required: "rack"}, "r2", ""},
		{"the rack that has room", Gang{Requests: of(2, 8), Required: "rack"}, "r1", ""},
		{"one host", Gang{Requests: of(8, 1), Required: Host}, "r0-n0", ""},
		{"a host if there is one", Gang{Requests: of(4, 1), Required: "rack", Preferred: []string{Host}}, "r2-n0", ""},
		{"else a rack", Gang{Requests: of(10, 1), Required: "rack", Preferred: []string{Host}}, "r1", ""},
		{"else anywhere", Gang{Requests: of(40, 1), Preferred: []string{Host, "rack"}}, "*", ""},
		{"no rack is large enough", Gang{Requests: of(4, 8), Required: "rack"}, "", "all 4 workers must be placed together in one rack; the nearest of 3 is r0, where 1 find no room, each for 8 devices"},
		{"nor is the cluster", Gang{Requests: of(60, 1)}, "", "all 60 workers must be placed together, and 12 of them find no room, each for 1 device"},
		{"not where it did not fit", Gang{Requests: of(8, 1), Required: "rack", Not: []sched.Label{{Level: "rack", Name: "r2"}}}, "r1", ""},
		{"a level that no node has", Gang{Requests: of(2, 1), Required: "zone"}, "", "no node says in which zone it is"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := board(t, s, of(1, 8)...)
			before := b.Snapshot()
			p, short, err := Place(b, c.gang)
			if err != nil {
				t.Fatal(err)
			}
			if c.domain == "" {
				if p != nil || short == nil || !strings.Contains(short.String(), c.says) {
					t.Errorf("placed %+v; %v", p, short)
				}
				if diff := cmp.Diff(before, b.Snapshot(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("the board changed:\n%s", diff)
				}
				return
			}
			if p == nil || strings.TrimSuffix(p.Domain.Name, "*") != strings.Trim(c.domain, "*") || len(p.Decisions) != len(c.gang.Requests) {
				t.Fatalf("placed %+v; %v", p, short)
			}
		})
	}
}

// TestDomainsInOrder: those that have room come first, and of them the one that is left with
// least.
func TestDomainsInOrder(t *testing.T) {
	b := board(t, cluster([]int{8, 8}, []int{2}, []int{4, 4}, []int{3}))
	want := []Domain{{sched.Label{Level: "rack", Name: "r2"}, 0}, {sched.Label{Level: "rack", Name: "r0"}, 0}, {sched.Label{Level: "rack", Name: "r3"}, 1}, {sched.Label{Level: "rack", Name: "r1"}, 2}}
	if diff := cmp.Diff(want, Domains(b, Gang{Requests: of(4, 1), Required: Host}, "rack")); diff != "" {
		t.Error(diff)
	}
}

// TestWhatIsHardGoesFirst: the small want the only node that the large could have.
func TestWhatIsHardGoesFirst(t *testing.T) {
	s := cluster([]int{2, 1, 1})
	s.Nodes[0].Devices[0].Model, s.Nodes[0].Devices[1].Model = "A", "A"
	s.Nodes[1].Devices[0].Model, s.Nodes[2].Devices[0].Model = "A", "A"
	narrow := sched.Request{CPU: 90000, Count: 1, Share: sched.Whole}
	s.Nodes[1].Free.CPU, s.Nodes[1].Size.CPU, s.Nodes[2].Free.CPU, s.Nodes[2].Size.CPU = 8000, 8000, 8000, 8000
	small := sched.Request{CPU: 8000, Count: 1, Share: sched.Whole, Models: []string{"A"}}
	b := board(t, s)
	p, short, err := Place(b, Gang{Requests: []sched.Request{small, small, narrow}})
	if err != nil || p == nil || p.Decisions[2].Node != "r0-n0" {
		t.Errorf("%+v, %v, %v", p, short, err)
	}
}

func TestBadInput(t *testing.T) {
	b := board(t, cluster([]int{8}))
	for want, g := range map[string]Gang{
		"a gang of 0 members": {}, "a gang of 10001": {Requests: of(10001, 1)}, "member 1: count": {Requests: []sched.Request{{}, {Count: -1}}},
	} {
		if _, _, err := Place(b, g); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestAllOrNone, on random clusters: a gang is in one domain and whole, or the board is
// untouched. A gang of equals that counts into a domain does get in.
func TestAllOrNone(t *testing.T) {
	for i := range 60 {
		seed := time.Now().UnixNano() + int64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { allOrNone(t, rand.New(rand.NewSource(seed))) })
	}
}

func allOrNone(t *testing.T, draw *rand.Rand) {
	var racks [][]int
	for range 1 + draw.Intn(4) {
		var nodes []int
		for range 1 + draw.Intn(4) {
			nodes = append(nodes, 1+draw.Intn(8))
		}
		racks = append(racks, nodes)
	}
	b := board(t, cluster(racks...), of(1, 1+draw.Intn(8))...)
	kinds := []sched.Request{{CPU: 4000, Count: 1, Share: 500}, {CPU: 4000, Count: 1, Share: sched.Whole}, {CPU: 4000, Count: 2, Share: sched.Whole}, {CPU: 24000, Count: 4, Share: sched.Whole}}
	for range 6 {
		g := Gang{Required: []string{"", "rack", Host}[draw.Intn(3)]}
		if draw.Intn(2) == 0 {
			g.Preferred = []string{Host}
		}
		same := draw.Intn(2) == 0
		k := draw.Intn(len(kinds))
		for range 1 + draw.Intn(8) {
			if !same {
				k = draw.Intn(len(kinds))
			}
			g.Requests = append(g.Requests, kinds[k])
		}
		before := b.Snapshot()
		p, short, err := Place(b, g)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			if diff := cmp.Diff(before, b.Snapshot(), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("the board changed:\n%s", diff)
			}
			if same && short.Short == 0 {
				t.Errorf("%d times %s were counted in and got no room: %s", len(g.Requests), g.Requests[0], short)
			}
			continue
		}
		for _, d := range p.Decisions {
			if g.Required == Host && d.Node != p.Domain.Name || g.Required == "rack" && p.Domain.Level == "rack" && !strings.HasPrefix(d.Node, p.Domain.Name+"-") {
				t.Errorf("a member is on %s, outside of %+v", d.Node, p.Domain)
			}
		}
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			var racks [][]int
			for range nodes / 20 {
				racks = append(racks, slices.Repeat([]int{8}, 20))
			}
			on, err := sched.NewBoard(cluster(racks...), sched.Config{Policy: "polder", Workload: sched.Typical(of(1, 8))})
			if err != nil {
				b.Fatal(err)
			}
			g := Gang{Requests: of(100, 1), Required: "rack"}
			for b.Loop() {
				p, _, err := Place(on, g)
				if err != nil || p == nil {
					b.Fatal(p, err)
				}
				for m, d := range p.Decisions {
					if err := on.Release(g.Requests[m], d); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// TestSorts: who may not be on a node is not there, and is counted as short where that
// leaves no room.
func TestSorts(t *testing.T) {
	s := cluster([]int{2, 2})
	tainted := func(sort, node string) bool { return sort == "tolerant" || node != "r0-n0" }
	b := board(t, s)
	p, short, err := Place(b, Gang{Requests: of(4, 1), Sorts: []string{"", "tolerant", "", "tolerant"}, May: tainted})
	if err != nil || p == nil {
		t.Fatal(p, short, err)
	}
	for _, m := range []int{0, 2} {
		if p.Decisions[m].Node != "r0-n1" {
			t.Errorf("member %d is on %s", m, p.Decisions[m].Node)
		}
	}
	if p, short, err := Place(board(t, s), Gang{Requests: of(4, 1), Sorts: make([]string, 4), May: tainted}); err != nil || p != nil || short.Short != 2 {
		t.Errorf("placed %+v; %v; %v", p, short, err)
	}
	if _, _, err := Place(b, Gang{Requests: of(2, 1), Sorts: []string{""}}); err == nil || !strings.Contains(err.Error(), "2 members with 1 sorts") {
		t.Error(err)
	}
}
