package controller

import (
	"context"
	"log/slog"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"polder.dev/polder/device"
	"polder.dev/polder/device/conformance"
	"polder.dev/polder/device/emulate"
)

// stage is an API server in memory with one emulated node, which counts the writes of
// slices.
type stage struct {
	*Controller
	writes int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	var v device.Inventory
	for i := range 2 {
		v.Devices = append(v.Devices, device.Device{Name: []string{"gpu-0", "gpu-1"}[i], Kind: device.GPU, Vendor: "nvidia", Product: "H100", UUID: []string{"a", "b"}[i],
			Form: device.Whole, Software: "cuda", Memory: 80e9, Driver: device.Driver{Version: "1"}})
	}
	m, err := emulate.Inventory(v)
	if err != nil {
		t.Fatal(err)
	}
	n, err := emulate.Node("h100", m)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{}
	count := func(o client.Object) {
		if _, ok := o.(*resourcev1.ResourceSlice); ok {
			s.writes++
		}
	}
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(m, n).WithStatusSubresource(&corev1.Node{}, &corev1.Pod{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				count(o)
				return c.Create(ctx, o, opts...)
			},
			Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
				count(o)
				return c.Update(ctx, o, opts...)
			},
		}).Build()
	s.Controller, err = New(slog.New(slog.DiscardHandler), c, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// look has the controller look at the node, as it is now.
func (s *stage) look(t *testing.T, change func(*corev1.Node)) []resourcev1.ResourceSlice {
	t.Helper()
	var n corev1.Node
	if err := s.client.Get(t.Context(), client.ObjectKey{Name: "h100"}, &n); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&n)
		if err := s.client.Update(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Reconcile(t.Context(), &n)
	if err != nil || r.RequeueAfter == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var list resourcev1.ResourceSliceList
	if err := s.client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestAnEmulatedNodeIsReadyAndPublishes(t *testing.T) {
	s := newStage(t)
	list := s.look(t, nil)
	if len(list) != 1 || len(list[0].Spec.Devices) != 2 || *list[0].Spec.NodeName != "h100" {
		t.Fatalf("slices are %+v", list)
	}
	for _, r := range conformance.Check(list) {
		if !r.Conforms {
			t.Errorf("what it publishes does not conform: %+v", r)
		}
	}
	var n corev1.Node
	if err := s.client.Get(t.Context(), client.ObjectKey{Name: "h100"}, &n); err != nil {
		t.Fatal(err)
	}
	if len(n.Status.Conditions) != 1 || n.Status.Conditions[0].Status != corev1.ConditionTrue || n.Status.Conditions[0].Reason != "Emulated" {
		t.Errorf("conditions are %+v", n.Status.Conditions)
	}
	var l coordinationv1.Lease
	if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: corev1.NamespaceNodeLease, Name: "h100"}, &l); err != nil || l.Spec.RenewTime == nil {
		t.Errorf("the lease is %+v, %v", l, err)
	}
}

func TestASliceIsWrittenOnlyWhenItChanges(t *testing.T) {
	s := newStage(t)
	s.look(t, nil)
	s.look(t, nil)
	if s.writes != 1 {
		t.Errorf("%d writes for what was said once", s.writes)
	}
	ill := func(n *corev1.Node) { n.Annotations[emulate.AnnotationFaults] = "gpu-1=gpu-lost" }
	list := s.look(t, ill)
	if s.writes != 2 || list[0].Spec.Pool.Generation != 2 || len(list[0].Spec.Devices[1].Taints) != 1 {
		t.Errorf("%d writes, slice %+v", s.writes, list[0].Spec)
	}
	well := s.look(t, func(n *corev1.Node) { n.Annotations[emulate.AnnotationFaults] = "nonsense" })
	if len(well[0].Spec.Devices[1].Taints) != 0 {
		t.Errorf("faults that cannot be read leave %+v", well[0].Spec.Devices[1].Taints)
	}
}

func TestPodsSayThatNothingRunsAndAreLetGo(t *testing.T) {
	s := newStage(t)
	real := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "real"}}
	there := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "there", Finalizers: []string{"x/y"}}, Spec: corev1.PodSpec{NodeName: "h100"}}
	other := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "other"}, Spec: corev1.PodSpec{NodeName: "real"}}
	for _, o := range []client.Object{real, there, other} {
		if err := s.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*corev1.Pod{there, other} {
		if _, err := (podder{s.Controller}).Reconcile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
	}
	if len(there.Status.Conditions) != 1 || there.Status.Conditions[0].Type != ConditionEmulated || len(other.Status.Conditions) != 0 {
		t.Errorf("conditions are %+v and, on a real node, %+v", there.Status.Conditions, other.Status.Conditions)
	}
}
