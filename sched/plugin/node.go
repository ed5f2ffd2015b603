package plugin

import (
	"context"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	resourcehelper "k8s.io/component-helpers/resource"
	corev1helper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
)

// gate is which nodes a pod may go to as far as that is cheap to say: the other
// plugins' filters have the last word.
type gate struct {
	pod      *corev1.Pod
	affinity nodeaffinity.RequiredNodeAffinity
	within   sets.Set[string] // nil: all
	log      logr.Logger
}

// gateOf a pod that is asked to go to one of nodes, of so many that there are.
func gateOf(ctx context.Context, pod *corev1.Pod, nodes []fwk.NodeInfo, all int) gate {
	g := gate{pod: pod, affinity: nodeaffinity.GetRequiredNodeAffinity(pod), log: logr.FromContextOrDiscard(ctx)}
	if len(nodes) < all {
		g.within = sets.New[string]()
		for _, n := range nodes {
			g.within.Insert(n.Node().Name)
		}
	}
	return g
}

func (g *gate) open(n *corev1.Node) bool {
	if g.within != nil && !g.within.Has(n.Name) {
		return false
	}
	taints := n.Spec.Taints
	if n.Spec.Unschedulable {
		taints = append([]corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}, taints...)
	}
	if _, kept := corev1helper.FindMatchingUntoleratedTaint(g.log, taints, g.pod.Spec.Tolerations, keepsPodsAway, true); kept {
		return false
	}
	ok, err := g.affinity.Match(n)
	return ok && err == nil
}

func keepsPodsAway(t *corev1.Taint) bool {
	return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
}

// amounts is what a pod asks for besides devices.
func amounts(pod *corev1.Pod) sched.Request {
	r := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	return sched.Request{CPU: r.Cpu().MilliValue(), Memory: r.Memory().Value()}
}

// hasPreference reports whether the pod would rather be on some nodes than on others:
// then it is given a choice.
func hasPreference(pod *corev1.Pod) bool {
	if a := pod.Spec.Affinity; a != nil {
		if a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 || a.PodAffinity != nil || a.PodAntiAffinity != nil {
			return true
		}
	}
	return len(pod.Spec.TopologySpreadConstraints) > 0
}

// state is a node as the board has it.
func (c *cluster) state(m *machine) sched.Node {
	size, used := m.info.GetAllocatable(), m.info.GetRequested()
	n := sched.Node{Name: m.name, Domain: c.labels(m.info.Node()), Size: sched.Amount{CPU: max(0, size.GetMilliCPU()), Memory: max(0, size.GetMemory()), Pods: max(0, int64(size.GetAllowedPodNumber()))}}
	n.Free = sched.Amount{
		CPU:    max(0, n.Size.CPU-used.GetMilliCPU()),
		Memory: max(0, n.Size.Memory-used.GetMemory()),
		Pods:   max(0, n.Size.Pods-int64(len(m.info.GetPods()))),
	}
	if c.simulated != nil {
		stays := c.simulated.stays[m.name]
		n.Free = sched.Amount{CPU: max(0, n.Free.CPU-stays.CPU), Memory: max(0, n.Free.Memory-stays.Memory), Pods: max(0, n.Free.Pods-int64(stays.Count))}
	}
	n.Devices = make([]sched.Device, len(m.units))
	for i := range m.units {
		n.Devices[i] = c.device(&m.units[i])
		for _, level := range c.shared {
			if at := m.units[i].in(level); at != "" {
				n.Devices[i].Domain = append(n.Devices[i].Domain, sched.Label{Level: level, Name: at})
			}
		}
	}
	return n
}

// device is a unit as the board has it. What claims have of counters is taken off
// whether or not upstream would give out so much.
func (c *cluster) device(u *unit) sched.Device {
	if u.cut == nil {
		p := &u.pieces[0]
		d := sched.Device{Model: p.class.Model}
		if p.usable {
			d.Free = p.class.Left(c.usesOf(p.key))
		}
		return d
	}
	d, usable := u.cut.Whole(), false
	for i := range u.pieces {
		p := &u.pieces[i]
		usable = usable || p.usable
		used := len(c.usesOf(p.key)) > 0
		if d.Gone[i] = used || !p.usable; !used {
			continue
		}
		part := &u.cut.Parts[i]
		d.Free = max(0, d.Free-part.Share)
		for j, n := range part.Takes {
			d.Left[j] = max(0, d.Left[j]-n)
		}
	}
	if !usable {
		d.Free = 0
	}
	return d
}
