package plugin

import (
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/utils/ptr"
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
		{[]int{4}, "e1 e0 d0 d1 d2"},
	} {
		if got := order(v.machine("n").show(c.first)); got != c.want {
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
