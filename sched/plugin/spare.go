package plugin

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/gang"
)

const (
	// spareFor is how long is looked for those who can stay. It is the most important that
	// are looked at first; whom it was too late for, upstream spares as it can.
	spareFor = time.Second
	// roundsMax is how many sets of victims are compared.
	roundsMax = 8
)

// victim is who goes together: a pod, or a gang that does not work in part.
type victim struct {
	preemption.Victim
	pods   []*corev1.Pod
	broken int64 // how many of its pods a budget protects
}

// victims are those of lower priority, the most important first, as upstream finds and
// orders them.
func (c *cluster) victims(l *losses, priority int32) ([]*victim, error) {
	infos, err := c.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return nil, err
	}
	var found []preemption.Victim
	seen := sets.New[types.NamespacedName]()
	for _, info := range infos {
		for _, p := range info.GetPods() {
			whole, at := c.wholeGang(p.GetPod())
			if seen.Has(at) {
				continue
			}
			v := preemption.NewPodVictim(p, l.groups, nil)
			if len(whole) > 0 {
				seen.Insert(at)
				if v, err = preemption.NewVictim(whole, v.Priority(), fwk.PodGroupKeyType); err != nil {
					return nil, err
				}
			}
			if v.Priority() < priority {
				l.victim(v) // here, where the cluster's lock is not held
				found = append(found, v)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b preemption.Victim) int {
		switch {
		case l.moreImportant(a, b):
			return -1
		case l.moreImportant(b, a):
			return 1
		}
		return 0
	})
	budgets, err := c.handle.SharedInformerFactory().Policy().V1().PodDisruptionBudgets().Lister().List(labels.Everything())
	if err != nil {
		return nil, err
	}
	guarded, others := preemption.FilterVictimsWithPDBViolation(found, budgets)
	var out []*victim
	for _, v := range guarded {
		out = append(out, victimOf(v.Victim, int64(v.ViolateCount)))
	}
	for _, v := range others {
		out = append(out, victimOf(v, 0))
	}
	return out, nil
}

func victimOf(v preemption.Victim, broken int64) *victim {
	out := &victim{Victim: v, broken: broken}
	for _, p := range v.Pods() {
		out.pods = append(out.pods, p.GetPod())
	}
	return out
}

// wholeGang is the pods of a gang that goes as a whole, and its name; none if the pod is
// of none.
func (c *cluster) wholeGang(pod *corev1.Pod) ([]fwk.PodInfo, types.NamespacedName) {
	g := pod.Spec.SchedulingGroup
	if g == nil || g.PodGroupName == nil {
		return nil, types.NamespacedName{}
	}
	lister := c.handle.SnapshotSharedLister()
	group, err := lister.PodGroups().Get(pod.Namespace, *g.PodGroupName)
	if err != nil || group.Spec.DisruptionMode == nil || group.Spec.DisruptionMode.All == nil {
		return nil, types.NamespacedName{}
	}
	state, err := lister.PodGroupStates().Get(pod.Namespace, group.Name)
	if err != nil {
		return nil, types.NamespacedName{}
	}
	var out []fwk.PodInfo
	for _, p := range state.ScheduledPods() {
		info, err := framework.NewPodInfo(p)
		if err != nil {
			return nil, types.NamespacedName{}
		}
		out = append(out, info)
	}
	return out, types.NamespacedName{Namespace: pod.Namespace, Name: group.Name}
}

// rescue looks for those who can stay.
type rescue struct {
	*cluster
	muster *muster
	until  time.Time
	ghosts sets.Set[types.UID] // all that there are while nobody stays
	held   map[types.UID]int   // claims, by how many who stay have them
}

// outcome is where a gang goes, and who for it.
type outcome struct {
	place *gang.Placement
	got   []sched.Request
	goes  []*victim
	open  []*victim // it was not tried whether they can stay
	toll  toll
}

// spare places a gang, which p is the place of while all are taken away who may be, where
// those who have to go lose least. It tries who can stay, the most important first; and
// again with those before all others who would have had to go, which finds another place.
func (c *cluster) spare(m *muster, p *gang.Placement) (*gang.Placement, error) {
	s := c.simulated
	r := &rescue{cluster: c, muster: m, until: time.Now().Add(spareFor), ghosts: s.ghosts}
	var taken []*victim
	for _, v := range s.victims {
		if s.gone[v.pods[0].UID] != nil {
			taken = append(taken, v)
		}
	}
	anywhere := outcome{place: p, got: m.got}
	best, err := r.round(taken, anywhere)
	first := sets.New[*victim]()
	for now, n := best, 1; err == nil && n < roundsMax && len(now.open) == 0; n++ {
		first.Insert(now.goes...)
		slices.SortStableFunc(taken, func(a, b *victim) int { return rank(first, a) - rank(first, b) })
		if now, err = r.round(taken, anywhere); err != nil || slices.ContainsFunc(now.goes, first.Has) {
			break // there is no other place
		}
		if now.toll.compare(best.toll) < 0 {
			best = now
		}
	}
	if err != nil {
		return nil, err
	}
	m.got = best.got
	for _, v := range best.goes {
		for _, pod := range v.pods {
			s.goes.Insert(pod.UID)
		}
	}
	return best.place, nil
}

func rank(first sets.Set[*victim], v *victim) int {
	if first.Has(v) {
		return 0
	}
	return 1
}

// round has as many stay as there is room for beside the gang, and takes all away again.
func (r *rescue) round(taken []*victim, anywhere outcome) (outcome, error) {
	s := r.simulated
	s.stays, s.ghosts, r.held = map[string]sched.Request{}, r.ghosts.Clone(), map[types.UID]int{}
	out := anywhere
	err := r.keep(taken, &out)
	nodes := slices.Collect(maps.Keys(s.stays))
	s.stays, s.ghosts = nil, r.ghosts
	var pods []*corev1.Pod
	broken := int64(0)
	for _, v := range slices.Concat(out.goes, out.open) {
		pods, broken = append(pods, v.pods...), broken+v.broken
	}
	out.toll = s.losses.toll(pods, broken)
	return out, cmp.Or(err, r.redraw(nodes))
}

// keep has these stay, or as many of them as can.
func (r *rescue) keep(these []*victim, out *outcome) error {
	if len(these) == 0 {
		return nil
	}
	if time.Now().After(r.until) {
		out.open = append(out.open, these...)
		return nil
	}
	if err := r.stay(these, 1); err != nil {
		return err
	}
	p, _, err := r.placeGang(r.muster)
	if err != nil {
		return err
	}
	if p != nil {
		out.place, out.got = p, r.muster.got
		return nil
	}
	if err := r.stay(these, -1); err != nil {
		return err
	}
	if len(these) == 1 {
		out.goes = append(out.goes, these...)
		return nil
	}
	half := len(these) / 2
	if err := r.keep(these[:half], out); err != nil {
		return err
	}
	return r.keep(these[half:], out)
}

// stay puts back what these have, or takes it away again, by 1 or -1.
func (r *rescue) stay(these []*victim, by int) error {
	s := r.simulated
	nodes := sets.New[string]()
	for _, v := range these {
		for _, pod := range v.pods {
			nodes.Insert(pod.Spec.NodeName)
			has, a := s.stays[pod.Spec.NodeName], amounts(pod)
			has.CPU, has.Memory, has.Count = has.CPU+int64(by)*a.CPU, has.Memory+int64(by)*a.Memory, has.Count+by
			s.stays[pod.Spec.NodeName] = has
			claims, err := r.claimsOf(pod)
			if err != nil {
				continue // has none yet
			}
			for _, claim := range claims {
				if !r.ghosts.Has(claim.UID) {
					continue
				}
				if r.held[claim.UID] += by; r.held[claim.UID] > 0 {
					s.ghosts.Delete(claim.UID)
				} else {
					s.ghosts.Insert(claim.UID)
				}
			}
		}
	}
	return r.redraw(nodes.UnsortedList())
}

// redraw brings nodes on the board up to date.
func (r *rescue) redraw(nodes []string) error {
	for _, name := range nodes {
		if m := r.node(name); m != nil && m.info != nil {
			if err := r.board.Set(r.state(m)); err != nil {
				return err
			}
		}
	}
	return nil
}
