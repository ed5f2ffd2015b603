package plugin

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	configv1 "k8s.io/kube-scheduler/config/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
)

// NamePreemption is the name of [Preemption] in profiles.
const NamePreemption = "PolderPreemption"

// Preemption is upstream's DefaultPreemption, which chooses who gives way, and does not
// know that who goes leaves devices behind. While it looks for them, the devices of who
// would be gone count as free.
type Preemption struct {
	*defaultpreemption.DefaultPreemption
	cluster *cluster
	handle  fwk.Handle
}

var (
	_ fwk.PostFilterPlugin         = &Preemption{}
	_ fwk.PodGroupPostFilterPlugin = &Preemption{}
	_ fwk.PreEnqueuePlugin         = &Preemption{}
	_ fwk.EnqueueExtensions        = &Preemption{}
)

func newPreemption(ctx context.Context, k *cluster, h fwk.Handle, f feature.Features) (*Preemption, error) {
	var out configv1.DefaultPreemptionArgs
	scheme.Scheme.Default(&out)
	var args config.DefaultPreemptionArgs
	if err := scheme.Scheme.Convert(&out, &args, nil); err != nil {
		return nil, fmt.Errorf("making the arguments of upstream's preemption: %w", err)
	}
	up, err := defaultpreemption.New(ctx, runtime.Object(&args), h, f)
	if err != nil {
		return nil, fmt.Errorf("making upstream's preemption: %w", err)
	}
	return &Preemption{DefaultPreemption: up, cluster: k, handle: h}, nil
}

// Name is the plugin's in profiles.
func (p *Preemption) Name() string { return NamePreemption }

// EventsToRegister adds that a claim gave back its devices: who waited for others to give
// way looks again then, not when their pods are gone.
func (p *Preemption) EventsToRegister(ctx context.Context) ([]fwk.ClusterEventWithHint, error) {
	events, err := p.DefaultPreemption.EventsToRegister(ctx)
	return append(events, fwk.ClusterEventWithHint{Event: fwk.ClusterEvent{Resource: fwk.ResourceClaim, ActionType: fwk.Update}, QueueingHintFn: givesBack}), err
}

func givesBack(_ logr.Logger, _ *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
	old, ok := before.(*resourcev1.ResourceClaim)
	now, ok2 := after.(*resourcev1.ResourceClaim)
	if ok && ok2 && old.Status.Allocation != nil && now.Status.Allocation == nil {
		return fwk.Queue, nil
	}
	return fwk.QueueSkip, nil
}

// PostFilter has pods give way to one, unless some have done so already.
func (p *Preemption) PostFilter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, nodes fwk.NodeToStatusReader) (*fwk.PostFilterResult, *fwk.Status) {
	if s := p.leaving([]*corev1.Pod{pod}); s != nil {
		return nil, s
	}
	return p.DefaultPreemption.PostFilter(ctx, state, pod, nodes)
}

// PodGroupPostFilter has pods and gangs give way to a gang.
func (p *Preemption) PodGroupPostFilter(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, try fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	if s := p.leaving(group.GetUnscheduledPods()); s != nil {
		return nil, s
	}
	sim, err := p.cluster.simulate()
	if err != nil {
		return nil, fwk.AsStatus(err)
	}
	result, status := func() (*fwk.PodGroupPostFilterResult, *fwk.Status) {
		defer p.cluster.wake()
		return p.search(ctx, state, group, sim, try)
	}()
	if !status.IsSuccess() {
		if err := p.giveUp(ctx, group.GetPodGroup(), group.GetUnscheduledPods()); err != nil {
			logr.FromContextOrDiscard(ctx).Error(err, "a gang without a place keeps a part of one; the next attempt tries again")
		}
	}
	return result, status
}

// search is upstream's, on the cluster without those who may give way.
func (p *Preemption) search(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, sim *simulation, try fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	return p.DefaultPreemption.PodGroupPostFilter(ctx, state, group, func(ctx context.Context) (*fwk.PodGroupAssignments, *fwk.Status) {
		sim.trying = true
		defer func() { sim.trying = false }()
		return try(ctx)
	})
}

// leaving says to wait if pods have been made to go from the nodes that these were
// promised, and their claims have not given back the devices yet: to look again would
// make others go for nothing.
func (p *Preemption) leaving(pods []*corev1.Pod) *fwk.Status {
	c := p.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	promised := sets.New[string]()
	for _, pod := range pods {
		if n := pod.Status.NominatedNodeName; n != "" && len(pod.Spec.ResourceClaims) > 0 {
			promised.Insert(n)
		}
	}
	if promised.Len() == 0 {
		return nil
	}
	all, err := c.claims.List()
	if err != nil {
		return fwk.AsStatus(fmt.Errorf("listing claims: %w", err))
	}
	lister := p.handle.SharedInformerFactory().Core().V1().Pods().Lister()
	for _, claim := range all {
		if claim.Status.Allocation == nil || len(claim.Status.ReservedFor) == 0 {
			continue
		}
		for _, r := range claim.Status.Allocation.Devices.Results {
			at, ok := c.inventory.of[key{r.Driver, r.Pool, r.Device}]
			if !ok || !promised.Has(at.machine.name) {
				continue
			}
			pod, err := lister.Pods(claim.Namespace).Get(claim.Status.ReservedFor[0].Name)
			if err != nil || pod.UID != claim.Status.ReservedFor[0].UID {
				return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, fmt.Sprintf("waiting for claim %s/%s, whose pod is gone, to give back its devices on node %s", claim.Namespace, claim.Name, at.machine.name))
			}
		}
	}
	return nil
}

// below reports whether some pod with claims has a lower priority, so that it may have to
// give way.
func (c *cluster) below(pod *corev1.Pod) bool {
	if p := pod.Spec.PreemptionPolicy; p != nil && *p == corev1.PreemptNever {
		return false
	}
	infos, err := c.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return false
	}
	priority := corev1helpers.PodPriority(pod)
	for _, info := range infos {
		for _, other := range info.GetPods() {
			if o := other.GetPod(); len(o.Spec.ResourceClaims) > 0 && corev1helpers.PodPriority(o) < priority {
				return true
			}
		}
	}
	return false
}

// gone is pods that would have given way.
type gone map[types.UID]*corev1.Pod

// Clone is called for each node that is tried.
func (g gone) Clone() fwk.StateData {
	c := make(gone, len(g))
	for uid, pod := range g {
		c[uid] = pod
	}
	return c
}

// ghosts is the claims that nobody would have any more.
func (c *cluster) ghosts(g gone) sets.Set[types.UID] {
	out := sets.New[types.UID]()
	for _, pod := range g {
		claims, err := c.claimsOf(pod)
		if err != nil {
			continue // has none yet
		}
		for _, claim := range claims {
			left := false
			for _, r := range claim.Status.ReservedFor {
				left = left || g[r.UID] == nil
			}
			if claim.Status.Allocation != nil && !left {
				out.Insert(claim.UID)
			}
		}
	}
	return out
}
