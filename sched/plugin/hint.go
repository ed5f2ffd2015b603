package plugin

import (
	"context"
	"sync"

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

// hurry is gangs that are to be tried again at once, each by one of its pods. Upstream (1.37)
// does not hear of it while it tries a gang, and has it wait for seconds, and in the end minutes, that are meant for
// who comes back after an error. So it is said when the gang is put back.
type hurry struct {
	mu   sync.Mutex
	pods map[types.UID]bool
	busy sync.WaitGroup
}

func (h *hurry) add(pod types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pods == nil {
		h.pods = map[types.UID]bool{}
	}
	mark(h.pods, pod)
}

// drop forgets pods that are being tried.
func (h *hurry) drop(pods []*corev1.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, pod := range pods {
		delete(h.pods, pod.UID)
	}
}

func (h *hurry) has(pod types.UID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pods[pod]
}

// PreEnqueue is upstream's. It is asked while a gang is put back, by who holds the queue's
// lock, so that who activates the gang waits until it is there.
func (d *Devices) PreEnqueue(ctx context.Context, pod *corev1.Pod) *fwk.Status {
	if d.hurry.has(pod.UID) {
		d.hurry.busy.Go(func() {
			d.handle.Activate(logr.FromContextOrDiscard(ctx), map[string]*corev1.Pod{pod.Namespace + "/" + pod.Name: pod})
		})
	}
	return d.DynamicResources.PreEnqueue(ctx, pod)
}

// Close waits for who puts gangs back.
func (d *Devices) Close() error {
	d.hurry.busy.Wait()
	return nil
}
