package plugin

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/dynamicresources"
)

// NameDevices is the name of [Devices] in profiles. Upstream's may not be reused.
const NameDevices = "PolderDevices"

// Devices is upstream's DynamicResources, shown the nodes and devices that the policy
// chose.
type Devices struct {
	*dynamicresources.DynamicResources
	cluster *cluster
	manager *manager
	handle  fwk.Handle

	// Pods that were shown chosen nodes in their last attempt and did not get so far that
	// a node was theirs: in the next they are shown all. What comes of it for a gang that is
	// placed in domains, its tour knows.
	chosen map[types.UID]bool
	hurry  hurry
}

var (
	_ fwk.PreEnqueuePlugin         = &Devices{}
	_ fwk.PlacementGeneratePlugin  = &Devices{}
	_ fwk.PreFilterPlugin          = &Devices{}
	_ fwk.PreFilterExtensions      = &Devices{}
	_ fwk.FilterPlugin             = &Devices{}
	_ fwk.PostFilterPlugin         = &Devices{}
	_ fwk.PodGroupPostFilterPlugin = &Devices{}
	_ fwk.ReservePlugin            = &Devices{}
	_ fwk.EnqueueExtensions        = &Devices{}
)

// Name is the plugin's in profiles.
func (d *Devices) Name() string { return NameDevices }

// EventsToRegister adds what makes nodes open up for pods that were refused by the
// board: upstream leaves taints to another plugin. And it says of a pod that has come
// whom that can help.
func (d *Devices) EventsToRegister(ctx context.Context) ([]fwk.ClusterEventWithHint, error) {
	events, err := d.DynamicResources.EventsToRegister(ctx)
	return append(events,
		fwk.ClusterEventWithHint{Event: fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.UpdateNodeTaint}, QueueingHintFn: opens},
		fwk.ClusterEventWithHint{Event: fwk.ClusterEvent{Resource: fwk.UnscheduledPod, ActionType: fwk.Add}, QueueingHintFn: nobody, PreQueueingHintFn: d.completed},
	), err
}

// opens says whether a node whose taints changed has become one for the pod.
func opens(log logr.Logger, pod *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
	old, ok := before.(*corev1.Node)
	now, ok2 := after.(*corev1.Node)
	g := gateOf(logr.NewContext(context.Background(), log), pod, nil, 0)
	if ok && ok2 && (g.open(old) || !g.open(now)) {
		return fwk.QueueSkip, nil
	}
	return fwk.Queue, nil
}

// PreFilter chooses nodes and devices, and has upstream's allocator see no others.
func (d *Devices) PreFilter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, nodes []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	c := d.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if state.GetPodGroupSchedulingCycle() == nil {
		c.begin([]*corev1.Pod{pod})
		c.tour = nil
	}
	p, how := d.plan(ctx, pod, nodes)
	if how != "" {
		c.metrics.attempts.WithLabelValues(how).Inc()
	}
	if c.simulated != nil {
		defer d.manager.without(c.simulated.ghosts)()
	}
	switch {
	case p.refuse != "" && p.yield:
		state.Write(stateRefused, refused{})
		return nil, fwk.NewStatus(fwk.Unschedulable, p.refuse)
	case p.refuse != "":
		return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, p.refuse)
	}
	if p.slices != nil {
		defer d.manager.show(p.slices)()
	}
	result, status := d.DynamicResources.PreFilter(ctx, state, pod, nodes)
	if p.nodes == nil {
		return result, status
	}
	if status.IsSkip() && len(pod.Spec.ResourceClaims) == 0 {
		status = nil // of a gang whose place is decided, though it has no claims
	}
	if !status.IsSuccess() || result != nil {
		return result, status
	}
	if !p.short {
		mark(d.chosen, pod.UID)
		if c.tour != nil {
			c.tour.narrow = true
		}
	}
	return &fwk.PreFilterResult{NodeNames: p.nodes}, status
}

// stateRefused marks the cycle state of a pod that upstream's plugin has not seen.
const stateRefused = NameDevices + "/refused"

type refused struct{}

// Clone is for parallel tries.
func (r refused) Clone() fwk.StateData { return r }

// plan is the cluster's, unless the pod is to be shown all nodes. How is "" for pods
// without claims.
func (d *Devices) plan(ctx context.Context, pod *corev1.Pod, nodes []fwk.NodeInfo) (plan, string) {
	if to, short, ok := d.cluster.gang.of(pod); ok {
		if short != "" {
			return plan{refuse: short, yield: true}, howRefused
		}
		return d.cluster.follow(to), howChosen
	}
	if len(pod.Spec.ResourceClaims) == 0 || d.cluster.simulated != nil {
		return plan{}, ""
	}
	if d.chosen[pod.UID] && d.cluster.tour == nil {
		delete(d.chosen, pod.UID)
		return plan{}, howAgain
	}
	choose, how := d.cluster.plan, howChosen
	if t := d.cluster.tour; t != nil && (t.open || t.shown.Has(pod.UID)) {
		choose, how = d.cluster.everywhere, howAgain
	}
	p, err := choose(ctx, pod, nodes)
	switch {
	case errors.Is(err, errNotOurs), errors.Is(err, errUpstream):
		return plan{}, howUpstream
	case err != nil:
		// Upstream works without a board, so this is no reason to leave the pod waiting.
		logr.FromContextOrDiscard(ctx).Error(err, "choosing devices failed; upstream chooses")
		d.cluster.board = nil
		return plan{}, howUpstream
	case p.refuse != "":
		return p, howRefused
	case p.short:
		return p, howShort
	case p.nodes == nil && how == howChosen:
		return p, howUpstream
	}
	return p, how
}

// PostFilter has a pod that did not fit on the chosen nodes tried again on all of them,
// before anybody is made to give way for it.
func (d *Devices) PostFilter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, nodes fwk.NodeToStatusReader) (*fwk.PostFilterResult, *fwk.Status) {
	if d.retry(ctx, pod) {
		return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "does not fit on the nodes that were chosen for its devices; all others are tried next")
	}
	result, status := d.DynamicResources.PostFilter(ctx, state, pod, nodes)
	if errors.Is(status.AsError(), fwk.ErrNotFound) { // refused before upstream saw it
		if _, err := state.Read(stateRefused); err == nil {
			return nil, fwk.NewStatus(fwk.Unschedulable)
		}
		return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "giving way would free no devices")
	}
	return result, status
}

// PodGroupPostFilter has a gang tried in other domains, or its pods on other nodes, before
// anybody is made to give way for it.
func (d *Devices) PodGroupPostFilter(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, try fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	pods := group.GetUnscheduledPods()
	d.cluster.mu.Lock()
	var stuck []types.UID
	for _, pod := range pods {
		if d.chosen[pod.UID] {
			stuck = append(stuck, pod.UID)
		}
	}
	again, known := d.cluster.missed(group.GetPodGroup(), stuck...)
	d.cluster.mu.Unlock()
	if again && len(pods) > 0 {
		d.hurry.add(pods[0].UID)
	}
	if again || !known && d.retryAny(ctx, pods) {
		return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "the gang does not fit where it was tried; other nodes are tried next")
	}
	d.cluster.mu.Lock()
	refused := d.cluster.gang != nil && d.cluster.gang.short != ""
	d.cluster.mu.Unlock()
	if refused { // before upstream saw any of them
		return nil, fwk.NewStatus(fwk.Unschedulable)
	}
	return d.DynamicResources.PodGroupPostFilter(ctx, state, group, try)
}

// retry wakes a pod, if it was shown chosen nodes only.
func (d *Devices) retry(ctx context.Context, pod *corev1.Pod) bool {
	d.cluster.mu.Lock()
	was := d.chosen[pod.UID]
	d.cluster.mu.Unlock()
	if was { // not under the lock: the queue has one of its own
		d.handle.Activate(logr.FromContextOrDiscard(ctx), map[string]*corev1.Pod{pod.Namespace + "/" + pod.Name: pod})
	}
	return was
}

// retryAny wakes those of a gang that is placed without domains.
func (d *Devices) retryAny(ctx context.Context, pods []*corev1.Pod) bool {
	was := false
	for _, pod := range pods {
		was = d.retry(ctx, pod) || was
	}
	return was
}

// Reserve is upstream's; the pod has its nodes.
func (d *Devices) Reserve(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	d.cluster.mu.Lock()
	delete(d.chosen, pod.UID)
	if state.GetPodGroupSchedulingCycle() == nil { // not on trial
		delete(d.cluster.promised, pod.UID)
		d.cluster.arrived(pod)
	}
	d.cluster.mu.Unlock()
	return d.DynamicResources.Reserve(ctx, state, pod, node)
}

// marksMax bounds the pods that are remembered; those that are gone are not told to us.
// Who is forgotten is shown chosen nodes once more.
const marksMax = 1 << 14

func mark(pods map[types.UID]bool, pod types.UID) {
	if len(pods) >= marksMax {
		clear(pods)
	}
	pods[pod] = true
}
