package plugin

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
)

// How many nodes a pod is shown: one, unless it has preferences that the board does not
// know, or asks for more than the board can say.
const (
	shownOne  = 1
	shownSome = 4
)

// plan is what to do with a pod that has claims.
type plan struct {
	nodes  sets.Set[string] // shown; nil: all
	slices []*resourcev1.ResourceSlice
	short  bool   // the shown nodes have the devices, and too little of something else
	refuse string // no node has the devices, in words
	yield  bool   // others may have to give way for them
}

// plan decides about a pod. An error means that upstream decides.
func (c *cluster) plan(ctx context.Context, pod *corev1.Pod, nodes []fwk.NodeInfo) (plan, error) {
	claims, err := c.open(pod)
	if err != nil {
		return plan{}, err
	}
	if err := c.sync(); err != nil {
		return plan{}, err
	}
	w, err := c.compiler.compile(claims)
	if err != nil {
		return plan{}, err
	}
	if err := c.relate(w); err != nil {
		return plan{}, err
	}
	base := amounts(pod)
	typical := w.tiers[0][0]
	typical.CPU, typical.Memory = base.CPU, base.Memory
	c.habits.meet(pod.UID, typical)

	c.look()
	k := shownOne
	if w.also || hasPreference(pod) {
		k = shownSome
	}
	g := gateOf(ctx, pod, nodes, c.nodes)
	began := time.Now()
	best, err := c.decide(w, base, k, &g)
	c.metrics.decision.Observe(time.Since(began).Seconds())
	if err == nil && len(best) == 0 {
		// Before we say no we look at everything again: upstream may have woken this pod
		// for something that we have not heard of yet.
		if best, err = c.again(w, k, pod, &g); err == nil && len(best) == 0 {
			return c.none(w, pod, &g)
		}
	}
	if err != nil {
		return plan{}, err
	}
	p := plan{nodes: sets.New[string](), slices: c.inventory.show(best...)}
	for _, d := range best {
		p.nodes.Insert(d.Node)
	}
	return p, nil
}

// follow is the plan of a pod whose gang has one.
func (c *cluster) follow(to member) plan {
	return plan{nodes: sets.New(to.Node), slices: c.inventory.show(to)}
}

// none is for who has room nowhere. If CPU, memory or places for pods are short,
// upstream looks at the nodes that have the devices: other pods may have to give way
// there. If devices are, nothing would come of it.
func (c *cluster) none(w wish, pod *corev1.Pod, g *gate) (plan, error) {
	p := plan{short: true, nodes: sets.New[string]()}
	var there []sched.Decision
	for _, tier := range w.tiers {
		for _, r := range tier { // which has neither CPU nor memory yet
			err := c.board.Each(r, func(name string, _ int64) {
				if m := c.node(name); !p.nodes.Has(name) && g.open(m.info.Node()) {
					p.nodes.Insert(name)
					there = append(there, sched.Decision{Node: name})
				}
			})
			if err != nil {
				return plan{}, err
			}
		}
	}
	if len(p.nodes) > 0 {
		p.slices = c.inventory.show(there...)
		return p, nil
	}
	if pod.Spec.SchedulingGroup != nil {
		return plan{}, nil // upstream's part for gangs wants to have seen each pod
	}
	r, base := w.tiers[0][0], amounts(pod)
	r.CPU, r.Memory = base.CPU, base.Memory
	why := c.board.Explain(r)
	why.Request = c.compiler.told(r)
	return plan{refuse: "no node has the devices for " + why.Request.String() + ": " + why.String(), yield: c.below(pod)}, nil
}

// again decides with everything read anew.
func (c *cluster) again(w wish, k int, pod *corev1.Pod, g *gate) ([]sched.Decision, error) {
	if err := c.refresh(); err != nil {
		return nil, err
	}
	return c.decide(w, amounts(pod), k, g)
}

// refresh reads everything anew.
func (c *cluster) refresh() error {
	all, err := c.claims.List()
	if err != nil {
		return err
	}
	c.ledger.correct(all)
	return c.sync()
}

// errNotOurs says that there is nothing to decide.
var errNotOurs = errors.New("no claim to allocate")

// open returns the pod's claims if none of them has devices yet: what shares devices
// with others, or goes where they are, is upstream's.
func (c *cluster) open(pod *corev1.Pod) ([]*resourcev1.ResourceClaim, error) {
	if len(pod.Spec.ResourceClaims) == 0 || pod.Status.NominatedNodeName != "" || !c.ledger.complete() {
		return nil, errNotOurs
	}
	return c.unallocated(pod)
}

// unallocated is the pod's claims, if none has devices.
func (c *cluster) unallocated(pod *corev1.Pod) ([]*resourcev1.ResourceClaim, error) {
	out, err := c.claimsOf(pod)
	for _, claim := range out {
		if claim.Status.Allocation != nil || c.claims.GetPendingAllocation(claim.UID) != nil {
			return nil, errNotOurs
		}
	}
	return out, err
}

// claimsOf a pod, if all of them are there.
func (c *cluster) claimsOf(pod *corev1.Pod) ([]*resourcev1.ResourceClaim, error) {
	var out []*resourcev1.ResourceClaim
	for i := range pod.Spec.ResourceClaims {
		name, _, err := resourceclaim.Name(pod, &pod.Spec.ResourceClaims[i])
		if err != nil || name == nil {
			return nil, errNotOurs
		}
		claim, err := c.claims.Get(pod.Namespace, *name)
		if err != nil {
			return nil, errNotOurs
		}
		out = append(out, claim)
	}
	return out, nil
}
