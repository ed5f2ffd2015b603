package plugin

import (
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"polder.dev/polder/sched"
)

// order is what upstream's allocator goes through.
func order(list []*resourcev1.ResourceSlice) string {
	var names []string
	// It sorts a pool's slices by name.
	for len(list) > 0 {
		least := 0
		for i := range list {
			if list[i].Name < list[least].Name {
				least = i
			}
		}
		for _, d := range list[least].Spec.Devices {
			names = append(names, d.Name)
		}
		list = append(list[:least:least], list[least+1:]...)
	}
	return strings.Join(names, " ")
}

func TestChosenDevicesAreFoundFirst(t *testing.T) {
	v := newInventory()
	one, two := slice("n", "T4", "T4", "T4"), slice("n", "T4", "T4")
	two.Name = "n-slice-2"
	two.Spec.Devices[0].Name, two.Spec.Devices[1].Name = "e0", "e1"
	one.Spec.Pool.ResourceSliceCount, two.Spec.Pool.ResourceSliceCount = 2, 2
	v.update([]*resourcev1.ResourceSlice{two, one})
	for _, c := range []struct {
		first []int
		want  string
	}{
		{nil, "d0 d1 d2 e0 e1"},
		{[]int{0}, "d0 d1 d2 e0 e1"},
		{[]int{2}, "d2 d0 d1 e0 e1"},
		{[]int{2, 1}, "d2 d1 d0 e0 e1"},
		{[]int{4}, "e1 d0 d1 d2 e0"},
		{[]int{4, 1}, "e1 d1 d0 d2 e0"},
	} {
		if got := order(v.show(sched.Decision{Node: "n", Devices: c.first})); got != c.want {
			t.Errorf("%v first: %s, want %s", c.first, got, c.want)
		}
	}
	if one.Name != "n-slice" || order([]*resourcev1.ResourceSlice{one}) != "d0 d1 d2" {
		t.Error("the slice of the scheduler's cache was changed")
	}
}

func TestInventoryFollows(t *testing.T) {
	v := newInventory()
	a, b := slice("a", "T4"), slice("b", "T4", "P100")
	if got := v.update([]*resourcev1.ResourceSlice{a, b}); len(got) != 2 {
		t.Errorf("%d machines changed, want 2", len(got))
	}
	if got := v.update([]*resourcev1.ResourceSlice{b, a}); len(got) != 0 {
		t.Errorf("%d machines changed, want none", len(got))
	}
	newer := slice("a", "T4", "T4")
	newer.Name, newer.Spec.Pool.Generation = "a-slice-new", 1
	v.update([]*resourcev1.ResourceSlice{a, b, newer})
	if n := len(v.machine("a").units); n != 2 {
		t.Errorf("%d devices while two generations are there, want the newer's 2", n)
	}
	if got := v.update([]*resourcev1.ResourceSlice{newer}); len(got) != 2 || len(v.machine("b").units) != 0 || len(v.of) != 2 {
		t.Errorf("after slices went: %d machines changed, %d devices", len(got), len(v.of))
	}
	if n := len(v.catalogue.Classes); n != 2 {
		t.Errorf("%d classes, want one for each model", n)
	}
}

// TestDevicesOfNoNode: the board does not say no for devices that it does not know.
func TestDevicesOfNoNode(t *testing.T) {
	v := newInventory()
	everywhere := slice("x", "T4")
	everywhere.Spec.NodeName, everywhere.Spec.AllNodes = nil, ptr.To(true)
	v.update([]*resourcev1.ResourceSlice{slice("a", "T4"), everywhere})
	if len(v.common) != 1 || len(v.catalogue.Classes) != 1 || !v.catalogue.Classes[0].Odd {
		t.Errorf("%d slices of no node, classes %+v", len(v.common), v.catalogue.Classes)
	}
}

// slicesOf are those of pools that can be cut.
func slicesOf(pools ...[]runtime.Object) []*resourcev1.ResourceSlice {
	var out []*resourcev1.ResourceSlice
	for _, p := range pools {
		for _, o := range p {
			out = append(out, o.(*resourcev1.ResourceSlice))
		}
	}
	return out
}

// TestInventoryOfParts: what shares counters is one device of the board, as soon as the
// slice with the counters is there, and that one is shown with the others.
func TestInventoryOfParts(t *testing.T) {
	v := newInventory()
	all := slicesOf(cut("a", 2))
	v.update(all[1:])
	if m := v.machine("a"); len(m.units) != 0 || len(v.of) != 28 || v.catalogue.Classes[0].Odd {
		t.Errorf("without the counters there are %d devices of %d published, the first %+v", len(m.units), len(v.of), v.catalogue.Classes[0])
	}
	v.update(all)
	m := v.machine("a")
	if len(m.units) != 2 || m.units[0].cut != m.units[1].cut || m.units[0].cut == nil || len(m.units[0].pieces) != len(migParts) {
		t.Fatalf("%d devices: %+v", len(m.units), m.units)
	}
	if at := v.of[key{driver, "a", "gpu1-2g-2"}]; at.unit != 1 || m.units[1].cut.Parts[at.piece].Model != "H100 2g" {
		t.Errorf("gpu1-2g-2 is at %+v", at)
	}
	shown := v.show(sched.Decision{Node: "a", Devices: []int{1, 0, 1}, Parts: []int{8, 2, 7}})
	if got := order(shown); len(shown) != 3 || !strings.HasPrefix(got, "gpu1-1g-1 gpu0-3g-0 gpu1-1g-0 gpu0-7g-0 ") || len(strings.Fields(got)) != 28 {
		t.Errorf("%d slices are shown: %s", len(shown), got)
	}
	if got := order(v.show(sched.Decision{Node: "a"})); !strings.HasPrefix(got, "gpu0-7g-0 gpu0-4g-0 ") {
		t.Errorf("the scheduler's cache was changed: %s", got)
	}
}

// TestInventoryOfTwoSets: whoever shares counters of two devices has both left to
// upstream.
func TestInventoryOfTwoSets(t *testing.T) {
	v := newInventory()
	all := slicesOf(cut("a", 2), []runtime.Object{slice("b", "T4")})
	d := &all[1].Spec.Devices[0]
	d.ConsumesCounters = append(d.ConsumesCounters, resourcev1.DeviceCounterConsumption{CounterSet: "gpu1", Counters: consumed(1, 0, 0)})
	v.update(all)
	odd := 0
	for _, k := range v.catalogue.Classes { // in any order: nodes come in none
		if k.Odd {
			odd++
		}
	}
	if n, plain := len(v.machine("a").units), len(v.machine("b").units); n != 0 || plain != 1 || odd == 0 {
		t.Errorf("%d and %d devices, %d classes are upstream's", n, plain, odd)
	}
}

// TestPoolOfTwoNodes: upstream's allocator takes nothing of a pool of which slices lack,
// so that it sees those of the other node, too.
func TestPoolOfTwoNodes(t *testing.T) {
	v := newInventory()
	a, b, c := slice("a", "T4"), slice("b", "T4"), slice("c", "T4")
	b.Spec.Pool.Name, a.Spec.Pool.ResourceSliceCount, b.Spec.Pool.ResourceSliceCount = "a", 2, 2
	v.update([]*resourcev1.ResourceSlice{a, b, c})
	for node, want := range map[string]int{"a": 2, "b": 2, "c": 1} {
		if n := len(v.show(sched.Decision{Node: node, Devices: []int{0}})); n != want {
			t.Errorf("of node %s %d slices are shown, want %d", node, n, want)
		}
	}
}
