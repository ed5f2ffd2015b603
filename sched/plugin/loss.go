package plugin

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/sched"
)

// losses are the work that pods would lose if they ended at one moment: the
// device-seconds since their job last saved, or since they started. Without devices it is
// the seconds of processors. They are worked out once for each pod, by several goroutines.
type losses struct {
	cluster *cluster
	now     time.Time
	groups  fwk.PodGroupLister // nil: the cluster has none

	mu sync.Mutex
	of map[types.UID]float64
}

func (c *cluster) losses(now time.Time) *losses {
	l := &losses{cluster: c, now: now, of: map[types.UID]float64{}}
	if c.gangs {
		l.groups = c.handle.SnapshotSharedLister().PodGroups()
	}
	return l
}

// priority of pods that are placed together.
func (l *losses) priority(pods []*corev1.Pod) int32 {
	if len(pods) == 0 {
		return math.MinInt32
	}
	return preemption.GetPodPriority(pods[0], l.groups, nil)
}

// pod is what one loses.
func (l *losses) pod(pod *corev1.Pod) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, known := l.of[pod.UID]
	if !known {
		lost = l.cluster.weight(pod) * l.now.Sub(l.since(pod)).Seconds()
		l.of[pod.UID] = lost
	}
	return lost
}

// since when a pod has kept nothing of what it did. What is said of its gang, or of itself,
// can only make that later than its start.
func (l *losses) since(pod *corev1.Pod) time.Time {
	at := l.now
	if s := pod.Status.StartTime; s != nil && s.Time.Before(at) {
		at = s.Time
	}
	said := []string{pod.Annotations[v1alpha1.AnnotationSaved]}
	if g := pod.Spec.SchedulingGroup; g != nil && g.PodGroupName != nil && l.groups != nil {
		if group, err := l.groups.Get(pod.Namespace, *g.PodGroupName); err == nil {
			said = append(said, group.Annotations[v1alpha1.AnnotationSaved])
		}
	}
	for _, text := range said {
		if saved, err := time.Parse(time.RFC3339, text); err == nil && saved.After(at) {
			at = saved
		}
	}
	if at.After(l.now) {
		at = l.now
	}
	return at
}

// weight is how many devices a pod has, or processors, if it has none.
func (c *cluster) weight(pod *corev1.Pod) float64 {
	all, err := c.claimsOf(pod)
	if err != nil {
		all = nil // has none yet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	milli := 0.0
	for _, claim := range all {
		if claim.Status.Allocation == nil {
			continue
		}
		has := float64(len(claim.Status.Allocation.Devices.Results)) * sched.Whole
		if r, ok := c.holds[claim.UID]; ok && r.Count > 0 {
			has = float64(r.Milli())
		}
		milli += has / float64(max(1, len(claim.Status.ReservedFor)))
	}
	if milli == 0 {
		r := amounts(pod)
		milli = float64(r.CPU)
	}
	return milli / 1000
}

// victim is what victims lose together.
func (l *losses) victim(v preemption.Victim) float64 {
	lost := 0.0
	for _, p := range v.Pods() {
		lost += l.pod(p.GetPod())
	}
	return lost
}

// moreImportant is upstream's order of victims, with what they lose behind the priority:
// of those that are alike in that, who loses most is the last to go.
func (l *losses) moreImportant(a, b preemption.Victim) bool {
	if a.Priority() != b.Priority() {
		return a.Priority() > b.Priority()
	}
	if x, y := l.victim(a), l.victim(b); x != y {
		return x > y
	}
	return preemption.MoreImportantVictim(a, b)
}

// toll is what it costs that some pods go: how many of them a budget protects, and of each
// priority how much work is lost and by how many.
type toll struct {
	broken int64
	of     map[int32]share
}

type share struct {
	lost float64
	pods int
}

func (l *losses) toll(pods []*corev1.Pod, broken int64) toll {
	t := toll{broken: broken, of: map[int32]share{}}
	for _, p := range pods {
		priority := preemption.GetPodPriority(p, l.groups, nil)
		s := t.of[priority]
		t.of[priority] = share{s.lost + l.pod(p), s.pods + 1}
	}
	return t
}

// compare is negative if t is less. The highest priority counts first, and the next only
// if nobody loses more of that.
func (t toll) compare(o toll) int {
	if t.broken != o.broken {
		return cmp.Compare(t.broken, o.broken)
	}
	levels := slices.AppendSeq(slices.Collect(maps.Keys(t.of)), maps.Keys(o.of))
	slices.Sort(levels)
	for _, level := range slices.Backward(slices.Compact(levels)) {
		a, here := t.of[level]
		b, there := o.of[level]
		switch {
		case here != there && here:
			return 1
		case here != there:
			return -1
		case a != b:
			return cmp.Or(cmp.Compare(a.lost, b.lost), cmp.Compare(a.pods, b.pods))
		}
	}
	return 0
}
