package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand"
	"slices"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/trace"
)

// Plan is what is played: a cluster and those who arrive.
type Plan struct {
	Nodes []sched.Node
	Pods  []trace.Pod
	// Tune is how many times the cluster's devices the pods ask for; some are doubled
	// or left out to get there. 0 leaves them as they are.
	Tune float64
	// Base is the devices that Tune multiplies, in thousandths, where they are not
	// those of Nodes: what people ask for does not grow with what is added.
	Base int64
	// Faster is how many times as fast as recorded pods arrive, where times count; 0 is
	// as recorded. They run as long.
	Faster float64
}

// TuneMax bounds how long a run can be made, and FasterMax is where everybody arrives
// at once.
const (
	TuneMax   = 100
	FasterMax = 1e9
)

// Check says what is wrong with a plan.
func (p *Plan) Check() error {
	switch {
	case len(p.Nodes) == 0:
		return fmt.Errorf("there are no nodes; name a table with some")
	case len(p.Pods) == 0:
		return fmt.Errorf("there are no pods; name a table with some")
	case capacity(p.Nodes) == 0:
		return fmt.Errorf("no node has a device, so there is nothing to allocate; name a table with some")
	case p.Tune < 0 || p.Tune > TuneMax || math.IsNaN(p.Tune):
		return fmt.Errorf("tune is %v; want 0 to %d times the cluster", p.Tune, TuneMax)
	case p.Faster < 0 || p.Faster > FasterMax || math.IsNaN(p.Faster):
		return fmt.Errorf("faster is %v; want more than 0 and at most %.0g times as fast as recorded", p.Faster, FasterMax)
	case p.Tune > 0 && request(p.Pods) == 0:
		return fmt.Errorf("no pod asks for a device, so there are none to double; leave tune out")
	}
	return nil
}

func capacity(nodes []sched.Node) int64 {
	sum := int64(0)
	for i := range nodes {
		sum += int64(len(nodes[i].Devices)) * sched.Whole
	}
	return sum
}

func request(pods []trace.Pod) int64 {
	sum := int64(0)
	for i := range pods {
		sum += pods[i].Request.Milli()
	}
	return sum
}

// Workload is what the trace's pods are like, before any are doubled.
func (p *Plan) Workload() sched.Workload {
	all := make([]sched.Request, len(p.Pods))
	for i := range p.Pods {
		all[i] = p.Pods[i].Request
	}
	return sched.Typical(all)
}

// Deal is what a run with this seed plays: the nodes by the names that decide among
// equals, and the pods in the order in which they arrive.
func (p *Plan) Deal(seed int64) ([]sched.Node, []trace.Pod) {
	return p.deal(rand.New(rand.NewSource(seed))) //nolint:gosec // chance that can be had again
}

// deal puts pods in an order, doubles some, and shuffles the names that decide among
// equal nodes. It draws just as the published runs do: one number is thrown away,
// because their program writes one to its log.
func (p *Plan) deal(draw *rand.Rand) ([]sched.Node, []trace.Pod) {
	draw.Int()
	pods := slices.SortedFunc(slices.Values(p.Pods), func(a, b trace.Pod) int { return cmp.Compare(a.Name, b.Name) })
	draw.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	if p.Tune > 0 {
		pods = tune(pods, p.Tune*float64(cmp.Or(p.Base, capacity(p.Nodes))), draw)
	}
	if p.Faster > 0 {
		for i := range pods {
			ran := pods[i].Deleted - pods[i].Created
			pods[i].Created = int64(float64(pods[i].Created) / p.Faster)
			pods[i].Deleted = pods[i].Created + ran
		}
	}
	nodes := slices.SortedFunc(slices.Values(p.Nodes), func(a, b sched.Node) int { return cmp.Compare(a.Name, b.Name) })
	for i, k := range draw.Perm(len(nodes)) {
		nodes[i].Name = fmt.Sprintf("%0*d-%s", nodeDigits, k, nodes[i].Name)
	}
	return nodes, pods
}

// nodeDigits are enough for all nodes that a trace may have.
const nodeDigits = 6

// tune doubles pods until the next would ask for more than the limit, or leaves some
// out. Whether there is room is asked by one device of the next pod, as the published
// runs do, whatever number it wants.
func tune(pods []trace.Pod, limit float64, draw *rand.Rand) []trace.Pod {
	sum, base := request(pods), len(pods)
	for float64(sum) > limit && len(pods) > 1 {
		i := draw.Intn(len(pods))
		sum -= pods[i].Request.Milli()
		pods = slices.Delete(pods, i, i+1)
		base = 0
	}
	for base > 0 {
		next := pods[draw.Intn(base)]
		if float64(sum+int64(next.Request.Share)) > limit {
			break
		}
		sum += next.Request.Milli()
		pods = append(pods, next)
	}
	return pods
}
