package sched

import (
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func node(name string, cores int64, model string, free ...int) Node {
	n := Node{Name: name, Size: Amount{cores * 1000, 64 << 30, 100}}
	n.Free = n.Size
	for _, f := range free {
		n.Devices = append(n.Devices, Device{Model: model, Free: f})
	}
	return n
}

func TestRefusalSaysWhatIsMissing(t *testing.T) {
	full := node("full", 32, "H100", 190, 500)
	small := node("small", 2, "H100", Whole)
	poor := node("poor", 32, "H100", Whole)
	poor.Free.Memory = 0
	busy := node("busy", 32, "H100", Whole)
	busy.Free.Pods = 0
	s := Snapshot{Nodes: []Node{full, node("other", 32, "T4", Whole), node("bare", 32, ""), small, small, poor, busy}}
	for _, c := range []struct {
		name string
		r    Request
		want string
	}{
		{"a share of one model", Request{CPU: 4000, Memory: 1, Count: 1, Share: 810, Models: []string{"H100"}},
			"0 of 7 nodes: 2 have no H100, 2 have too little CPU, 1 has too little memory, 1 has all places for pods taken, 1 has no device with 810 milli free"},
		{"several devices", Request{CPU: 4000, Count: 2, Share: Whole},
			"0 of 7 nodes: 5 have fewer than 2 such devices, 1 has no device, 1 has fewer than 2 devices free"},
		{"a part", Request{Count: 1, Share: 250, Models: []string{"H100 2g"}}, "0 of 7 nodes: 7 have no H100 2g"},
		{"devices together", Request{Count: 2, Share: Whole, Together: "x/fabric", Models: []string{"H100"}}, "0 of 7 nodes: 7 have no H100 with a fabric"},
		{"another place", Request{Within: []Label{{"rack", "r7"}}}, "0 of 7 nodes: 7 are not in rack r7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := s.Explain(c.r).String(); got != c.want {
				t.Errorf("%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestDevicesThatMustBeTogether: in one domain of a level, where there is one with room;
// of several, in the one that has least left.
func TestDevicesThatMustBeTogether(t *testing.T) {
	n := node("n", 64, "MI300X", Whole, Whole, Whole, Whole, Whole, Whole, Whole)
	for i := range n.Devices[:6] { // the seventh is in none
		n.Devices[i].Domain = []Label{{"a/hive", []string{"one", "two"}[i/3]}}
	}
	two := Request{Count: 2, Share: Whole, Together: "a/hive"}
	for _, policy := range PolicyNames() {
		b, err := NewBoard(Snapshot{Nodes: []Node{n}}, Config{Policy: policy, Draw: rand.New(rand.NewSource(1)).Intn})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Place(Request{Count: 1, Share: Whole}, Decision{Node: "n", Devices: []int{3}}); err != nil {
			t.Fatal(err)
		}
		if k := Places(&b.nodes[0], &two, 9); k != 2 {
			t.Errorf("%s: there are %d places, want one in each hive", policy, k)
		}
		for _, want := range []string{"two", "one"} {
			d, no, err := b.Decide(two)
			if err != nil || d == nil {
				t.Fatalf("%s: %v %v", policy, no, err)
			}
			for _, k := range d.Devices {
				if at := n.Devices[k].in("a/hive"); at != want {
					t.Errorf("%s: device %d is in hive %q, want %s", policy, k, at, want)
				}
			}
			if err := b.Place(two, *d); err != nil {
				t.Error(err)
			}
		}
		if _, no, _ := b.Decide(two); no == nil || no.String() != "0 of 1 nodes: 1 has fewer than 2 devices free of one hive" {
			t.Errorf("%s: %v", policy, no)
		}
		if err := b.Place(two, Decision{Node: "n", Devices: []int{2, 6}}); err == nil || !strings.Contains(err.Error(), "not in one a/hive") {
			t.Errorf("%s: a device of no hive: %v", policy, err)
		}
	}
}

// TestFragments follows the definition by hand: a node with devices of 1000, 500 and
// 190 free.
func TestFragments(t *testing.T) {
	n := node("n", 8, "A", 1000, 500, 190)
	for _, c := range []struct {
		name string
		r    Request
		want int64
	}{
		{"no device", Request{CPU: 1}, 1690},
		{"another model", Request{Count: 1, Share: 100, Models: []string{"B"}}, 1690},
		{"too little CPU", Request{CPU: 9000, Count: 1, Share: 100}, 1690},
		{"more devices than are whole", Request{Count: 2, Share: Whole}, 1690},
		{"a whole one", Request{Count: 1, Share: Whole}, 690},
		{"a share", Request{Count: 1, Share: 470}, 190},
		{"a small share", Request{Count: 1, Share: 100}, 0},
	} {
		w := Workload{Kinds: []Kind{{c.r, 3}}}
		if got := w.Fragments(&n); got != 3*c.want {
			t.Errorf("%s: %d fragments, want %d", c.name, got/3, c.want)
		}
	}
}

func TestPriceKeepsRoomForThoseWhoNeedIt(t *testing.T) {
	s := Snapshot{Nodes: []Node{node("a", 64, "T4", Whole, Whole), node("b", 64, "G2", Whole, Whole, Whole, Whole), node("c", 64, "G2", Whole, Whole, Whole, Whole)}}
	plain, choosy := Request{CPU: 1000, Count: 1, Share: Whole}, Request{CPU: 1000, Count: 1, Share: Whole, Models: []string{"T4"}}
	w := Workload{Kinds: []Kind{{plain, 7}, {choosy, 3}}}
	b, err := NewBoard(s, Config{Policy: "polder", Workload: w})
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		d, _, _ := b.Decide(plain)
		if d == nil || d.Node == "a" {
			t.Fatalf("decision %+v; the T4 are for those who want no other", d)
		}
		if err := b.Place(plain, *d); err != nil {
			t.Fatal(err)
		}
	}
	if d, _, _ := b.Decide(plain); d == nil || d.Node != "a" {
		t.Errorf("decision %+v; a price refuses nobody", d)
	}
}

func TestCoverage(t *testing.T) {
	var all []Request
	for i, n := range []int{60, 30, 6, 4} {
		for range n {
			all = append(all, Request{CPU: int64(i + 1), Memory: int64(n), Within: []Label{{"rack", "x"}}})
		}
	}
	w := Typical(all)
	if len(w.Kinds) != 4 || w.Kinds[0].Weight != 60 || w.Kinds[0].Request.Memory != 0 || w.Kinds[0].Request.Within != nil {
		t.Errorf("workload is %+v", w)
	}
	for percent, want := range map[int]int{100: 4, 96: 3, 95: 3, 90: 2, 50: 1} {
		if got := len(w.Cover(percent).Kinds); got != want {
			t.Errorf("%d %% are covered by %d kinds, want %d", percent, got, want)
		}
	}
}

func TestLearnerForgets(t *testing.T) {
	l, err := NewLearner(100)
	if err != nil {
		t.Fatal(err)
	}
	old, now := Request{CPU: 1}, Request{CPU: 2}
	for range 5000 {
		l.Learn(old)
	}
	for range 100 {
		l.Learn(now)
	}
	if diff := cmp.Diff(Workload{[]Kind{{now, 1 << 20}, {old, 1 << 20}}}, l.Workload(), cmp.Comparer(func(a, b int64) bool { return max(a, b)-min(a, b) < 1<<14 })); diff != "" {
		t.Errorf("after the half-life both are as common: %s", diff)
	}
	for range 2500 {
		l.Learn(now)
	}
	if w := l.Workload(); len(w.Kinds) != 1 || w.Kinds[0].Request.CPU != 2 {
		t.Errorf("workload is %+v; the old kind has halved 26 times", w)
	}
	if _, err := NewLearner(0); err == nil {
		t.Error("a half-life of nothing is taken")
	}
}

func TestLearnerIsBounded(t *testing.T) {
	l, _ := NewLearner(10)
	for i := range 3 * learnedMax {
		l.Learn(Request{CPU: int64(i)})
	}
	if len(l.kinds) != learnedMax {
		t.Errorf("%d kinds are remembered", len(l.kinds))
	}
	if w := l.Workload(); w.Check() != nil || w.Kinds[0].Request.CPU != 3*learnedMax-1 {
		t.Errorf("the newest is not the first: %+v, %v", w.Kinds[0], w.Check())
	}
}

func TestBadInputIsNamed(t *testing.T) {
	good := Snapshot{Nodes: []Node{node("n", 8, "A", Whole)}}
	with := func(change func(*Node)) Snapshot {
		n := good.Nodes[0].clone()
		change(&n)
		return Snapshot{Nodes: []Node{n}}
	}
	for _, c := range []struct {
		name string
		s    Snapshot
		c    Config
		want string
	}{
		{"an unknown policy", good, Config{Policy: "best"}, "choose one of random"},
		{"random without chance", good, Config{Policy: "random"}, "set Draw"},
		{"a name twice", Snapshot{Nodes: []Node{node("n", 1, "A"), node("n", 1, "A")}}, Config{Policy: "fgd"}, `its name "n"`},
		{"too much CPU", with(func(n *Node) { n.Free.CPU = 9000 }), Config{Policy: "fgd"}, "9000 of 8000 CPU"},
		{"too much device", with(func(n *Node) { n.Devices[0].Free = 1001 }), Config{Policy: "fgd"}, "1001 thousandths"},
		{"no model", with(func(n *Node) { n.Devices[0].Model = "" }), Config{Policy: "fgd"}, "no model"},
		{"a weight", good, Config{Policy: "fgd", Workload: Workload{[]Kind{{Request{}, 0}}}}, "weight is 0"},
	} {
		if _, err := NewBoard(c.s, c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	b, err := NewBoard(good, Config{Policy: "fgd"})
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]Request{
		"cpu is -1":      {CPU: -1},
		"memory is -1":   {Memory: -1},
		"count is -1":    {Count: -1},
		"share is 1001":  {Count: 1, Share: 1001},
		"of no device":   {Share: 5},
		"are to be":      {CPU: 1, Together: "hive"},
		"are not sorted": {Count: 1, Share: 1, Models: []string{"b", "a"}},
	} {
		if _, _, err := b.Decide(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	for want, d := range map[string]Decision{
		`no node "x"`:                 {Node: "x", Devices: []int{0}},
		"2 devices are named":         {Node: "n", Devices: []int{0, 0}},
		"not there":                   {Node: "n", Devices: []int{1}},
		"would have 1500 thousandths": {Node: "n", Devices: []int{0}},
	} {
		if err := b.Release(Request{Count: 1, Share: 500}, d); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "pods would be") {
			t.Errorf("%+v: %v, want %q", d, err, want)
		}
	}
}

// TestRankElsewhere: leaving a node out leaves no trace in what later decisions are made
// from.
func TestRankElsewhere(t *testing.T) {
	seeds(t, 20, func(t *testing.T, draw *rand.Rand) {
		b := madeUpBoard(t, draw, "fgd")
		for range 50 {
			r := madeUpRequest(draw)
			first, err := b.Choose(r)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				continue
			}
			other, err := b.Rank(r, 1, func(node string) bool { return node != first.Node })
			if err != nil || len(other) > 0 && other[0].Node == first.Node {
				t.Fatalf("%+v, %v; not on %s", other, err, first.Node)
			}
			if again, err := b.Choose(r); err != nil || again.Node != first.Node || again.Score != first.Score {
				t.Fatalf("chose %+v and then %+v, %v", first, again, err)
			}
		}
	})
}
