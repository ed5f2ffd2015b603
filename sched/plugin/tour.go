package plugin

import (
	"context"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/gang"
)

const (
	// plansMax is in how many domains a gang is placed by the board, one after the other,
	// before upstream places its pods.
	plansMax = 2
	// domainsFirst is how many domains upstream is given at first, twice as many each time
	// that the gang fits in none of them: it places all pods in each, and takes them back.
	domainsFirst = 1
	// preferredMax is how many domains of a preferred level come before those of the
	// required one.
	preferredMax = 4
	// toursMax and triedMax bound what is remembered: gangs, and domains of each. Who is
	// forgotten begins anew; who has tried so many gets all others at once.
	toursMax = 1 << 10
	triedMax = 1 << 10
)

// tour is a gang's way through the domains that it may be in, if it does not fit where the
// board sent it, or the board has no words for it. It ends when the gang is placed, or has
// been tried in all of them, and then begins anew.
type tour struct {
	group   types.UID
	planned []sched.Label         // where the board sent it
	tried   sets.Set[sched.Label] // where upstream could not place it
	next    int                   // how many domains upstream gets next
	shown   sets.Set[types.UID]   // pods that are shown all nodes, because they did not fit on the chosen ones
	open    bool                  // all pods are

	// Of the present attempt:
	plan   *sched.Label  // where the board sent it; nil if it did not
	given  []sched.Label // what upstream was given
	left   bool          // there are others
	narrow bool          // some pod was shown chosen nodes only
}

func newTour(group types.UID) *tour {
	return &tour{group: group, tried: sets.New[sched.Label](), shown: sets.New[types.UID](), next: domainsFirst}
}

// tourOf a group, at the beginning of an attempt. While somebody is looked for who would give
// way, there is one of its own.
func (c *cluster) tourOf(g *schedulingv1beta1.PodGroup) *tour {
	t := (*tour)(nil)
	switch {
	case c.simulated != nil:
		t = c.simulated.tour
	case g == nil:
		return newTour("")
	default:
		t = c.tours[types.NamespacedName{Namespace: g.Namespace, Name: g.Name}]
	}
	if t == nil || c.simulated == nil && t.group != g.UID {
		return newTour(g.UID)
	}
	t.plan, t.given, t.left, t.narrow = nil, nil, false, false
	return t
}

// failed notes that the gang did not fit where it was tried, and which pods did not on the
// nodes that were chosen for them. It reports whether to try elsewhere, or otherwise.
func (t *tour) failed(stuck ...types.UID) (again bool) {
	switch {
	case t.plan != nil:
		t.planned = append(t.planned, *t.plan)
		t.shown.Insert(stuck...)
		return true
	case t.narrow && !t.open: // who knows whether it does not fit there
		t.open = t.shown.Len() > 0 || len(stuck) == 0
		t.shown.Insert(stuck...)
		return true
	}
	t.tried.Insert(t.given...)
	t.next *= 2
	return t.left
}

// give is the next of these, of which the best come first.
func (t *tour) give(all []candidate) []*fwk.Placement {
	untried := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return t.tried.Has(c.at) })
	if len(untried) == 0 {
		untried, t.tried, t.next = all, sets.New[sched.Label](), domainsFirst
	}
	n := min(t.next, len(untried))
	if t.tried.Len()+n > triedMax {
		n = len(untried)
	}
	t.left = n < len(untried)
	var out []*fwk.Placement
	for _, c := range untried[:n] {
		t.given, out = append(t.given, c.at), append(out, c.Placement)
	}
	return out
}

// missed notes that a gang did not fit, and reports whether it is to be tried once more before
// anybody gives way. known is false if the attempt was not one in domains.
func (c *cluster) missed(g *schedulingv1beta1.PodGroup, stuck ...types.UID) (again, known bool) {
	t := c.tour
	if t == nil || g == nil || t.group != g.UID {
		return false, false
	}
	c.tour = nil
	name := types.NamespacedName{Namespace: g.Namespace, Name: g.Name}
	if !t.failed(stuck...) {
		delete(c.tours, name)
		return false, true
	}
	if c.tours[name] == nil {
		c.forgetGone()
	}
	c.tours[name] = t
	return true, true
}

// forgetGone forgets the tours of groups that are gone, and of all if there are still too many.
func (c *cluster) forgetGone() {
	there := c.handle.SnapshotSharedLister().PodGroups()
	maps.DeleteFunc(c.tours, func(at types.NamespacedName, t *tour) bool {
		g, err := there.Get(at.Namespace, at.Name)
		return err != nil || g.UID != t.group
	})
	if len(c.tours) >= toursMax {
		clear(c.tours)
	}
}

// arrived forgets the tour of a pod's gang, which is placed.
func (c *cluster) arrived(pod *corev1.Pod) {
	if g := pod.Spec.SchedulingGroup; g != nil && g.PodGroupName != nil {
		delete(c.tours, types.NamespacedName{Namespace: pod.Namespace, Name: *g.PodGroupName})
	}
}

// elsewhere reports whether a gang for which nobody is gone enough is to be tried in other
// domains.
func (c *cluster) elsewhere() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tour != nil && c.tour.failed()
}

// candidate is a domain, and the nodes of it.
type candidate struct {
	at sched.Label
	*fwk.Placement
}

// domains is the next that a gang is tried in by upstream, pod by pod.
func (c *cluster) domains(ctx context.Context, pods []*corev1.Pod, t terms, parent *fwk.Placement) (*fwk.GeneratePlacementsResult, *fwk.Status) {
	all, err := c.candidates(ctx, pods, t, parent)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "ranking the domains for a gang failed; they are tried by their names")
		c.board, all = nil, c.byName(t, parent)
	}
	return &fwk.GeneratePlacementsResult{Placements: c.tour.give(all)}, nil
}

// candidates are the domains that a gang may be in, the best first: some of each preferred
// level that have room, then all of the required one, but for those that have no room for sure.
func (c *cluster) candidates(ctx context.Context, pods []*corev1.Pod, t terms, parent *fwk.Placement) ([]candidate, error) {
	last := c.byName(t, parent)
	if t.required == "" && len(t.preferred) == 0 || !c.ledger.complete() {
		return last, nil
	}
	if err := c.sync(); err != nil {
		return nil, err
	}
	m, err := c.muster(ctx, pods, t, parent)
	if err != nil {
		return nil, err
	}
	m.not = nil // upstream may find a place there
	g := m.gang(m.requests(0, 0))
	var out []candidate
	for _, level := range t.preferred {
		if level == t.required {
			continue
		}
		some, _ := split(c.among(level, t, parent), gang.Domains(c.board, g, level))
		out = append(out, some[:min(len(some), preferredMax)]...)
	}
	if t.required == "" {
		return append(out, last...), nil
	}
	have, lack := split(last, gang.Domains(c.board, g, t.required))
	sure := !m.vague && t.least >= len(pods)
	if len(have) == 0 && sure && c.simulated == nil {
		// Before we say no we look at everything again, as for single pods.
		if err := c.refresh(); err != nil {
			return nil, err
		}
		have, lack = split(last, gang.Domains(c.board, g, t.required))
	}
	switch {
	case !sure:
		out = append(append(out, have...), lack...)
	case len(have) == 0:
		out = append(out, lack[:min(1, len(lack))]...) // upstream says why
	default:
		out = append(out, have...)
	}
	return out, nil
}

// split sorts domains as the board does, those that have room apart from those that lack it.
func split(all []candidate, by []gang.Domain) (have, lack []candidate) {
	at := make(map[sched.Label]candidate, len(all))
	for _, c := range all {
		at[c.at] = c
	}
	for _, d := range by {
		c, ok := at[d.Label]
		switch {
		case ok && d.Short == 0:
			have = append(have, c)
		case ok:
			lack = append(lack, c)
		}
	}
	return have, lack
}

// byName is the domains of the required level that a gang may be in, as upstream makes
// them; without such a level, all nodes.
func (c *cluster) byName(t terms, parent *fwk.Placement) []candidate {
	if t.required == "" {
		return []candidate{{Placement: parent}}
	}
	return c.among(t.required, t, parent)
}

// among is the domains of a level that are in one that the gang may be in.
func (c *cluster) among(level string, t terms, parent *fwk.Placement) []candidate {
	by, outer, across := map[string]*fwk.Placement{}, map[string]string{}, map[string]bool{}
	for _, n := range parent.Nodes {
		at, ok := c.place(n.Node(), level)
		if !ok {
			continue
		}
		in := ""
		if t.required != "" {
			if in, ok = c.place(n.Node(), t.required); !ok || t.there != "" && t.there != in {
				continue
			}
		}
		if by[at] == nil {
			by[at], outer[at] = &fwk.Placement{Name: at}, in
		}
		across[at] = across[at] || outer[at] != in
		by[at].Nodes = append(by[at].Nodes, n)
	}
	var out []candidate
	for _, at := range slices.Sorted(maps.Keys(by)) {
		if !across[at] {
			out = append(out, candidate{sched.Label{Level: level, Name: at}, by[at]})
		}
	}
	return out
}

// everywhere shows a pod all these nodes, with the devices first that the board would choose
// on each. If they are all that there are, it shows all there is.
func (c *cluster) everywhere(ctx context.Context, pod *corev1.Pod, nodes []fwk.NodeInfo) (plan, error) {
	if len(nodes) >= c.nodes {
		return plan{}, nil
	}
	best, err := c.best(ctx, pod, nodes)
	if err != nil {
		return plan{}, err
	}
	seen := sets.New[string]()
	for _, d := range best {
		seen.Insert(d.Node)
	}
	for _, n := range nodes {
		if !seen.Has(n.Node().Name) {
			best = append(best, sched.Decision{Node: n.Node().Name})
		}
	}
	return plan{slices: c.inventory.show(best...)}, nil
}

// best is what the board would choose on each of these nodes; nothing if it has no words for
// the pod.
func (c *cluster) best(ctx context.Context, pod *corev1.Pod, nodes []fwk.NodeInfo) ([]sched.Decision, error) {
	claims, err := c.unallocated(pod)
	if err != nil {
		return nil, nil //nolint:nilerr // upstream knows
	}
	if err := c.sync(); err != nil {
		return nil, err
	}
	w, err := c.compiler.compile(claims)
	if err != nil {
		return nil, nil //nolint:nilerr // upstream knows
	}
	if err := c.relate(w); err != nil {
		return nil, err
	}
	g := gateOf(ctx, pod, nodes, c.nodes)
	return c.decide(w, amounts(pod), len(nodes), &g)
}
