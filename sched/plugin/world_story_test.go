package plugin

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeviceIsChosen: shares go where they leave whole devices whole, though devices
// that come first would do.
func TestDeviceIsChosen(t *testing.T) {
	w := start(t, Config{Policy: "polder", Workload: expect(t, `{"Kinds":[{"Weight":1,"Request":{"Count":1,"Share":1000}},{"Weight":1,"Request":{"Count":1,"Share":500}}]}`)},
		anyDevice, node("a", 16), node("b", 16), slice("a", "T4", "T4"), slice("b", "T4", "T4"))
	for i, c := range []struct {
		name  string
		claim *resourcev1.ResourceClaim
		at    string
	}{
		{"first", want(1, 500), "a: d0"},
		{"fills-it", want(1, 500), "a: d0"},
		{"both-of-the-other", want(2, 1000), "b: d0 d1"},
		{"the-last", want(1, 300), "a: d1"},
	} {
		if got := w.place(c.name, c.claim); got != c.at {
			t.Errorf("%d, %s: is at %q, want %q", i, c.name, got, c.at)
		}
	}
}

// TestScarceModelIsKept: who may run on both models leaves the one that others need.
func TestScarceModelIsKept(t *testing.T) {
	w := start(t, Config{Policy: "polder", Workload: expect(t, `{"Kinds":[{"Weight":3,"Request":{"Count":1,"Share":1000,"Models":["T4"]}},{"Weight":1,"Request":{"Count":1,"Share":1000}}]}`)},
		anyDevice, node("a", 16), node("b", 16), slice("a", "T4"), slice("b", "P100"))
	if got := w.place("any", want(1, 1000)); got != "b: d0" {
		t.Errorf("who may run on any is at %q", got)
	}
	if got := w.place("choosy", want(1, 1000, model("T4"))); got != "a: d0" {
		t.Errorf("who needs a T4 is at %q", got)
	}
}

// TestOthersHaveTheLastWord: the board knows nothing of ports. Who does not fit on the
// chosen node is tried on all at once, and not after minutes.
func TestOthersHaveTheLastWord(t *testing.T) {
	w := start(t, Config{Policy: "bestfit"}, anyDevice, node("a", 8), node("b", 16), slice("a", "T4"), slice("b", "T4"))
	at := w.place("web", nil, port, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"} })
	if at != "a:" {
		t.Fatal(at)
	}
	before := count(t, howAgain)
	if got := w.place("other", want(1, 1000), port); got != "b: d0" {
		t.Errorf("is at %q", got)
	}
	if count(t, howAgain) != before+1 {
		t.Error("was not tried again on all nodes, so this test shows nothing")
	}
}

// TestRefusalSaysWhyAndEnds: no device, no attempt on every node, a reason that people
// understand, and a start as soon as a device is free.
func TestRefusalSaysWhyAndEnds(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 16), node("b", 16), slice("a", "T4"))
	if got := w.place("one", want(1, 700)); got != "a: d0" {
		t.Fatal(got)
	}
	w.submit("two", want(1, 500))
	w.wait("two", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Reason == corev1.PodReasonUnschedulable {
				return strings.Contains(c.Message, "no node has the devices for 0.5 of a device") && strings.Contains(c.Message, "1 has no device with 500 milli free")
			}
		}
		return false
	})
	for _, kind := range []string{"pod", "claim"} {
		var err error
		if kind == "pod" {
			err = w.CoreV1().Pods("default").Delete(t.Context(), "one", metav1.DeleteOptions{})
		} else {
			err = w.ResourceV1().ResourceClaims("default").Delete(t.Context(), "one", metav1.DeleteOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := w.wait("two", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }); got != "a: d0" {
		t.Error(got)
	}
}

// TestShortOfCPU: the devices are there and the CPU is not, until a pod has gone.
func TestShortOfCPU(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 1), node("b", 1), slice("a", "T4"))
	if got := w.place("cpu", nil, func(p *corev1.Pod) { p.Spec.NodeName, p.Spec.SchedulerName = "a", "other" }); got != "a:" {
		t.Fatal(got)
	}
	before := count(t, howShort)
	w.submit("one", want(1, 1000))
	w.wait("one", func(p *corev1.Pod) bool {
		return len(p.Status.Conditions) > 0 && strings.Contains(p.Status.Conditions[0].Message, "1 Insufficient cpu")
	})
	if count(t, howShort) == before {
		t.Error("the board did not see what is short, so this test shows nothing")
	}
	if err := w.CoreV1().Pods("default").Delete(t.Context(), "cpu", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := w.wait("one", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }); got != "a: d0" {
		t.Error(got)
	}
}

// TestTaintThatGoes: who was refused for want of devices is tried when a node opens.
func TestTaintThatGoes(t *testing.T) {
	n := node("a", 4)
	n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	w := start(t, Config{Policy: "polder"}, anyDevice, n, node("b", 4), slice("a", "T4"))
	w.submit("one", want(1, 1000))
	w.wait("one", func(p *corev1.Pod) bool { return len(p.Status.Conditions) > 0 })
	n = n.DeepCopy()
	n.Spec.Taints = nil
	if _, err := w.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := w.wait("one", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }); got != "a: d0" {
		t.Error(got)
	}
}

// TestNothingButCPUStrandsNoDevices: work without devices leaves the CPU that devices
// need, where other nodes have some.
func TestNothingButCPUStrandsNoDevices(t *testing.T) {
	w := start(t, Config{Policy: "polder", Workload: expect(t, `{"Kinds":[{"Weight":1,"Request":{"CPU":4000,"Count":1,"Share":1000}}]}`)},
		anyDevice, node("a", 4), node("b", 2), slice("a", "T4"))
	if got := w.place("cpu", nil); got != "b:" {
		t.Errorf("is at %q", got)
	}
}

// TestUpstreamKeepsTheRest: claims that the board cannot say are placed all the same.
func TestUpstreamKeepsTheRest(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 16), slice("a", "T4", "T4"))
	all := want(0, 1000)
	all.Spec.Devices.Requests[0].Exactly.AllocationMode = resourcev1.DeviceAllocationModeAll
	before := count(t, howUpstream)
	if got := w.place("all", all); got != "a: d0 d1" {
		t.Errorf("is at %q", got)
	}
	if count(t, howUpstream) == before {
		t.Error("the board said it, so this test shows nothing")
	}
}

// TestOneDeviceByItsName: a selector for what makes a device one is not asked of its
// class.
func TestOneDeviceByItsName(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 16), node("b", 16), slice("a", "T4", "T4"), slice("b", "T4", "T4"))
	if got := w.place("that", want(1, 1000, `device.attributes["driver.test"].uuid == "b-1"`)); got != "b: d1" {
		t.Errorf("is at %q", got)
	}
}

// TestWorkIsPackedAndServicesSpread: nodes that are alike to the policy are filled one
// after the other by work, and spread over by what serves.
func TestWorkIsPackedAndServicesSpread(t *testing.T) {
	for _, c := range []struct {
		owner string
		want  int // nodes that are used
	}{{"Job", 1}, {"ReplicaSet", 3}} {
		w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 16), node("b", 16), node("c", 16), slice("a", "T4"), slice("b", "T4"), slice("c", "T4"))
		used := map[string]bool{}
		for _, name := range []string{"x", "y", "z"} {
			used[w.place(name, nil, func(p *corev1.Pod) {
				p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: c.owner, Name: "o", UID: "o"}}
			})] = true
		}
		if len(used) != c.want {
			t.Errorf("%s: pods are on %v, want %d nodes", c.owner, used, c.want)
		}
	}
}
