package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/gang"
)

// gangPlan is where the pods of one gang go, for as long as its scheduling cycle lasts.
type gangPlan struct {
	members  map[types.UID]member
	short    string // why there is no room, in words; "" if there is
	requests map[types.UID]sched.Request
}

// member is where one of them goes.
type member = sched.Decision

// of a pod; ok is false if it is in no plan.
func (g *gangPlan) of(pod *corev1.Pod) (m member, short string, ok bool) {
	if g == nil {
		return member{}, "", false
	}
	m, ok = g.members[pod.UID]
	return m, g.short, ok
}

// GeneratePlacements places a gang on the board, all of it, and has upstream follow: it
// returns the one domain that was chosen. If its pods do not fit there, the next attempt is
// placed in the best of the others. A gang for which that failed, too, or that the board
// has no words for, is placed pod by pod by upstream, in the best domains, more of them each
// time (tour.go).
func (d *Devices) GeneratePlacements(ctx context.Context, _ fwk.PodGroupCycleState, group fwk.PodGroupInfo, parent *fwk.Placement) (*fwk.GeneratePlacementsResult, *fwk.Status) {
	c := d.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gang, c.tour = nil, c.tourOf(group.GetPodGroup())
	if c.simulated == nil {
		c.begin(group.GetUnscheduledPods())
	}
	d.hurry.drop(group.GetUnscheduledPods())
	for _, pod := range group.GetUnscheduledPods() {
		delete(d.chosen, pod.UID)
	}
	t, err := d.terms(group)
	if err != nil {
		return nil, fwk.AsStatus(err)
	}
	c.learn(t)
	if c.simulated != nil {
		if err := c.simulated.look(c); err != nil {
			return nil, fwk.AsStatus(err)
		}
	}
	began := time.Now()
	p, how, err := d.planGang(ctx, group, t, parent)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "placing a gang on the board failed; upstream places its pods")
		c.board, p, how = nil, nil, howUpstream
	}
	c.metrics.gangs.WithLabelValues(how).Inc()
	if p == nil {
		return c.domains(ctx, group.GetUnscheduledPods(), t, parent)
	}
	if how == howChosen {
		c.tour.plan = &p.Domain
	}
	c.metrics.gang.Observe(time.Since(began).Seconds())
	nodes := parent.Nodes
	if l := p.Domain; l.Level != "" {
		nodes = c.inside(l, nodes)
	}
	return &fwk.GeneratePlacementsResult{Placements: []*fwk.Placement{{Name: p.Domain.Name, Nodes: nodes}}}, nil
}

// planGang makes the plan of a gang. Nil means that upstream places its pods.
func (d *Devices) planGang(ctx context.Context, group fwk.PodGroupInfo, t terms, parent *fwk.Placement) (*gang.Placement, string, error) {
	c := d.cluster
	pods := group.GetUnscheduledPods()
	if t.least == 0 || len(pods) == 0 || len(pods) > gang.MembersMax || !c.ledger.complete() {
		return nil, howUpstream, nil
	}
	if len(c.tour.planned) >= plansMax {
		return nil, howAgain, nil
	}
	if err := c.sync(); err != nil {
		return nil, "", err
	}
	m, err := c.muster(ctx, pods, t, parent)
	if err != nil {
		return nil, "", err
	}
	if m.foreign {
		return nil, howUpstream, nil
	}
	p, short, err := c.placeGang(m)
	if err == nil && p == nil && len(m.not) > 0 {
		return nil, howAgain, nil
	}
	if err == nil && p == nil && c.simulated == nil {
		// Before we say no we look at everything again, as for single pods.
		if err = c.refresh(); err == nil {
			p, short, err = c.placeGang(m)
		}
	}
	if err != nil {
		return nil, "", err
	}
	if p != nil && c.simulated != nil {
		if p, err = c.spare(m, p); err != nil {
			return nil, "", err
		}
	}
	plan := &gangPlan{members: make(map[types.UID]member, len(pods)), requests: make(map[types.UID]sched.Request, len(pods))}
	if p != nil {
		for i, to := range p.Decisions {
			plan.members[m.pods[i].UID], plan.requests[m.pods[i].UID] = to, m.got[i]
		}
		c.gang = plan
		return p, howChosen, nil
	}
	if fits, err := c.fitsDevices(m); fits || err != nil {
		return nil, howShort, err // of something else; others may have to give way for that
	}
	for _, pod := range pods {
		plan.members[pod.UID] = member{}
	}
	short.Level, short.Request = v1alpha1.LevelName(short.Level), c.compiler.told(short.Request)
	plan.short = short.String()
	c.gang = plan
	return &gang.Placement{}, howRefused, nil
}

// muster is the members of a gang in words of the board.
type muster struct {
	terms  terms
	pods   []*corev1.Pod
	wishes []wish
	base   []sched.Request
	sorts  []string
	may    map[string]sets.Set[string] // nodes, by sort
	within []sched.Label
	not    []sched.Label   // domains in which it did not fit
	got    []sched.Request // what each gets, once it is placed

	foreign bool // more is asked for than the board has words for
	vague   bool // or less than it knows, or one of several
}

// muster says what the pods ask for, as far as the board has words for it.
func (c *cluster) muster(ctx context.Context, pods []*corev1.Pod, t terms, parent *fwk.Placement) (*muster, error) {
	m := &muster{terms: t, pods: pods, may: map[string]sets.Set[string]{}, not: c.tour.planned}
	if t.there != "" {
		m.within = []sched.Label{{Level: t.required, Name: t.there}}
	}
	for _, pod := range pods {
		base := amounts(pod)
		base.Within = m.within
		w, err := c.wishOf(pod)
		switch {
		case errors.Is(err, errNotOurs), errors.Is(err, errUpstream):
			m.foreign, m.vague, w = true, true, bare
		case err != nil:
			return nil, err
		default:
			m.foreign = m.foreign || w.also || hasPreference(pod)
			m.vague = m.vague || len(w.tiers) > 1 || len(w.tiers[0]) > 1
			typical := w.tiers[0][0]
			typical.CPU, typical.Memory = base.CPU, base.Memory
			c.habits.meet(pod.UID, typical)
		}
		sort, err := sortOf(pod)
		if err != nil {
			return nil, err
		}
		if m.may[sort] == nil {
			m.may[sort] = sets.New[string]()
			g := gateOf(ctx, pod, nil, 0)
			for _, n := range parent.Nodes {
				if g.open(n.Node()) {
					m.may[sort].Insert(n.Node().Name)
				}
			}
		}
		m.wishes, m.base, m.sorts = append(m.wishes, w), append(m.base, base), append(m.sorts, sort)
	}
	return m, c.relate(m.wishes...)
}

// bare is the wish for no devices.
var bare = wish{tiers: [][]sched.Request{{{}}}}

// wishOf a pod, that may ask for no devices at all.
func (c *cluster) wishOf(pod *corev1.Pod) (wish, error) {
	if len(pod.Spec.ResourceClaims) == 0 {
		return bare, nil
	}
	claims, err := c.unallocated(pod)
	if err != nil {
		return wish{}, err
	}
	return c.compiler.compile(claims)
}

// sortOf is the same for pods that may go to the same nodes.
func sortOf(pod *corev1.Pod) (string, error) {
	var required *corev1.NodeSelector
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		required = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	if required == nil && len(pod.Spec.NodeSelector) == 0 && len(pod.Spec.Tolerations) == 0 {
		return "", nil
	}
	b, err := json.Marshal([]any{pod.Spec.NodeSelector, required, pod.Spec.Tolerations})
	return string(b), err
}

// placeGang finds the best place for what is wanted most, then for what is wanted next.
// Of alternatives that are wanted alike, the one is taken that least is lost by. The
// board is as it was.
func (c *cluster) placeGang(m *muster) (best *gang.Placement, short *gang.Shortage, err error) {
	tiers, lost := 0, 0.0
	for _, w := range m.wishes {
		tiers = max(tiers, len(w.tiers))
	}
	for t := range tiers {
		for a := range m.alternatives(t) {
			requests := m.requests(t, a)
			p, s, err := c.try(m, requests, func() {
				if now := c.board.Fragmentation(); best == nil || now < lost {
					lost, m.got = now, requests
				}
			})
			if err != nil {
				return nil, nil, err
			}
			if short == nil {
				short = s
			}
			if p != nil && &m.got[0] == &requests[0] {
				best = p
			}
		}
		if best != nil {
			return best, nil, nil
		}
	}
	return nil, short, nil
}

// try places requests, has a look, and takes them off again.
func (c *cluster) try(m *muster, requests []sched.Request, look func()) (*gang.Placement, *gang.Shortage, error) {
	p, s, err := gang.Place(c.board, m.gang(requests))
	if p == nil || err != nil {
		return nil, s, err
	}
	look()
	for i, d := range p.Decisions {
		if err := c.board.Release(requests[i], d); err != nil {
			return nil, nil, fmt.Errorf("taking a gang off the board again: %w", err)
		}
	}
	return p, nil, nil
}

// gang is the muster in words of that package.
func (m *muster) gang(requests []sched.Request) gang.Gang {
	return gang.Gang{
		Requests: requests, Required: m.terms.required, Preferred: m.terms.preferred, Sorts: m.sorts, Not: m.not,
		May: func(sort, node string) bool { return m.may[sort].Has(node) },
	}
}

// fitsDevices reports whether there are the devices, whatever there is of other things.
func (c *cluster) fitsDevices(m *muster) (bool, error) {
	bare := *m
	bare.base = slices.Repeat([]sched.Request{{Within: m.within}}, len(m.pods))
	p, _, err := c.placeGang(&bare)
	return p != nil, err
}

// alternatives is how many there are in a tier.
func (m *muster) alternatives(tier int) int {
	n := 0
	for _, w := range m.wishes {
		n = max(n, len(w.tiers[min(tier, len(w.tiers)-1)]))
	}
	return n
}

// requests of an alternative; who has fewer asks for the last.
func (m *muster) requests(tier, alternative int) []sched.Request {
	out := make([]sched.Request, len(m.wishes))
	for i, w := range m.wishes {
		of := w.tiers[min(tier, len(w.tiers)-1)]
		out[i] = of[min(alternative, len(of)-1)]
		out[i].CPU, out[i].Memory, out[i].Within = m.base[i].CPU, m.base[i].Memory, m.base[i].Within
	}
	return out
}
