package plugin

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
)

// NameScore is the name of [Score] in profiles.
const NameScore = "PolderScore"

// Score ranks nodes by the policy: for pods without claims, so that they leave the CPU
// that idle devices need, and for pods with claims that are shown several nodes.
type Score struct{ cluster *cluster }

var (
	_ fwk.PreScorePlugin = &Score{}
	_ fwk.ScorePlugin    = &Score{}
	_ fwk.SignPlugin     = &Score{}
)

// scores are of the nodes that have room.
type scores map[string]int64

// Clone shares them: they do not change.
func (s scores) Clone() fwk.StateData { return s }

// Name is the plugin's in profiles.
func (s *Score) Name() string { return NameScore }

// SignPod adds nothing: two pods whose requests are the same, which upstream signs,
// are ranked the same.
func (s *Score) SignPod(context.Context, *corev1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	return nil, nil
}

// PreScore asks the board once, for all nodes.
func (s *Score) PreScore(_ context.Context, state fwk.CycleState, pod *corev1.Pod, nodes []fwk.NodeInfo) *fwk.Status {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	r := amounts(pod)
	if claims, err := c.open(pod); err == nil {
		w, err := c.compiler.compile(claims)
		if err != nil {
			return fwk.NewStatus(fwk.Skip)
		}
		if hasPreference(pod) {
			return fwk.NewStatus(fwk.Skip) // among nodes that are all good
		}
		first := w.tiers[0][0]
		r.Count, r.Share, r.Models = first.Count, first.Share, first.Models
	} else if len(pod.Spec.ResourceClaims) > 0 {
		return fwk.NewStatus(fwk.Skip)
	}
	if err := c.sync(); err != nil || !c.devices() {
		return fwk.NewStatus(fwk.Skip)
	}
	if r.Count == 0 {
		c.habits.meet(pod.UID, r)
	}
	found, err := c.rank(r, nodes, !hasPreference(pod) && !isSpread(pod))
	if err != nil {
		return fwk.NewStatus(fwk.Skip)
	}
	state.Write(NameScore, found)
	return nil
}

// rank scores nodes. With first, the first of the best is above all others, as it is
// where the policy alone decides: what is to be spread over nodes that are alike is
// left to upstream, but work that is not would be strewn over the CPU that devices
// need.
func (c *cluster) rank(r sched.Request, nodes []fwk.NodeInfo, first bool) (scores, error) {
	most := fwk.MaxNodeScore
	if first {
		most--
	}
	found := scores{}
	if err := c.board.Each(r, func(node string, score int64) { found[node] = min(max(score, fwk.MinNodeScore), most) }); err != nil || !first {
		return found, err
	}
	feasible := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		feasible[n.Node().Name] = true
	}
	best, err := c.board.Rank(r, 1, func(name string) bool { return feasible[name] })
	if len(best) > 0 {
		found[best[0].Node] = fwk.MaxNodeScore
	}
	return found, err
}

// isSpread reports whether upstream spreads the pod over nodes unasked: it does with
// what serves, which such sets own.
func isSpread(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "ReplicaSet" || o.Kind == "StatefulSet" || o.Kind == "ReplicationController"
	})
}

// devices reports whether there are any.
func (c *cluster) devices() bool { return len(c.inventory.of) > 0 }

// Score is the board's, cut to what the framework takes. It is not stretched over the
// range: what differs by little shall differ by little.
func (s *Score) Score(_ context.Context, state fwk.CycleState, _ *corev1.Pod, node fwk.NodeInfo) (int64, *fwk.Status) {
	found, err := state.Read(NameScore)
	if err != nil {
		return 0, nil //nolint:nilerr // skipped
	}
	all, _ := found.(scores)
	return all[node.Node().Name], nil
}

// ScoreExtensions are none.
func (s *Score) ScoreExtensions() fwk.ScoreExtensions { return nil }
