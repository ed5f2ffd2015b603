package plugin

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
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

// relate has the board know the attributes that devices must have in common; it is
// brought up to date if there is a new one.
func (c *cluster) relate(wishes ...wish) error {
	var want []string
	for _, w := range wishes {
		for _, tier := range w.tiers {
			for i := range tier {
				if key := tier[i].Together; key != "" && !slices.Contains(want, key) {
					want = append(want, key)
				}
			}
		}
	}
	if slices.ContainsFunc(want, func(key string) bool { return !slices.Contains(c.shared, key) }) {
		if all := slices.Concat(c.shared, want); len(all) <= levelsMax {
			want = all
		}
		slices.Sort(want)
		c.shared, c.board = slices.Compact(want), nil
	}
	if c.board == nil {
		return c.sync()
	}
	return nil
}

// in is the value of a device's attribute, "" if it has none. That of one that can be cut
// is its whole's.
func (u *unit) in(attribute string) string {
	domain, name, _ := strings.Cut(attribute, "/")
	out := ""
	for i := range u.pieces {
		p := &u.pieces[i]
		if u.cut != nil && u.cut.Parts[i].Share < sched.Whole {
			continue
		}
		v, ok := p.attributes[resourcev1.QualifiedName(attribute)]
		if !ok && p.key.driver == domain {
			v, ok = p.attributes[resourcev1.QualifiedName(name)]
		}
		if !ok {
			continue
		}
		at := valueOf(&v)
		if out != "" && out != at {
			return ""
		}
		out = at
	}
	return out
}

// valueOf is the same for attributes that are equal, and for no others.
func valueOf(v *resourcev1.DeviceAttribute) string {
	switch {
	case v.StringValue != nil:
		return "string " + *v.StringValue
	case v.IntValue != nil:
		return fmt.Sprint("int ", *v.IntValue)
	case v.BoolValue != nil:
		return fmt.Sprint("bool ", *v.BoolValue)
	case v.VersionValue != nil:
		return "version " + *v.VersionValue
	}
	return ""
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
