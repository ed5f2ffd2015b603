package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/features"

	"polder.dev/polder/api/v1alpha1"
)

// ofGang makes a pod one of a group.
func ofGang(group string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &group} }
}

func (w *world) group(name string, least int32, change ...func(*schedulingv1beta1.PodGroup)) {
	w.t.Helper()
	g := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: schedulingv1beta1.PodGroupSpec{
		SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: least}}}}
	for _, f := range change {
		f(g)
	}
	if _, err := w.SchedulingV1beta1().PodGroups("default").Create(w.t.Context(), g, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// oneRack asks that all pods of a group are in one.
func oneRack(g *schedulingv1beta1.PodGroup) {
	g.Spec.SchedulingConstraints = &schedulingv1beta1.PodGroupSchedulingConstraints{Topology: []schedulingv1beta1.TopologyConstraint{{Key: v1alpha1.LabelRack}}}
}

func rack(n *corev1.Node, name string) *corev1.Node {
	n.Labels[v1alpha1.LabelRack] = name
	return n
}

func gates(t testing.TB, all ...string) {
	for _, g := range append(all, "hints") {
		featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, map[string]featuregate.Feature{"gangs": features.GenericWorkload, "topology": features.TopologyAwareWorkloadScheduling, "hints": features.SchedulerPreQueueingHints}[g], true)
	}
}

func placed(p *corev1.Pod) bool { return p.Spec.NodeName != "" }

// refusedFor waits until a pod is told why it waits.
func refusedFor(why string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return strings.Contains(c.Message, why) })
	}
}

// gang submits its members, that each want the same.
func (w *world) gang(name string, n int, claim func() *resourcev1.ResourceClaim, change ...func(*corev1.Pod)) {
	w.t.Helper()
	for i := range n {
		w.submit(fmt.Sprintf("%s-%d", name, i), claim(), append(change, ofGang(name))...)
	}
}

func whole() *resourcev1.ResourceClaim { return want(1, 1000) }

// members waits for all and returns where they are, sorted.
func (w *world) members(name string, n int) []string {
	w.t.Helper()
	var out []string
	for i := range n {
		out = append(out, w.wait(fmt.Sprintf("%s-%d", name, i), placed))
	}
	slices.Sort(out)
	return out
}

// TestGang: all of a gang get their devices, by the policy; and where the board's choice
// does not do for one of them, the gang is tried on all nodes. With upstream's placements
// and without.
func TestGang(t *testing.T) {
	for _, g := range [][]string{{"gangs"}, {"gangs", "topology"}} {
		t.Run(strings.Join(g, " and "), func(t *testing.T) {
			gates(t, g...)
			w := start(t, Config{Policy: "bestfit"}, anyDevice, node("a", 8), node("b", 16), slice("a", "T4", "T4"), slice("b", "T4", "T4"))
			w.group("pair", 2)
			w.gang("pair", 2, func() *resourcev1.ResourceClaim { return want(1, 500) })
			if got := w.members("pair", 2); !slices.Equal(got, []string{"a: d0", "a: d0"}) {
				t.Errorf("the pair is at %q", got)
			}
			if got := w.place("web", nil, port, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"} }); got != "a:" {
				t.Fatal(got)
			}
			before := count(t, howAgain)
			w.group("ports", 2)
			w.submit("ports-0", want(1, 1000), ofGang("ports"), port)
			w.submit("ports-1", want(1, 1000), ofGang("ports"))
			if got := w.wait("ports-0", placed); got[:2] != "b:" {
				t.Errorf("who needs the port is at %q", got)
			}
			w.wait("ports-1", placed)
			if count(t, howAgain) == before {
				t.Error("was not tried again on all nodes, so this test shows nothing")
			}
		})
	}
}

// TestGangInOneDomain: a gang goes to the tightest rack that has room for all of it, with
// the devices that the board chose for each; one that finds no such rack is told by how
// much, holds nothing, and is placed as soon as there is one.
func TestGangInOneDomain(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice,
		rack(node("a1", 64), "a"), rack(node("a2", 64), "a"), rack(node("b1", 64), "b"), rack(node("b2", 64), "b"), rack(node("c1", 64), "c"),
		slice("a1", "T4"), slice("a2", "T4"), slice("b1", "T4", "T4"), slice("b2", "T4"), slice("c1", "T4", "T4", "T4", "T4"))
	w.group("three", 3, oneRack)
	w.gang("three", 3, whole)
	if got := w.members("three", 3); !slices.Equal(got, []string{"b1: d0", "b1: d1", "b2: d0"}) {
		t.Errorf("three are at %q", got)
	}

	w.group("five", 5, oneRack)
	w.gang("five", 5, whole)
	w.wait("five-0", refusedFor("all 5 workers must be placed together in one rack; the nearest of 3 is c, where 1 find no room"))
	if got := w.taken(); len(got) != 3 {
		t.Errorf("devices are held for who waits: %v", got)
	}
	w.create(rack(node("c2", 64), "c"))
	w.create(slice("c2", "T4"))
	if got := w.members("five", 5); got[0][:1] != "c" || got[4][:1] != "c" {
		t.Errorf("five are at %q", got)
	}
}

// TestPreferredDomain: a rack if one has room, else anywhere.
func TestPreferredDomain(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice,
		rack(node("a1", 64), "a"), rack(node("b1", 64), "b"), rack(node("b2", 64), "b"),
		slice("a1", "T4", "T4"), slice("b1", "T4"), slice("b2", "T4"))
	rather := func(g *schedulingv1beta1.PodGroup) {
		g.Annotations = map[string]string{v1alpha1.AnnotationPreferredTopology: corev1.LabelHostname + ", " + v1alpha1.LabelRack}
	}
	w.group("near", 2, rather)
	w.gang("near", 2, whole)
	if got := w.members("near", 2); !slices.Equal(got, []string{"a1: d0", "a1: d1"}) {
		t.Errorf("near are at %q", got)
	}
	w.create(rack(node("d1", 64), "d"))
	w.create(slice("d1", "T4"))
	w.group("far", 3, rather)
	w.gang("far", 3, whole)
	w.members("far", 3)
}

// TestGangTriesOtherDevices: pod by pod, the first take the node that the last one needs.
func TestGangTriesOtherDevices(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "bestfit"}, anyDevice, node("big", 64), node("small", 2), slice("big", "T4", "T4"), slice("small", "T4"))
	w.group("odd", 3)
	narrow := func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("40")
	}
	w.submit("odd-0", want(1, 1000), ofGang("odd"))
	w.submit("odd-1", want(1, 1000), ofGang("odd"))
	w.submit("odd-2", want(1, 1000), ofGang("odd"), narrow)
	got := w.members("odd", 3)
	if !slices.Equal(got, []string{"big: d0", "big: d1", "small: d0"}) {
		t.Errorf("they are at %q", got)
	}
}

// taken is the devices that claims have.
func (w *world) taken() []string {
	w.t.Helper()
	list := w.claims()
	out := map[string]bool{}
	for i := range list {
		if a := list[i].Status.Allocation; a != nil {
			for _, r := range a.Devices.Results {
				out[r.Pool+"/"+r.Device] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}
