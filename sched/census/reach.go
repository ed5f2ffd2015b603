package census

import (
	"slices"
	"strconv"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
)

// bound finds the volume of each job.
func (t *taker) bound() {
	byName := map[string]*corev1.PersistentVolume{}
	for i := range t.Volumes {
		byName[t.Volumes[i].Name] = &t.Volumes[i]
	}
	for i := range t.VolumeClaims {
		c := &t.VolumeClaims[i]
		if job := c.Labels[v1alpha1.LabelTrainJob]; job != "" {
			t.volumes[c.Namespace+"/"+job] = byName[c.Spec.VolumeName]
		}
	}
}

// may says which nodes the workers of a job may go to, as far as nodes, taints and its
// volume go. A worker of an earlier move is kept to nodes that the next is not.
func (t *taker) may(pods []*corev1.Pod, group string) func(string) bool {
	v := t.volumes[group]
	answers := map[string]bool{}
	return func(name string) bool {
		if known, ok := answers[name]; ok {
			return known
		}
		n := t.nodes[name]
		ok := n != nil && open(n) && (v == nil || v.Spec.NodeAffinity == nil || matches(v.Spec.NodeAffinity.Required, n))
		for _, p := range pods {
			ok = ok && tolerates(p, n) && selects(p.Spec.NodeSelector, n)
		}
		answers[name] = ok
		return ok
	}
}

func selects(labels map[string]string, n *corev1.Node) bool {
	for k, v := range labels {
		if have, ok := n.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

func tolerates(p *corev1.Pod, n *corev1.Node) bool {
	for i := range n.Spec.Taints {
		taint := &n.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule {
			continue
		}
		if !slices.ContainsFunc(p.Spec.Tolerations, func(l corev1.Toleration) bool { return l.ToleratesTaint(logr.Discard(), taint, true) }) {
			return false
		}
	}
	return true
}

// matches reports whether one of the terms takes the node. An empty term takes none.
func matches(s *corev1.NodeSelector, n *corev1.Node) bool {
	if s == nil {
		return true
	}
	return slices.ContainsFunc(s.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			return false
		}
		for _, r := range term.MatchExpressions {
			if have, ok := n.Labels[r.Key]; !holds(&r, have, ok) {
				return false
			}
		}
		for _, r := range term.MatchFields {
			if r.Key != "metadata.name" || !holds(&r, n.Name, true) {
				return false
			}
		}
		return true
	})
}

func holds(r *corev1.NodeSelectorRequirement, have string, ok bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return ok && slices.Contains(r.Values, have)
	case corev1.NodeSelectorOpNotIn:
		return !ok || !slices.Contains(r.Values, have)
	case corev1.NodeSelectorOpExists:
		return ok
	case corev1.NodeSelectorOpDoesNotExist:
		return !ok
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if !ok || len(r.Values) != 1 {
			return false
		}
		a, err := strconv.ParseInt(have, 10, 64)
		b, err2 := strconv.ParseInt(r.Values[0], 10, 64)
		return err == nil && err2 == nil && (r.Operator == corev1.NodeSelectorOpGt && a > b || r.Operator == corev1.NodeSelectorOpLt && a < b)
	}
	return false
}
