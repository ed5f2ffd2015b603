package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	configv1 "k8s.io/kube-scheduler/config/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"
)

// NamePreemption is the name of [Preemption] in profiles.
const NamePreemption = "PolderPreemption"

// Preemption is upstream's DefaultPreemption, which chooses who gives way, and knows
// neither that who goes leaves devices behind nor what work is lost. While it looks for
// them, the devices of who would be gone count as free; and of those of one priority, they
// go who lose least.
type Preemption struct {
	*defaultpreemption.DefaultPreemption
	cluster *cluster
	handle  fwk.Handle
	losses  *losses // of the present cycle
}

var (
	_ fwk.PostFilterPlugin         = &Preemption{}
	_ fwk.PodGroupPostFilterPlugin = &Preemption{}
	_ fwk.PreEnqueuePlugin         = &Preemption{}
	_ fwk.EnqueueExtensions        = &Preemption{}
	_ preemption.Interface         = &Preemption{}
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
	p := &Preemption{DefaultPreemption: up, cluster: k, handle: h}
	up.MoreImportantVictim = func(a, b preemption.Victim) bool { return p.losses.moreImportant(a, b) }
	up.Evaluator.Interface = p
	up.Executor.PreemptPod = p.overtaken(up.Executor.PreemptPod)
	return p, nil
}

// evict makes a pod go; quietly says that nothing will tell of it, so that upstream has
// who waits for it look again at once.
type evict = func(ctx context.Context, c preemption.Candidate, by preemption.ExecutorPreemptor, victim *corev1.Pod, plugin string) (quietly bool, err error)

// overtaken adds that pods may be gone already. Upstream (1.37) takes them for pods of which
// it will hear, and whoever waited for the last of them would wait for minutes.
func (p *Preemption) overtaken(send evict) evict {
	pods := p.handle.SharedInformerFactory().Core().V1().Pods().Lister()
	return func(ctx context.Context, c preemption.Candidate, by preemption.ExecutorPreemptor, victim *corev1.Pod, plugin string) (bool, error) {
		now, err := pods.Pods(victim.Namespace).Get(victim.Name)
		if apierrors.IsNotFound(err) || err == nil && now.UID != victim.UID {
			return true, nil
		}
		return send(ctx, c, by, victim, plugin)
	}
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
	if s := p.cluster.awaits([]*corev1.Pod{pod}); s != nil {
		return nil, s
	}
	p.losses = p.cluster.losses(time.Now())
	result, status := p.DefaultPreemption.PostFilter(ctx, state, pod, nodes)
	if status.IsSuccess() && result != nil {
		p.cluster.promise(pod, result.NominatingInfo)
	}
	return result, status
}

// OrderedScoreFuncs has those nodes come first whose victims are the cheapest.
func (p *Preemption) OrderedScoreFuncs(_ context.Context, victims map[string]*extenderv1.Victims) []func(string) int64 {
	tolls := make(map[string]toll, len(victims))
	for node, v := range victims {
		tolls[node] = p.losses.toll(v.Pods, v.NumPDBViolations)
	}
	names := slices.SortedFunc(maps.Keys(victims), func(a, b string) int { return tolls[a].compare(tolls[b]) })
	score := map[string]int64{}
	for i, node := range names {
		score[node] = -int64(i)
		if i > 0 && tolls[node].compare(tolls[names[i-1]]) == 0 {
			score[node] = score[names[i-1]]
		}
	}
	return []func(string) int64{func(node string) int64 { return score[node] }}
}

// PodGroupPostFilter has pods and gangs give way to a gang.
func (p *Preemption) PodGroupPostFilter(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, try fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	if s := p.cluster.awaits(group.GetUnscheduledPods()); s != nil {
		return nil, s
	}
	p.losses = p.cluster.losses(time.Now())
	sim, err := p.cluster.simulate(p.losses, p.losses.priority(group.GetUnscheduledPods()))
	if err != nil {
		return nil, fwk.AsStatus(err)
	}
	result, status := func() (*fwk.PodGroupPostFilterResult, *fwk.Status) {
		defer p.cluster.wake()
		return p.search(ctx, state, group, sim, try)
	}()
	if status.IsSuccess() && result != nil {
		for _, pod := range group.GetUnscheduledPods() {
			p.cluster.promise(pod, result.NominatingInfos[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}])
		}
	} else if err := p.giveUp(ctx, group.GetPodGroup(), group.GetUnscheduledPods()); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "a gang without a place keeps a part of one; the next attempt tries again")
	}
	return result, status
}

// search is upstream's, on the cluster without those who may give way. The gang is tried in
// one domain after the other there, as it is otherwise from attempt to attempt.
func (p *Preemption) search(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, sim *simulation, try fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	return p.DefaultPreemption.PodGroupPostFilter(ctx, state, group, func(ctx context.Context) (*fwk.PodGroupAssignments, *fwk.Status) {
		sim.trying = true
		defer func() { sim.trying = false }()
		for {
			where, status := try(ctx)
			if !status.IsRejected() || !p.cluster.elsewhere() {
				return where, status
			}
		}
	})
}

// promise notes where others have been made to go for a pod. The pod itself says so only
// when that has been written, and it may be looked at before.
func (c *cluster) promise(pod *corev1.Pod, at *fwk.NominatingInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.promised) >= marksMax {
		clear(c.promised)
	}
	if at != nil && at.NominatedNodeName != "" {
		c.promised[pod.UID] = at.NominatedNodeName
	}
}

// begin notes what the pods of a cycle are to wait for when it begins.
func (c *cluster) begin(pods []*corev1.Pod) {
	if c.awaited = nil; len(pods) > 0 {
		c.awaited, c.waiter = c.leaving(pods), pods[0].UID
	}
}

// awaits says to wait if others have been made to go for these pods, and had not given
// back their devices when room was looked for, or have not now. What they gave back in
// between was not seen, and has the pods looked at again.
func (c *cluster) awaits(pods []*corev1.Pod) *fwk.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.awaited != nil && len(pods) > 0 && pods[0].UID == c.waiter {
		return c.awaited
	}
	return c.leaving(pods)
}

// leaving says to wait if pods have been made to go from the nodes that these were
// promised, and their claims have not given back the devices yet: to look again would
// make others go for nothing.
func (c *cluster) leaving(pods []*corev1.Pod) *fwk.Status {
	promised := sets.New[string]()
	for _, pod := range pods {
		for _, n := range []string{pod.Status.NominatedNodeName, c.promised[pod.UID]} {
			if n != "" && len(pod.Spec.ResourceClaims) > 0 {
				promised.Insert(n)
			}
		}
	}
	if promised.Len() == 0 {
		return nil
	}
	all, err := c.claims.List()
	if err != nil {
		return fwk.AsStatus(fmt.Errorf("listing claims: %w", err))
	}
	lister := c.handle.SharedInformerFactory().Core().V1().Pods().Lister()
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
		out.Insert(c.ghostsOf(pod, g)...)
	}
	return out
}

// ghostsOf is those of one pod.
func (c *cluster) ghostsOf(pod *corev1.Pod, g gone) []types.UID {
	claims, err := c.claimsOf(pod)
	if err != nil {
		return nil // has none yet
	}
	var out []types.UID
	for _, claim := range claims {
		left := slices.ContainsFunc(claim.Status.ReservedFor, func(r resourcev1.ResourceClaimConsumerReference) bool { return g[r.UID] == nil })
		if claim.Status.Allocation != nil && !left {
			out = append(out, claim.UID)
		}
	}
	return out
}
