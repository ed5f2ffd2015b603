package plugin

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// stateGone is where the cycle state of a pod has who would be gone.
const stateGone = NameDevices + "/gone"

// simulation is a search for who gives way to a gang. Upstream takes away all who may,
// places the gang once, and then tries to put back one after the other.
type simulation struct {
	before gone // pods that were there
	gone   gone // of these, who is taken away
	ghosts sets.Set[types.UID]
	back   map[string]int // pods with devices that were put back, by node
	trying bool           // the gang is being placed
	tour   *tour          // where it has been tried

	losses  *losses
	victims []*victim                // who may be taken away, the most important first
	stays   map[string]sched.Request // what those have, by node, who are taken away and shall stay
	goes    sets.Set[types.UID]      // who has to go, for the gang to be where it was placed
	pressed int                      // how many of these were put back
}

// simulate begins one, for a gang of this priority.
func (c *cluster) simulate(l *losses, priority int32) (*simulation, error) {
	s := &simulation{gone: gone{}, ghosts: sets.New[types.UID](), back: map[string]int{}, goes: sets.New[types.UID](), losses: l, tour: newTour("")}
	var err error
	if s.victims, err = c.victims(l, priority); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.before, err = c.present(); err != nil {
		return nil, err
	}
	c.simulated = s
	return s, nil
}

// wake ends it.
func (c *cluster) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.simulated, c.gang, c.tour = nil, nil, nil
}

// present is the pods on the nodes of the snapshot.
func (c *cluster) present() (gone, error) {
	infos, err := c.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return nil, err
	}
	out := gone{}
	for _, info := range infos {
		for _, p := range info.GetPods() {
			out[p.GetPod().UID] = p.GetPod()
		}
	}
	return out, nil
}

// look finds who was taken away.
func (s *simulation) look(c *cluster) error {
	now, err := c.present()
	if err != nil {
		return err
	}
	s.gone, s.goes, s.pressed = gone{}, sets.New[types.UID](), 0
	for uid, pod := range s.before {
		if now[uid] == nil {
			s.gone[uid] = pod
		}
	}
	s.ghosts = c.ghosts(s.gone)
	return nil
}

// put notes that a pod was put back, or taken away again.
func (s *simulation) put(c *cluster, pod *corev1.Pod, back bool) {
	if s.before[pod.UID] == nil || back == (s.gone[pod.UID] == nil) {
		return
	}
	pressed, at := 0, pod.Spec.NodeName
	if s.goes.Has(pod.UID) {
		pressed = 1
	}
	if !back {
		s.gone[pod.UID] = pod
		s.pressed -= pressed
		if len(pod.Spec.ResourceClaims) > 0 {
			s.back[at]--
		}
		s.ghosts.Insert(c.ghostsOf(pod, s.gone)...)
		return
	}
	s.ghosts.Delete(c.ghostsOf(pod, s.gone)...)
	delete(s.gone, pod.UID)
	s.pressed += pressed
	if len(pod.Spec.ResourceClaims) > 0 {
		s.back[at]++
	}
}

// usesOf a device, but for those of who would be gone.
func (c *cluster) usesOf(k key) []stock.Use {
	all := c.uses[k]
	if c.simulated == nil || c.simulated.ghosts.Len() == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(u stock.Use) bool { return c.simulated.ghosts.Has(u.Claim) })
}

// PreFilterExtensions hear of who would be gone.
func (d *Devices) PreFilterExtensions() fwk.PreFilterExtensions { return d }

// RemovePod notes that a pod would be gone.
func (d *Devices) RemovePod(_ context.Context, state fwk.CycleState, _ *corev1.Pod, who fwk.PodInfo, _ fwk.NodeInfo) *fwk.Status {
	d.note(state, who.GetPod(), false)
	return nil
}

// AddPod notes that it would be there after all.
func (d *Devices) AddPod(_ context.Context, state fwk.CycleState, _ *corev1.Pod, who fwk.PodInfo, _ fwk.NodeInfo) *fwk.Status {
	d.note(state, who.GetPod(), true)
	return nil
}

func (d *Devices) note(state fwk.CycleState, who *corev1.Pod, back bool) {
	d.cluster.mu.Lock()
	defer d.cluster.mu.Unlock()
	if s := d.cluster.simulated; s != nil {
		s.put(d.cluster, who, back)
		return
	}
	if len(who.Spec.ResourceClaims) == 0 {
		return
	}
	g := goneOf(state)
	switch {
	case back:
		delete(g, who.UID)
	case g == nil:
		state.Write(stateGone, gone{who.UID: who})
	default:
		g[who.UID] = who
	}
}

func goneOf(state fwk.CycleState) gone {
	s, err := state.Read(stateGone)
	if err != nil {
		return nil
	}
	g, _ := s.(gone)
	return g
}

// Filter is upstream's, but while somebody is looked for who would give way: then it is
// asked as if these were gone.
func (d *Devices) Filter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node fwk.NodeInfo) *fwk.Status {
	if g := goneOf(state); len(g) > 0 {
		return d.without(ctx, pod, node, g)
	}
	d.cluster.mu.Lock()
	sim := d.cluster.simulated
	if sim != nil && !sim.trying {
		defer d.cluster.mu.Unlock()
		return d.cluster.stillFits(pod, node.Node().Name)
	}
	d.cluster.mu.Unlock()
	if _, err := state.Read(stateRefused); err == nil {
		return fwk.NewStatus(fwk.Unschedulable, "the node does not have the devices")
	}
	return d.DynamicResources.Filter(ctx, state, pod, node)
}

// without asks upstream about one node, some pods of which are gone with their devices.
func (d *Devices) without(ctx context.Context, pod *corev1.Pod, node fwk.NodeInfo, g gone) *fwk.Status {
	c := d.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	defer d.manager.show(c.inventory.show(sched.Decision{Node: node.Node().Name}))()
	defer d.manager.without(c.ghosts(g))()
	state := framework.NewCycleState()
	if _, status := d.DynamicResources.PreFilter(ctx, state, pod, nil); !status.IsSuccess() {
		if status.IsSkip() {
			return nil
		}
		return status
	}
	return d.DynamicResources.Filter(ctx, state, pod, node)
}

// stillFits reports whether the devices that a gang's pods were given on a node are free,
// with those there who were put back. CPU and memory are other plugins'.
func (c *cluster) stillFits(pod *corev1.Pod, node string) *fwk.Status {
	if c.simulated.pressed > 0 {
		return fwk.NewStatus(fwk.Unschedulable, "it was decided who gives way")
	}
	no := fwk.NewStatus(fwk.Unschedulable, "the devices are in use")
	if _, _, planned := c.gang.of(pod); !planned {
		if c.simulated.back[node] > 0 {
			return no // upstream chose its devices, and does not say which
		}
		return nil
	}
	m := c.node(node)
	if m == nil || m.info == nil {
		return no
	}
	n := c.state(m)
	n.Size = sched.Amount{Pods: int64(len(c.gang.members))}
	n.Free = n.Size
	b, err := sched.NewBoard(sched.Snapshot{Nodes: []sched.Node{n}}, sched.Config{Policy: c.config.Policy})
	if err != nil {
		return fwk.AsStatus(err)
	}
	for uid, to := range c.gang.members {
		if r := c.gang.requests[uid]; to.Node == node {
			r.CPU, r.Memory, r.Within = 0, 0, nil
			if b.Place(r, to) != nil {
				return no
			}
		}
	}
	return nil
}
