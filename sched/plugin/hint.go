package plugin

import (
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// completed says whom it can help that a pod has come: itself, if its gang has as many
// as it wants now, and nobody otherwise. Without it, upstream asks each pod that waits about each
// that comes, which for gangs of a thousand was half of the scheduler's time (bench/README.md).
// It looks at no others than these, whichever plugin refused them; no other
// plugin than upstream's for gangs waits for pods that have no node yet.
func (d *Devices) completed(_ logr.Logger, _, now any) (fwk.PreQueueingHintResult, error) {
	pod, ok := now.(*corev1.Pod)
	if !ok {
		return fwk.PreQueueingHintResult{AllPods: true}, nil
	}
	if pod.Spec.SchedulingGroup == nil || pod.Spec.SchedulingGroup.PodGroupName == nil {
		return fwk.PreQueueingHintResult{}, nil
	}
	name := *pod.Spec.SchedulingGroup.PodGroupName
	all := d.handle.PodGroupManager()
	group, err := all.PodGroups().Get(pod.Namespace, name)
	if err != nil { // that it comes is an event of its own
		return fwk.PreQueueingHintResult{}, nil //nolint:nilerr // it is not there
	}
	state, err := all.PodGroupStates().Get(pod.Namespace, name)
	if err != nil {
		return fwk.PreQueueingHintResult{}, err
	}
	if policy := group.Spec.SchedulingPolicy.Gang; policy != nil && state.AllPodsCount() < int(policy.MinCount) {
		return fwk.PreQueueingHintResult{}, nil
	}
	return fwk.PreQueueingHintResult{Pods: []types.NamespacedName{{Namespace: pod.Namespace, Name: pod.Name}}}, nil
}

// nobody that was refused by the board waits for a pod without a node.
func nobody(logr.Logger, *corev1.Pod, any, any) (fwk.QueueingHint, error) {
	return fwk.QueueSkip, nil
}
