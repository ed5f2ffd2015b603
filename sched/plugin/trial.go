package plugin

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	resourceclient "k8s.io/client-go/kubernetes/typed/resource/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	fwk "k8s.io/kube-scheduler/framework"
)

// trialKey marks the context of a call that belongs to a trial.
type trialKey struct{}

// Unreserve is upstream's. A gang is placed on trial, and taken back, before any of it is
// placed for good; upstream would write that a pod has given up a claim that it got in a
// scheduler's life before this one, and the pod would be bound without it.
func (d *Devices) Unreserve(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) {
	if state.GetPodGroupSchedulingCycle() != nil {
		ctx = context.WithValue(ctx, trialKey{}, true)
	}
	d.DynamicResources.Unreserve(ctx, state, pod, node)
}

// clients write nothing about claims on trial.
type clients struct{ kubernetes.Interface }

func (c clients) ResourceV1() resourceclient.ResourceV1Interface {
	return resources{c.Interface.ResourceV1()}
}

type resources struct {
	resourceclient.ResourceV1Interface
}

func (r resources) ResourceClaims(namespace string) resourceclient.ResourceClaimInterface {
	return claims{r.ResourceV1Interface.ResourceClaims(namespace)}
}

type claims struct {
	resourceclient.ResourceClaimInterface
}

// Patch is what upstream's Unreserve calls; it uses no more of the answer than the error.
func (c claims) Patch(ctx context.Context, name string, t types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (*resourcev1.ResourceClaim, error) {
	if ctx.Value(trialKey{}) != nil {
		return &resourcev1.ResourceClaim{}, nil
	}
	return c.ResourceClaimInterface.Patch(ctx, name, t, data, o, sub...)
}

// giveUp is for a gang that finds no place, and has part of one: from a scheduler that
// died while it was binding. Pods without a node give up their claims. If too few have
// one, and the gang was never whole, those are deleted, as preemption does it: they would
// wait for the others with devices that nobody else can have.
func (p *Preemption) giveUp(ctx context.Context, group *schedulingv1beta1.PodGroup, waiting []*corev1.Pod) error {
	if group == nil || group.Spec.SchedulingPolicy.Gang == nil || meta.IsStatusConditionTrue(group.Status.Conditions, string(schedulingv1beta1.PodGroupInitiallyScheduled)) {
		return nil
	}
	var failed []error
	for _, pod := range waiting {
		failed = append(failed, p.unreserve(ctx, pod))
	}
	state, err := p.handle.SnapshotSharedLister().PodGroupStates().Get(group.Namespace, group.Name)
	if err != nil {
		return errors.Join(append(failed, err)...)
	}
	for _, pod := range state.ScheduledPods() {
		if pod.DeletionTimestamp != nil || state.ScheduledPodsCount() >= int(group.Spec.SchedulingPolicy.Gang.MinCount) {
			continue
		}
		if err := p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *metav1.NewPreconditionDeleteOptions(string(pod.UID))); err != nil {
			failed = append(failed, fmt.Errorf("deleting pod %s/%s of a gang that was never whole: %w", pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(failed...)
}

// unreserve takes a pod off its claims, which gives back the devices of those that
// nobody else has.
func (p *Preemption) unreserve(ctx context.Context, pod *corev1.Pod) error {
	all, err := p.cluster.claimsOf(pod)
	if err != nil {
		return nil //nolint:nilerr // has none yet
	}
	for _, c := range all {
		if c.Status.Allocation == nil || !resourceclaim.IsReservedForPod(pod, c, false) {
			continue
		}
		patch := fmt.Sprintf(`{"metadata": {"uid": %q}, "status": {"reservedFor": [{"$patch": "delete", "uid": %q}]}}`, c.UID, pod.UID)
		if _, err := p.handle.ClientSet().ResourceV1().ResourceClaims(c.Namespace).Patch(ctx, c.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			return fmt.Errorf("giving up claim %s/%s of a gang that has no place: %w", c.Namespace, c.Name, err)
		}
	}
	return nil
}
