package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/sched"
)

// Names of what stands for machines and devices that are not there. Pods on such a node
// run nowhere: what is measured is where the scheduler puts them.
const (
	fakeDriver = "fake.bench.polder.dev"
	fakeClass  = "fake"
	fakeTaint  = "bench.polder.dev/fake"
	fakeSpace  = "kube-system" // no policy of tenants changes what its pods ask for
	milli      = fakeDriver + "/milli"
)

// makers are so many clients at once, since each keeps to a rate.
const makers = 16

// all does something for each of n, by several clients, about in order.
func (c *cloud) all(ctx context.Context, n int, do func(context.Context, *kube.Client, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var group sync.WaitGroup
	for range min(makers, n) {
		k, err := c.client()
		if err != nil {
			return err
		}
		group.Go(func() {
			for i := range next {
				if err := do(ctx, k, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// fakes creates nodes and a slice of each, whose devices are shared if share is set.
func (c *cloud) fakes(ctx context.Context, k *kube.Client, nodes []sched.Node, share bool) error {
	class := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: fakeClass}, Spec: resourcev1.DeviceClassSpec{
		Selectors: selectors(fmt.Sprintf("device.driver == %q", fakeDriver))}}
	if err := k.Create(ctx, class); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return c.all(ctx, len(nodes), func(ctx context.Context, k *kube.Client, i int) error {
		n := &nodes[i]
		amount := corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(n.Size.CPU, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(n.Size.Memory, resource.BinarySI),
			corev1.ResourcePods:   *resource.NewQuantity(n.Size.Pods, resource.DecimalSI),
		}
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labelsOf(n)},
			Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: fakeTaint, Effect: corev1.TaintEffectNoSchedule}}},
			Status: corev1.NodeStatus{Capacity: amount, Allocatable: amount,
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake"}}},
		}
		if err := k.Create(ctx, node); err != nil {
			return err
		}
		if len(n.Devices) == 0 {
			return nil
		}
		s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: n.Name + "-fake"}, Spec: resourcev1.ResourceSliceSpec{
			Driver: fakeDriver, NodeName: &node.Name, Pool: resourcev1.ResourcePool{Name: node.Name, ResourceSliceCount: 1}}}
		for j := range n.Devices {
			d := resourcev1.Device{Name: fmt.Sprintf("d%d", j), Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"model": {StringValue: &n.Devices[j].Model}}}
			if share {
				d.AllowMultipleAllocations = ptr.To(true)
				d.Capacity = map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{milli: {Value: resource.MustParse("1000")}}
			}
			s.Spec.Devices = append(s.Spec.Devices, d)
		}
		return k.Create(ctx, s)
	})
}

func labelsOf(n *sched.Node) map[string]string {
	out := map[string]string{fakeTaint: "", corev1.LabelHostname: n.Name}
	for _, l := range n.Domain {
		out[l.Level] = l.Name
	}
	return out
}

func selectors(expression string) []resourcev1.DeviceSelector {
	return []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: expression}}}
}

// claimOf asks for a request's devices.
func claimOf(name string, r sched.Request) *resourcev1.ResourceClaim {
	e := &resourcev1.ExactDeviceRequest{DeviceClassName: fakeClass, AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: int64(r.Count)}
	if len(r.Models) > 0 {
		var either []string
		for _, m := range r.Models {
			either = append(either, fmt.Sprintf("device.attributes[%q].model == %q", fakeDriver, m))
		}
		e.Selectors = selectors(strings.Join(either, " || "))
	}
	if r.Share < sched.Whole {
		e.Capacity = &resourcev1.CapacityRequirements{Requests: map[resourcev1.QualifiedName]resource.Quantity{milli: *resource.NewQuantity(int64(r.Share), resource.DecimalSI)}}
	}
	return &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: fakeSpace, Name: name},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "d", Exactly: e}}}}}
}

// podOf asks for its CPU, memory and claim, and to be put on a fake node.
func podOf(name string, r sched.Request) *corev1.Pod {
	p := pod(fakeSpace, name, "none")
	p.Spec.NodeSelector = map[string]string{fakeTaint: ""}
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	c := &p.Spec.Containers[0]
	c.Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(r.CPU, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(r.Memory, resource.BinarySI),
	}
	if r.Count > 0 {
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "d", ResourceClaimName: &name}}
		c.Resources.Claims = []corev1.ResourceClaim{{Name: "d"}}
	}
	return p
}

// nameOf is the pod's and the claim's, in the order of arrival.
func nameOf(i int) string { return fmt.Sprintf("fake-%06d", i) }

// claims creates those of the requests.
func (c *cloud) claims(ctx context.Context, requests []sched.Request) error {
	return c.all(ctx, len(requests), func(ctx context.Context, k *kube.Client, i int) error {
		if requests[i].Count == 0 {
			return nil
		}
		return create(ctx, k, claimOf(nameOf(i), requests[i]))
	})
}

// pods creates those of the requests, whose claims are there.
func (c *cloud) pods(ctx context.Context, requests []sched.Request) error {
	return c.all(ctx, len(requests), func(ctx context.Context, k *kube.Client, i int) error {
		return create(ctx, k, podOf(nameOf(i), requests[i]))
	})
}

// accounted waits until pods may be made: they want an account, which somebody makes who
// stands still later.
func accounted(ctx context.Context, k *kube.Client) error {
	for {
		err := k.Get(ctx, kube.Key(fakeSpace, "default"), &corev1.ServiceAccount{})
		if !apierrors.IsNotFound(err) {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}
