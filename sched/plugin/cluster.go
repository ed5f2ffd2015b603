package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// cluster keeps a board of all nodes up with what the scheduler knows.
type cluster struct {
	mu        sync.Mutex
	config    Config
	handle    fwk.Handle
	slices    fwk.ResourceSliceLister
	claims    fwk.ResourceClaimTracker
	inventory *inventory
	ledger    *ledger
	compiler  *compiler
	habits    *habits
	metrics   *meters
	gangs     bool // PodGroups are known

	uses  map[key][]stock.Use
	board *sched.Board
	looks int                         // decisions since the gauges were set
	holds map[types.UID]sched.Request // what is counted as held on the board, of one device each
	nodes int

	levels    []string // labels of the topology that the board has of each node
	shared    []string // attributes that the board has of each device, in order
	gang      *gangPlan
	tour      *tour                          // of the gang whose cycle it is; nil: of none
	tours     map[types.NamespacedName]*tour // of those that are on one, by PodGroup
	promised  map[types.UID]string           // by pod, the node on which others were made to go for it
	awaited   *fwk.Status                    // what those of a cycle were to wait for when it began; nil: nothing
	waiter    types.UID                      // the first of them
	simulated *simulation                    // nil while nobody is looked for who would give way
}

// sync brings the board up to date. The snapshot stays as it is for the rest of the
// scheduling cycle.
func (c *cluster) sync() error {
	list, err := c.slices.ListWithDeviceTaintRules()
	if err != nil {
		return fmt.Errorf("listing slices: %w", err)
	}
	reshaped := c.inventory.update(list)
	infos, err := c.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	dirty := c.account(c.ledger.drain())
	anew := c.board == nil || len(reshaped) > 0 || len(infos) != c.nodes || c.habits.due()
	for _, info := range infos {
		m := c.inventory.machine(info.Node().Name)
		if m.info == nil {
			anew = true
		}
		if m.info == nil || m.seen != info.GetGeneration() {
			m.seen = info.GetGeneration()
			dirty[m] = true
		}
		m.info = info
	}
	if anew {
		return c.rebuild(infos)
	}
	for m := range dirty {
		if m.info == nil {
			continue
		}
		if err := c.board.Set(c.state(m)); err != nil {
			return err
		}
	}
	return nil
}

// rebuild makes another board: nodes came or went, have other devices, or requests are
// expected to be other than before.
func (c *cluster) rebuild(infos []fwk.NodeInfo) error {
	there := make(map[*machine]bool, len(infos))
	var s sched.Snapshot
	for _, info := range infos {
		m := c.inventory.machine(info.Node().Name)
		there[m] = true
		s.Nodes = append(s.Nodes, c.state(m))
	}
	for name, m := range c.inventory.machines {
		if !there[m] {
			if m.info = nil; len(m.slices) == 0 {
				delete(c.inventory.machines, name)
			}
		}
	}
	b, err := sched.NewBoard(s, sched.Config{Policy: c.config.Policy, Workload: c.habits.workload()})
	if err != nil {
		return fmt.Errorf("making a board of the cluster: %w", err)
	}
	for _, r := range c.holds {
		b.Hold(r, r.Milli())
	}
	c.board, c.nodes = b, len(infos)
	return nil
}

// account notes who has got devices or lost them, and returns the machines that these
// are on.
func (c *cluster) account(changes []change) map[*machine]bool {
	dirty := map[*machine]bool{}
	for _, ch := range changes {
		uid := ch.claim.UID
		for _, r := range ch.claim.Status.Allocation.Devices.Results {
			if r.AdminAccess != nil && *r.AdminAccess {
				continue // watches, and takes nothing
			}
			k := key{r.Driver, r.Pool, r.Device}
			if at, ok := c.inventory.of[k]; ok {
				dirty[at.machine] = true
			}
			if ch.got {
				c.uses[k] = append(c.uses[k], stock.Use{Claim: uid, Alone: r.ShareID == nil, Consumed: r.ConsumedCapacity})
			} else if c.uses[k] = slices.DeleteFunc(c.uses[k], func(u stock.Use) bool { return u.Claim == uid }); len(c.uses[k]) == 0 {
				delete(c.uses, k)
			}
		}
		c.hold(ch)
	}
	return dirty
}

// hold tells the board how much those have that can go to few nodes only. Requests of a
// claim that upstream alone understands hold nothing.
func (c *cluster) hold(ch change) {
	uid := ch.claim.UID
	if !ch.got {
		if r, ok := c.holds[uid]; ok && c.board != nil {
			c.board.Hold(r, -r.Milli())
		}
		delete(c.holds, uid)
		return
	}
	w, err := c.compiler.compile([]*resourcev1.ResourceClaim{ch.claim})
	if err != nil {
		return
	}
	r := c.chosen(ch.claim, w)
	c.holds[uid] = r
	if c.board != nil {
		c.board.Hold(r, r.Milli())
	}
}

// chosen is the alternative that a claim got: the first that may run on its device. Of
// parts it is as large as that.
func (c *cluster) chosen(claim *resourcev1.ResourceClaim, w wish) sched.Request {
	model, part := "", 0
	for _, r := range claim.Status.Allocation.Devices.Results {
		if at, ok := c.inventory.of[key{r.Driver, r.Pool, r.Device}]; ok && at.unit != unknown {
			u := &at.machine.units[at.unit]
			if model = u.pieces[at.piece].class.Model; u.cut != nil {
				part = u.cut.Parts[at.piece].Share
			}
			break
		}
	}
	for _, tier := range w.tiers {
		for _, r := range tier {
			if len(r.Models) == 0 || slices.Contains(r.Models, model) {
				r.Share = cmp.Or(part, r.Share)
				return r
			}
		}
	}
	return w.tiers[0][0]
}

// node of a name that is on the board.
func (c *cluster) node(name string) *machine { return c.inventory.machines[name] }

// decide is where a wish would go, the best first, at most k nodes.
func (c *cluster) decide(w wish, base sched.Request, k int, g *gate) ([]sched.Decision, error) {
	may := func(name string) bool {
		m := c.node(name)
		return m != nil && m.info != nil && g.open(m.info.Node())
	}
	for _, tier := range w.tiers {
		best := map[string]sched.Decision{}
		for _, r := range tier {
			r.CPU, r.Memory = base.CPU, base.Memory
			all, err := c.board.Rank(r, k, may)
			if err != nil {
				return nil, err
			}
			for _, d := range all {
				if old, ok := best[d.Node]; !ok || d.Score > old.Score {
					best[d.Node] = d
				}
			}
		}
		if len(best) > 0 {
			out := slices.SortedFunc(maps.Values(best), func(a, b sched.Decision) int {
				if a.Score != b.Score {
					return int(b.Score - a.Score)
				}
				return strings.Compare(a.Node, b.Node)
			})
			return out[:min(k, len(out))], nil
		}
	}
	return nil, nil
}
