package plugin

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

func priority(p int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.Priority = &p }
}

func groupPriority(p int32) func(*schedulingv1beta1.PodGroup) {
	return func(g *schedulingv1beta1.PodGroup) {
		g.Spec.Priority = &p
		g.Spec.DisruptionMode = &schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}}
	}
}

// releases has claims give back their devices when their pods are gone, as the controller
// of claims does.
func (w *world) releases() {
	w.PrependReactor("delete", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		d := a.(clienttesting.DeleteAction)
		gvr := a.GetResource()
		if err := w.Tracker().Delete(gvr, d.GetNamespace(), d.GetName()); err != nil {
			return true, nil, err
		}
		go w.release(d.GetNamespace(), d.GetName()) // later than the pod, and not in the clientset's lock
		return true, nil, nil
	})
}

func (w *world) release(namespace, name string) {
	c, err := w.ResourceV1().ResourceClaims(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if errors.IsNotFound(err) {
		return
	}
	if err == nil {
		c = c.DeepCopy()
		c.Status.Allocation, c.Status.ReservedFor = nil, nil
		_, err = w.ResourceV1().ResourceClaims(namespace).UpdateStatus(w.t.Context(), c, metav1.UpdateOptions{})
	}
	if err != nil && w.t.Context().Err() == nil {
		w.t.Errorf("giving back the devices of %s: %v", name, err)
	}
}

func (w *world) there(pod string) bool {
	w.t.Helper()
	_, err := w.CoreV1().Pods("default").Get(w.t.Context(), pod, metav1.GetOptions{})
	if err != nil && !errors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil
}

// TestPreemptionFreesDevices: who has the device that a more important pod wants gives
// way, and nobody else.
func TestPreemptionFreesDevices(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 8), node("b", 8), slice("a", "T4", "T4"), slice("b", "P100"))
	w.releases()
	w.place("plain", nil, priority(0))
	w.place("low", want(1, 1000, model("T4")), priority(1))
	w.place("middle", want(1, 1000, model("T4")), priority(5))
	w.place("other", want(1, 1000, model("P100")), priority(0))
	if got := w.place("high", want(1, 1000, model("T4")), priority(10)); got != "a: d0" && got != "a: d1" {
		t.Errorf("the important one is at %q", got)
	}
	if w.there("low") {
		t.Error("who is least important is still there")
	}
	for _, p := range []string{"plain", "middle", "other"} {
		if !w.there(p) {
			t.Errorf("%s had to go for nothing", p)
		}
	}

	w.submit("never", want(1, 1000, model("P100")), priority(10), func(p *corev1.Pod) { p.Spec.PreemptionPolicy = ptr.To(corev1.PreemptNever) })
	w.submit("low2", want(1, 1000, model("P100")), priority(0))
	w.wait("never", refusedFor("no node has the devices"))
	w.wait("low2", refusedFor("no node has the devices"))
	if !w.there("other") {
		t.Error("somebody gave way to one that does not ask for it, or to one no more important")
	}
}

// TestPreemptionOfGangs: a gang gives way as a whole, the least important one, and only
// if its devices are of use.
func TestPreemptionOfGangs(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 64), node("b", 64), node("c", 64),
		slice("a", "T4", "T4"), slice("b", "T4", "T4"), slice("c", "P100", "P100"))
	w.releases()
	w.group("one", 2, groupPriority(1))
	w.gang("one", 2, on("T4"), priority(1))
	w.members("one", 2)
	w.group("two", 2, groupPriority(2))
	w.gang("two", 2, on("T4"), priority(2))
	w.members("two", 2)
	w.group("other", 2, groupPriority(0))
	w.gang("other", 2, on("P100"), priority(0))
	w.members("other", 2)

	w.group("high", 2, groupPriority(10))
	w.gang("high", 2, on("T4"), priority(10))
	got := w.members("high", 2)
	if got[0][:1] != got[1][:1] || slices.Contains([]string{"c"}, got[0][:1]) {
		t.Errorf("the important gang is at %q", got)
	}
	for p, want := range map[string]bool{"one-0": false, "one-1": false, "two-0": true, "two-1": true, "other-0": true, "other-1": true} {
		if w.there(p) != want {
			t.Errorf("%s there: %v", p, !want)
		}
	}
}

func on(m string) func() *resourcev1.ResourceClaim {
	return func() *resourcev1.ResourceClaim { return want(1, 1000, model(m)) }
}
