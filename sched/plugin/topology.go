package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// terms are what a gang's object says of where its pods go.
type terms struct {
	least     int      // pods that must be placed together; 0: it is no gang
	required  string   // label of which all must be in one domain; "" for none
	preferred []string // labels to try before that, the tightest first
	there     string   // the domain of that label that some pods are in already
}

// levelsMax is how many labels the board knows of each node.
const levelsMax = 8

// terms of a group. There is one required level in the API; those that are preferred are
// an annotation.
func (d *Devices) terms(group fwk.PodGroupInfo) (terms, error) {
	g := group.GetPodGroup()
	if g == nil {
		return terms{}, nil
	}
	var t terms
	if gang := g.Spec.SchedulingPolicy.Gang; gang != nil {
		t.least = int(gang.MinCount)
	}
	if s := g.Spec.SchedulingConstraints; s != nil && len(s.Topology) > 0 {
		t.required = s.Topology[0].Key
	}
	t.preferred = preferred(g)
	if t.required == "" {
		return t, nil
	}
	state, err := d.handle.SnapshotSharedLister().PodGroupStates().Get(g.Namespace, g.Name)
	if err != nil {
		return t, fmt.Errorf("reading the state of pod group %s/%s: %w", g.Namespace, g.Name, err)
	}
	for _, pod := range state.ScheduledPods() {
		n, err := d.handle.SnapshotSharedLister().NodeInfos().Get(pod.Spec.NodeName)
		if err != nil {
			return t, fmt.Errorf("finding the node of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		at, ok := d.cluster.place(n.Node(), t.required)
		if !ok || t.there != "" && t.there != at {
			return t, fmt.Errorf("pod group %s/%s must be in one domain of %s, and pod %s is not", g.Namespace, g.Name, t.required, pod.Name)
		}
		t.there = at
	}
	return t, nil
}

func preferred(g *schedulingv1beta1.PodGroup) []string {
	var out []string
	for key := range strings.SplitSeq(g.Annotations[v1alpha1.AnnotationPreferredTopology], ",") {
		if key = strings.TrimSpace(key); key != "" {
			out = append(out, key)
		}
	}
	return out
}

// learn has the board know the labels that a gang names.
func (c *cluster) learn(t terms) {
	for _, key := range append(slices.Clone(t.preferred), t.required) {
		if key == "" || slices.Contains(c.levels, key) {
			continue
		}
		if len(c.levels) >= levelsMax {
			c.levels = slices.Delete(c.levels, 0, 1)
		}
		c.levels, c.board = append(c.levels, key), nil
	}
}

// place is the domain of a label that a node is in: what the label says, or for the
// fabric what its devices do, if they agree.
func (c *cluster) place(n *corev1.Node, key string) (string, bool) {
	if at, ok := n.Labels[key]; ok {
		return at, true
	}
	if key != v1alpha1.LabelFabric {
		return "", false
	}
	fabric := ""
	for _, s := range c.inventory.machine(n.Name).slices {
		for i := range s.Spec.Devices {
			for name, v := range s.Spec.Devices[i].Attributes {
				if stock.Local(name) != profile.AttrFabricDomain || v.StringValue == nil {
					continue
				}
				if fabric != "" && fabric != *v.StringValue {
					return "", false
				}
				fabric = *v.StringValue
			}
		}
	}
	return fabric, fabric != ""
}

// labels of a node, as far as gangs have named them.
func (c *cluster) labels(n *corev1.Node) []sched.Label {
	var out []sched.Label
	for _, key := range c.levels {
		if at, ok := c.place(n, key); ok {
			out = append(out, sched.Label{Level: key, Name: at})
		}
	}
	slices.SortFunc(out, func(a, b sched.Label) int { return strings.Compare(a.Level, b.Level) })
	return out
}

// inside is the nodes of a domain.
func (c *cluster) inside(l sched.Label, nodes []fwk.NodeInfo) []fwk.NodeInfo {
	var out []fwk.NodeInfo
	for _, n := range nodes {
		if at, ok := c.place(n.Node(), l.Level); ok && at == l.Name {
			out = append(out, n)
		}
	}
	return out
}

// domains is a placement for each domain that the gang may be in, as upstream makes them.
func (c *cluster) domains(t terms, parent *fwk.Placement) (*fwk.GeneratePlacementsResult, *fwk.Status) {
	if t.required == "" {
		return &fwk.GeneratePlacementsResult{Placements: []*fwk.Placement{parent}}, nil
	}
	by := map[string]*fwk.Placement{}
	for _, n := range parent.Nodes {
		at, ok := c.place(n.Node(), t.required)
		if !ok || t.there != "" && t.there != at {
			continue
		}
		if by[at] == nil {
			by[at] = &fwk.Placement{Name: at}
		}
		by[at].Nodes = append(by[at].Nodes, n)
	}
	var out []*fwk.Placement
	for _, at := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[at])
	}
	return &fwk.GeneratePlacementsResult{Placements: out}, nil
}
