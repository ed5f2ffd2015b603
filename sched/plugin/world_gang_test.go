package plugin

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/features"
)

// gang makes a pod one of a group.
func gang(group string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &group} }
}

func (w *world) group(name string, least int32) {
	w.t.Helper()
	g := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: schedulingv1beta1.PodGroupSpec{
		SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: least}}}}
	if _, err := w.SchedulingV1beta1().PodGroups("default").Create(w.t.Context(), g, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestGang: all of a gang get their devices, by the policy; and where the board's choice
// does not do for one of them, the gang is tried on all nodes.
func TestGang(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.GenericWorkload, true)
	w := start(t, Config{Policy: "bestfit"}, anyDevice, node("a", 8), node("b", 16), slice("a", "T4", "T4"), slice("b", "T4", "T4"))
	placed := func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }

	w.group("pair", 2)
	for i := range 2 {
		w.submit(fmt.Sprint("pair-", i), want(1, 500), gang("pair"))
	}
	for i := range 2 {
		if got := w.wait(fmt.Sprint("pair-", i), placed); got != "a: d0" {
			t.Errorf("%d of the pair is at %q", i, got)
		}
	}

	if got := w.place("web", nil, port, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"} }); got != "a:" {
		t.Fatal(got)
	}
	before := count(t, howAgain)
	w.group("ports", 2)
	w.submit("ports-0", want(1, 1000), gang("ports"), port)
	w.submit("ports-1", want(1, 1000), gang("ports"))
	if got := w.wait("ports-0", placed); got[:2] != "b:" {
		t.Errorf("who needs the port is at %q", got)
	}
	w.wait("ports-1", placed)
	if count(t, howAgain) == before {
		t.Error("was not tried again on all nodes, so this test shows nothing")
	}
}
