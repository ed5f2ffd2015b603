package census

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/defrag"
	"polder.dev/polder/sched/stock"
)

// World is what the API server says.
type World struct {
	Now          time.Time
	Nodes        []corev1.Node
	Slices       []resourcev1.ResourceSlice
	Rules        []resourcev1.DeviceTaintRule
	Claims       []resourcev1.ResourceClaim
	Pods         []corev1.Pod
	Jobs         []v1alpha1.TrainJob
	VolumeClaims []corev1.PersistentVolumeClaim
	Volumes      []corev1.PersistentVolume
}

// Config says what is to be known beside that.
type Config struct {
	// Namespace whose jobs alone may be moved; "" is all.
	Namespace string
	// Restart is what it takes a job to start again.
	Restart time.Duration
	// Fixed are jobs that are not to be moved, NAMESPACE/NAME, and why.
	Fixed map[string]string
}

// Census is a cluster in words of the board.
type Census struct {
	Snapshot sched.Snapshot
	// Work of jobs, each worker by itself: NAMESPACE/NAME/INDEX, in the group NAMESPACE/NAME.
	Work []defrag.Work
	// Running and Waiting are the requests of what has devices and of what wants some.
	Running, Waiting []sched.Request
	// Jobs that have devices, by group, and why those stay that cannot be moved.
	Jobs  map[string]*v1alpha1.TrainJob
	Stays map[string]string
	uuids map[piece]string // of devices that claims can name

	// Moving are the jobs whose move is not over, with devices or without.
	Moving []*v1alpha1.TrainJob
}

// piece is a device of the board, or a part of one.
type piece struct {
	node        string
	index, part int
}

// UUIDs of the devices of a decision, by which a claim can be kept to them; ok is false if
// it cannot be.
func (c *Census) UUIDs(d sched.Decision) (out []string, ok bool) {
	for i, index := range d.Devices {
		at := piece{d.Node, index, uncut}
		if d.Parts != nil {
			at.part = d.Parts[i]
		}
		uuid := c.uuids[at]
		if uuid == "" {
			return nil, false
		}
		out = append(out, uuid)
	}
	return out, len(out) > 0
}

// Workload that is to be expected: half is like what runs, and half like what waits,
// for which room is made. Where only one is, it is all.
func (c *Census) Workload() sched.Workload {
	all := sched.Typical(slices.Concat(c.Running, c.Waiting))
	weight := map[string]int64{}
	for _, r := range [][]sched.Request{c.Running, c.Waiting} {
		others := int64(len(c.Running) + len(c.Waiting) - len(r))
		for _, k := range sched.Typical(r).Kinds {
			weight[k.Request.Shape()] += k.Weight * max(1, others)
		}
	}
	for i := range all.Kinds {
		all.Kinds[i].Weight = weight[all.Kinds[i].Request.Shape()]
	}
	return all
}

// taker takes a census.
type taker struct {
	*World
	config    Config
	catalogue *stock.Catalogue
	nodes     map[string]*corev1.Node
	places    map[string]*place // by node
	at        map[claim.ID]seat
	samples   map[string]*claim.Offer                            // a device of each model
	owns      map[types.UID][]claimed                            // by pod, what it alone has
	unmet     map[types.NamespacedName]*resourcev1.ResourceClaim // that have no devices
	pods      map[string][]*corev1.Pod                           // of jobs, by group
	volumes   map[string]*corev1.PersistentVolume                // by claim, NAMESPACE/NAME
	out       *Census
}

// Take takes the census of a world.
func Take(w World, c Config) *Census {
	t := &taker{
		World: &w, config: c, catalogue: stock.NewCatalogue(), nodes: map[string]*corev1.Node{}, places: map[string]*place{}, at: map[claim.ID]seat{},
		samples: map[string]*claim.Offer{}, owns: map[types.UID][]claimed{}, unmet: map[types.NamespacedName]*resourcev1.ResourceClaim{}, pods: map[string][]*corev1.Pod{}, volumes: map[string]*corev1.PersistentVolume{},
		out: &Census{Jobs: map[string]*v1alpha1.TrainJob{}, Stays: map[string]string{}, uuids: map[piece]string{}},
	}
	for i := range w.Nodes {
		t.nodes[w.Nodes[i].Name] = &w.Nodes[i]
		t.places[w.Nodes[i].Name] = &place{}
	}
	t.seats(claim.Offers(w.Slices, w.Rules))
	t.taken()
	t.out.Snapshot = t.snapshot()
	t.bound()
	for i := range w.Pods {
		if p := &w.Pods[i]; !over(p) {
			if job := p.Labels[v1alpha1.LabelTrainJob]; job != "" {
				t.pods[p.Namespace+"/"+job] = append(t.pods[p.Namespace+"/"+job], p)
			} else {
				t.stranger(p)
			}
		}
	}
	jobs := slices.Clone(w.Jobs)
	slices.SortFunc(jobs, func(a, b v1alpha1.TrainJob) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range jobs {
		j := &jobs[i]
		if Moving(j) && !j.Status.State.Done() && j.DeletionTimestamp == nil {
			t.out.Moving = append(t.out.Moving, j)
		}
		t.job(j)
	}
	return t.out
}

// over reports whether a pod needs nothing any more.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// snapshot of the nodes, with what pods and claims have taken off.
func (t *taker) snapshot() sched.Snapshot {
	used := map[string]sched.Amount{}
	for i := range t.Pods {
		p := &t.Pods[i]
		if over(p) || p.Spec.NodeName == "" {
			continue
		}
		a, r := used[p.Spec.NodeName], Amounts(&p.Spec)
		used[p.Spec.NodeName] = sched.Amount{CPU: a.CPU + r.CPU, Memory: a.Memory + r.Memory, Pods: a.Pods + 1}
	}
	var s sched.Snapshot
	for name, n := range t.nodes {
		have, u := n.Status.Allocatable, used[name]
		size := sched.Amount{CPU: have.Cpu().MilliValue(), Memory: have.Memory().Value(), Pods: have.Pods().Value()}
		// A node that has more on it than it says it has is full, not wrong.
		size = sched.Amount{CPU: max(size.CPU, u.CPU), Memory: max(size.Memory, u.Memory), Pods: max(size.Pods, u.Pods)}
		s.Nodes = append(s.Nodes, sched.Node{
			Name: name, Size: size, Free: sched.Amount{CPU: size.CPU - u.CPU, Memory: size.Memory - u.Memory, Pods: size.Pods - u.Pods},
			Devices: t.places[name].devices(),
		})
	}
	slices.SortFunc(s.Nodes, func(a, b sched.Node) int { return cmp.Compare(a.Name, b.Name) })
	return s
}
