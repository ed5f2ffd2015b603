package stock

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"polder.dev/polder/sched"
)

const driver = "driver.test"

func amounts(of map[string]string) map[string]resourcev1.Counter {
	out := map[string]resourcev1.Counter{}
	for name, n := range of {
		out[name] = resourcev1.Counter{Value: resource.MustParse(n)}
	}
	return out
}

// piece is a part of a size that takes so much of the set's counters.
func piece(k *Catalogue, size string, takes map[string]string) Piece {
	d := &resourcev1.Device{Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"productName": {StringValue: ptr.To("H100")}}}
	if size != "" {
		d.Attributes["profile"] = resourcev1.DeviceAttribute{StringValue: &size}
	}
	d.ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: "s", Counters: amounts(takes)}}
	return Piece{Device: d, Class: k.Of(driver, d)}
}

// TestCut: parts are measured by the counter that tells best how much they compute, and
// have the models of their sizes; what is divided alike has one cut.
func TestCut(t *testing.T) {
	k := NewCatalogue()
	all := amounts(map[string]string{"memory": "80Gi", "multiprocessors": "132", "slot-0": "1", "slot-1": "1"})
	pieces := func() []Piece {
		return []Piece{
			piece(k, "", map[string]string{"memory": "80Gi", "multiprocessors": "132", "slot-0": "1", "slot-1": "1"}),
			piece(k, "3g", map[string]string{"memory": "40Gi", "multiprocessors": "60", "slot-0": "1"}),
			piece(k, "3g", map[string]string{"memory": "40Gi", "multiprocessors": "60", "slot-1": "1"}),
		}
	}
	got := k.Cut(all, pieces())
	want := &sched.Cut{
		Counters: []sched.Counter{{Name: "memory", Size: 80 << 30}, {Name: "multiprocessors", Size: 132}, {Name: "slot-0", Size: 1}, {Name: "slot-1", Size: 1}},
		Parts: []sched.Part{
			{Model: "H100", Share: 1000, Takes: []int64{80 << 30, 132, 1, 1}},
			{Model: "H100 3g", Share: 454, Takes: []int64{40 << 30, 60, 1, 0}},
			{Model: "H100 3g", Share: 454, Takes: []int64{40 << 30, 60, 0, 1}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if k.Cut(all, pieces()) != got {
		t.Error("the same cut twice")
	}
	for _, p := range pieces() {
		if p.Class.Odd || p.Class.Share(nil) != map[string]int{"H100": 1000, "H100 3g": 454}[p.Class.Model] {
			t.Errorf("%+v", p.Class)
		}
	}
}

// TestOddCuts are upstream's.
func TestOddCuts(t *testing.T) {
	set := map[string]string{"a": "10", "b": "10"}
	for name, change := range map[string]func(set map[string]string, p []Piece){
		"no counter that all take of": func(_ map[string]string, p []Piece) {
			delete(p[1].Device.ConsumesCounters[0].Counters, "a")
			p[1].Device.ConsumesCounters[0].Counters["b"] = resourcev1.Counter{Value: resource.MustParse("1")}
			delete(p[2].Device.ConsumesCounters[0].Counters, "b")
		},
		"half a counter": func(_ map[string]string, p []Piece) {
			p[1].Device.ConsumesCounters[0].Counters = amounts(map[string]string{"a": "500m"})
		},
		"more than all": func(_ map[string]string, p []Piece) {
			p[1].Device.ConsumesCounters[0].Counters = amounts(map[string]string{"a": "11"})
		},
		"another counter": func(_ map[string]string, p []Piece) {
			p[1].Device.ConsumesCounters[0].Counters = amounts(map[string]string{"c": "1"})
		},
		"half a set": func(set map[string]string, _ []Piece) { set["a"] = "10500m" },
		"a second set": func(_ map[string]string, p []Piece) {
			p[1].Device.ConsumesCounters = append(p[1].Device.ConsumesCounters, resourcev1.DeviceCounterConsumption{CounterSet: "t"})
		},
		"given out many times": func(_ map[string]string, p []Piece) { p[1].Device.AllowMultipleAllocations = ptr.To(true) },
		"bound later":          func(_ map[string]string, p []Piece) { p[2].Class.Odd = true },
		"no set":               func(set map[string]string, _ []Piece) { clear(set) },
	} {
		k, all := NewCatalogue(), map[string]string{}
		for n, v := range set {
			all[n] = v
		}
		pieces := []Piece{piece(k, "", set), piece(k, "half", map[string]string{"a": "5", "b": "5"}), piece(k, "quarter", map[string]string{"a": "2", "b": "2"})}
		change(all, pieces)
		if cut := k.Cut(amounts(all), pieces); cut != nil {
			t.Errorf("%s: %+v", name, cut)
		}
		for _, p := range pieces {
			if !p.Class.Odd {
				t.Errorf("%s: %s is not odd", name, p.Class.Model)
			}
		}
	}
}
