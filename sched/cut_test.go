package sched

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// mig is how a device of eight slices of memory and seven of computing is cut, as it is
// with MIG: a part has its place.
func mig(model string) *Cut {
	c := &Cut{}
	for i := range 8 {
		c.Counters = append(c.Counters, Counter{fmt.Sprint("memory", i), 1})
	}
	c.Counters = append(c.Counters, Counter{"slices", 7})
	part := func(name string, slices int64, at, memory int) {
		p := Part{Model: strings.TrimSpace(model + " " + name), Share: int(slices * Whole / 7), Takes: make([]int64, 9)}
		for i := at; i < at+memory; i++ {
			p.Takes[i] = 1
		}
		p.Takes[8] = slices
		c.Parts = append(c.Parts, p)
	}
	part("", 7, 0, 8)
	for at := range 7 {
		part("1g", 1, at, 1)
	}
	for _, at := range []int{0, 2, 4} {
		part("2g", 2, at, 2)
	}
	part("3g", 3, 0, 4)
	part("3g", 3, 4, 4)
	part("4g", 4, 0, 4)
	return c
}

// cutNode has so many devices that are cut so.
func cutNode(name string, c *Cut, devices int) Node {
	n := node(name, 64, "")
	for range devices {
		n.Devices = append(n.Devices, c.Whole())
	}
	return n
}

func of(model string) Request { return Request{CPU: 1000, Count: 1, Share: 1, Models: []string{model}} }

// TestFragmentsOfWhatIsCut follows the definition by hand.
func TestFragmentsOfWhatIsCut(t *testing.T) {
	n := cutNode("n", mig("A"), 2)
	n.Devices[0].cut(1, 1) // the first slice: no 3g or 4g at the front, no 2g either
	for _, c := range []struct {
		r    Request
		want int64
	}{
		{of("A"), 858},
		{of("A 1g"), 0},
		{of("A 3g"), 0},
		{of("A 4g"), 858},
		{Request{Count: 3, Share: 1, Models: []string{"A 3g"}}, 0},
		{Request{Count: 4, Share: 1, Models: []string{"A 3g"}}, 1858},
		{Request{Count: 5, Share: 1, Models: []string{"A 2g"}}, 0},
		{Request{Count: 6, Share: 1, Models: []string{"A 2g"}}, 1858},
		{Request{Count: 1, Share: Whole}, 858},
		{Request{Count: 1, Share: 300}, 0},
	} {
		w := Workload{Kinds: []Kind{{c.r, 3}}}
		if got := w.Fragments(&n); got != 3*c.want {
			t.Errorf("%s: %d fragments, want %d", c.r, got/3, c.want)
		}
	}
}

// TestRoomIsAllThereIs: as many parts are found to fit at once as there are, though
// taking them in their order finds fewer.
func TestRoomIsAllThereIs(t *testing.T) {
	across := &Cut{Counters: []Counter{{"a", 1}, {"b", 1}, {"c", 1}}, Parts: []Part{
		{"P", 300, []int64{1, 1, 0}}, {"P", 300, []int64{1, 0, 0}}, {"P", 300, []int64{0, 1, 0}}, {"P", 300, []int64{0, 0, 1}},
	}}
	d := across.Whole()
	r := of("P")
	if got := d.room(&r, 9); got != 3 {
		t.Errorf("%d parts fit, want the 3 of one counter each", got)
	}
	draw := rand.New(rand.NewSource(1))
	for range 200 {
		c := &Cut{Counters: []Counter{{"a", 4}, {"b", 4}}}
		for range 1 + draw.Intn(7) {
			c.Parts = append(c.Parts, Part{"P", 100, []int64{int64(draw.Intn(4)), int64(draw.Intn(4))}})
		}
		most := 0
		for set := range 1 << len(c.Parts) {
			a, b, n := int64(0), int64(0), 0
			for i := range c.Parts {
				if set>>i&1 == 1 {
					a, b, n = a+c.Parts[i].Takes[0], b+c.Parts[i].Takes[1], n+1
				}
			}
			if a <= 4 && b <= 4 {
				most = max(most, n)
			}
		}
		d := c.Whole()
		if got := d.room(&r, 9); got != most {
			t.Fatalf("%d of %v fit, want %d", got, c.Parts, most)
		}
	}
}

// TestPartsGoWhereTheyBreakLeast: a small part onto the device that is cut already, at a
// place where larger parts still fit beside it, and a whole device stays whole.
func TestPartsGoWhereTheyBreakLeast(t *testing.T) {
	w := Workload{Kinds: []Kind{{of("A"), 2}, {of("A 4g"), 1}, {of("A 3g"), 1}, {of("A 1g"), 3}}}
	for _, policy := range []string{"fgd", "polder"} {
		b, err := NewBoard(Snapshot{Nodes: []Node{cutNode("a", mig("A"), 2), cutNode("b", mig("A"), 2)}}, Config{Policy: policy, Workload: w})
		if err != nil {
			t.Fatal(err)
		}
		var at []Decision
		for _, model := range []string{"A 1g", "A 1g", "A 3g", "A 1g", "A", "A", "A"} {
			r := of(model)
			d, no, err := b.Decide(r)
			if err != nil || d == nil {
				t.Fatalf("%s, %s: %v %v", policy, model, no, err)
			}
			if err := b.Place(r, *d); err != nil {
				t.Fatal(err)
			}
			at = append(at, *d)
		}
		for _, d := range at[1:4] {
			if d.Node != at[0].Node || d.Devices[0] != at[0].Devices[0] {
				t.Errorf("%s: parts are on %+v, of which each could be with the first", policy, at[:4])
				break
			}
		}
		takes := b.nodes[0].Devices[0].Cut.Parts[at[0].Parts[0]].Takes
		if slices.Contains(takes[:4], 1) {
			t.Errorf("%s: the first part takes %v; a 4g has its place there", policy, takes)
		}
		if _, no, _ := b.Decide(of("A")); no == nil || !strings.Contains(no.String(), "2 have no device") {
			t.Errorf("%s: with one device cut and three taken, the answer is %v", policy, no)
		}
	}
}

// TestNoMoreIsGivenThanIsAsked: of parts that would do the smallest is given, and of
// several alike more than one of a device.
func TestNoMoreIsGivenThanIsAsked(t *testing.T) {
	any := Request{Count: 1, Share: 1, Models: []string{"A", "A 1g", "A 2g", "A 3g", "A 4g"}}
	for _, policy := range PolicyNames()[5:] {
		b, err := NewBoard(Snapshot{Nodes: []Node{cutNode("a", mig("A"), 2)}}, Config{Policy: policy, Workload: Workload{Kinds: []Kind{{of("A"), 1}, {Request{CPU: 1}, 5}}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 7 {
			d, _, err := b.Decide(any)
			if err != nil || d == nil || d.Devices[0] != 0 || b.nodes[0].Devices[0].Cut.Parts[d.Parts[0]].Model != "A 1g" {
				t.Fatalf("%s, number %d: %+v %v", policy, i, d, err)
			}
			if err := b.Place(any, *d); err != nil {
				t.Fatal(err)
			}
		}
		r := Request{Count: 8, Share: 1, Models: []string{"A 1g"}}
		if _, no, _ := b.Decide(r); no == nil || Places(&b.nodes[0], &Request{Count: 1, Share: 1, Models: r.Models}, 99) != 7 || Places(&b.nodes[0], &Request{Count: 2, Share: 1, Models: r.Models}, 99) != 3 {
			t.Errorf("%s: 7 parts are left: %v", policy, no)
		}
		r.Count = 7
		d, _, err := b.Decide(r)
		if err != nil || d == nil {
			t.Fatal(d, err)
		}
		if err := b.Place(r, *d); err != nil {
			t.Error(err)
		}
	}
}

// TestPartsHaveAPrice: who can do without parts leaves the devices that have them.
func TestPartsHaveAPrice(t *testing.T) {
	s := Snapshot{Nodes: []Node{cutNode("a", mig("H100"), 2), node("b", 64, "H100", Whole, Whole)}}
	part, whole := of("H100 2g"), Request{Count: 1, Share: Whole}
	b, err := NewBoard(s, Config{Policy: "polder", Workload: Workload{Kinds: []Kind{{part, 8}, {whole, 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	if d, _, _ := b.Decide(whole); d == nil || d.Node != "b" {
		t.Errorf("decision %+v; only node a has parts", d)
	}
	for range 6 {
		d, no, _ := b.Decide(part)
		if no != nil {
			t.Fatal(no)
		}
		if err := b.Place(part, *d); err != nil {
			t.Fatal(err)
		}
	}
	if _, no, _ := b.Decide(part); no == nil || b.Prices()["H100 2g"] != 0 {
		t.Errorf("refusal is %v, and the price %v, where there is nothing left", no, b.Prices())
	}
}

func TestBadCuts(t *testing.T) {
	for want, change := range map[string]func(*Device){
		"cut into nothing":   func(d *Device) { d.Cut = &Cut{} },
		"out of order":       func(d *Device) { d.Cut.Counters[1].Name = "a" },
		"name a model":       func(d *Device) { d.Cut.Parts[0].Model = "" },
		"takes 8 of the 7":   func(d *Device) { d.Cut.Parts[0].Takes[8] = 8 },
		"from none to all":   func(d *Device) { d.Left[0] = 2 },
		"whether they are":   func(d *Device) { d.Gone = nil },
		"thousandths of the": func(d *Device) { d.Cut.Parts[0].Share = 1001 },
	} {
		n := cutNode("a", mig("A"), 1)
		change(&n.Devices[0])
		if _, err := NewBoard(Snapshot{Nodes: []Node{n}}, Config{Policy: "fgd"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	b, err := NewBoard(Snapshot{Nodes: []Node{cutNode("a", mig("A"), 1)}}, Config{Policy: "fgd"})
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Count: 2, Share: 1, Models: []string{"A 3g", "A 4g"}}
	for want, d := range map[string]Decision{
		"no part 99":                {Node: "a", Devices: []int{0, 0}, Parts: []int{1, 99}},
		"no part -1":                {Node: "a", Devices: []int{0, 0}},
		"1 parts are named":         {Node: "a", Devices: []int{0, 0}, Parts: []int{11}},
		"would have -1 of memory0":  {Node: "a", Devices: []int{0, 0}, Parts: []int{11, 13}},
		"not there, or named twice": {Node: "a", Devices: []int{0, 0}, Parts: []int{11, 11}},
	} {
		if err := b.Place(r, d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", d, err, want)
		}
	}
}
