package plugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
)

const hive = "driver.test/hive"

// hives is a node's slice of so many devices in each of two hives.
func hives(of string, each int) *resourcev1.ResourceSlice {
	s := slice(of, slices.Repeat([]string{"MI300X"}, 2*each)...)
	for i := range s.Spec.Devices {
		at := fmt.Sprint(of, "-", i/each)
		s.Spec.Devices[i].AllowMultipleAllocations = nil
		s.Spec.Devices[i].Attributes["hive"] = resourcev1.DeviceAttribute{StringValue: &at}
	}
	return s
}

// together is a claim of so many devices of one hive.
func together(n int64) *resourcev1.ResourceClaim { return bound(want(n, 1000), match(hive)) }

// TestDevicesOfOneHive: they are of the hive that has least left, and who finds no hive
// is refused in words.
func TestDevicesOfOneHive(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 64), hives("a", 4))
	w.place("first", want(1, 1000, `device.attributes["driver.test"].uuid == "a-5"`))
	before := count(t, howChosen)
	if got := w.place("three", together(3)); got != "a: d4 d6 d7" {
		t.Errorf("is at %q, want what is left of the hive that is in use", got)
	}
	if got := w.place("two", together(2)); got != "a: d0 d1" {
		t.Errorf("is at %q", got)
	}
	if now := count(t, howChosen); now != before+2 {
		t.Errorf("the board chose %d times, want twice", now-before)
	}
	w.submit("many", together(3))
	w.wait("many", func(p *corev1.Pod) bool {
		return len(p.Status.Conditions) > 0 && strings.Contains(p.Status.Conditions[0].Message, "3 devices of one hive") && strings.Contains(p.Status.Conditions[0].Message, "fewer than 3 devices free of one hive")
	})
}

// TestGangsOfOneHiveEach: each member has its devices of one hive, and the gang is placed
// as one.
func TestGangsOfOneHiveEach(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 64), node("b", 64), hives("a", 3), hives("b", 3))
	before := gangs(t, howChosen)
	w.group("g", 4)
	w.gang("g", 4, func() *resourcev1.ResourceClaim { return together(2) })
	for i := range 4 {
		at := strings.Fields(w.wait(fmt.Sprint("g-", i), placed))
		if len(at) != 3 || (at[1] < "d3") != (at[2] < "d3") {
			t.Errorf("member %d is at %q, in two hives", i, at)
		}
	}
	if gangs(t, howChosen) == before {
		t.Error("upstream placed the gang, so this test shows nothing")
	}
	w.group("h", 2)
	w.gang("h", 2, func() *resourcev1.ResourceClaim { return together(2) })
	w.wait("h-0", func(p *corev1.Pod) bool { return len(p.Status.Conditions) > 0 })
	if n := len(w.taken()); n != 8 {
		t.Errorf("%d devices are taken; each hive has one left, and two are wanted of one", n)
	}
}
