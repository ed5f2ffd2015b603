package plugin

import (
	"sync/atomic"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/structured"
	fwk "k8s.io/kube-scheduler/framework"
)

// manager is upstream's, but for two things: it shows fewer slices while it is told
// to, with who has devices of these, and what is decided about claims is also told to
// the ledger.
type manager struct {
	fwk.SharedDRAManager
	ledger *ledger
	shown  atomic.Pointer[[]*resourcev1.ResourceSlice] // nil: all there are; set under the cluster's lock
	ghosts atomic.Pointer[sets.Set[types.UID]]         // claims that count as having nothing; so, too
}

func (m *manager) ResourceSlices() fwk.ResourceSliceLister { return lister{m} }

func (m *manager) ResourceClaims() fwk.ResourceClaimTracker {
	return tracker{m.SharedDRAManager.ResourceClaims(), m}
}

// show has the next calls answered with these slices, until the returned function is
// called.
func (m *manager) show(s []*resourcev1.ResourceSlice) (all func()) {
	m.shown.Store(&s)
	return func() { m.shown.Store(nil) }
}

// without has the next calls answered as if these claims had no devices.
func (m *manager) without(claims sets.Set[types.UID]) (all func()) {
	m.ghosts.Store(&claims)
	return func() { m.ghosts.Store(nil) }
}

type lister struct{ m *manager }

func (l lister) ListWithDeviceTaintRules() ([]*resourcev1.ResourceSlice, error) {
	if s := l.m.shown.Load(); s != nil {
		return *s, nil
	}
	return l.m.SharedDRAManager.ResourceSlices().ListWithDeviceTaintRules()
}

// tracker tells the ledger what upstream's plugin tells the tracker.
type tracker struct {
	fwk.ResourceClaimTracker
	m *manager
}

// GatherAllocatedState is of the pools that are shown. All of it would be copied for
// each pod, which takes longer than everything else about a pod does together. What is
// in flight is read before what is written: a claim goes from the one to the other,
// so that it is in one of them at least.
func (t tracker) GatherAllocatedState() (*structured.AllocatedState, error) {
	ghosts := t.m.ghosts.Load()
	slices := t.m.shown.Load()
	if slices == nil && ghosts == nil {
		return t.ResourceClaimTracker.GatherAllocatedState()
	}
	var shown map[key]bool // nil: all
	if slices != nil {
		shown = map[key]bool{}
		for _, s := range *slices {
			shown[key{driver: s.Spec.Driver, pool: s.Spec.Pool.Name}] = true
		}
	}
	a := &structured.AllocatedState{
		AllocatedDevices:         sets.New[structured.DeviceID](),
		AllocatedSharedDeviceIDs: sets.New[structured.SharedDeviceID](),
		AggregatedCapacity:       structured.NewConsumedCapacityCollection(),
	}
	counted := map[types.UID]bool{}
	if ghosts != nil {
		for uid := range *ghosts {
			counted[uid] = true
		}
	}
	for _, c := range t.m.ledger.inFlight() {
		if !counted[c.UID] {
			counted[c.UID] = true
			gather(a, c, shown)
		}
	}
	written, err := t.List()
	if err != nil {
		return nil, err
	}
	for _, c := range written {
		if !counted[c.UID] {
			gather(a, c, shown)
		}
	}
	return a, nil
}

// gather adds what a claim has of the pools, or of all.
func gather(a *structured.AllocatedState, c *resourcev1.ResourceClaim, pools map[key]bool) {
	if c.Status.Allocation == nil {
		return
	}
	for i := range c.Status.Allocation.Devices.Results {
		r := &c.Status.Allocation.Devices.Results[i]
		if r.AdminAccess != nil && *r.AdminAccess || pools != nil && !pools[key{driver: r.Driver, pool: r.Pool}] {
			continue
		}
		id := structured.MakeDeviceID(r.Driver, r.Pool, r.Device)
		if r.ShareID == nil {
			a.AllocatedDevices.Insert(id)
			continue
		}
		a.AllocatedSharedDeviceIDs.Insert(structured.MakeSharedDeviceID(id, r.ShareID))
		if r.ConsumedCapacity != nil {
			a.AggregatedCapacity.Insert(structured.NewDeviceConsumedCapacity(id, r.ConsumedCapacity))
		}
	}
}

func (t tracker) SignalClaimPendingAllocation(uid types.UID, c *resourcev1.ResourceClaim) error {
	err := t.ResourceClaimTracker.SignalClaimPendingAllocation(uid, c)
	if err == nil && t.ResourceClaimTracker.GetPendingAllocation(uid) != nil {
		t.m.ledger.signalled(uid, c)
	}
	return err
}

func (t tracker) MaybeRemoveClaimPendingAllocation(uid types.UID, force bool) bool {
	removed := t.ResourceClaimTracker.MaybeRemoveClaimPendingAllocation(uid, force)
	if removed {
		t.m.ledger.settled(uid)
	}
	return removed
}

func (t tracker) AssumeClaimAfterAPICall(c *resourcev1.ResourceClaim) error {
	err := t.ResourceClaimTracker.AssumeClaimAfterAPICall(c)
	if err == nil {
		t.m.ledger.written(c)
	}
	return err
}

func (t tracker) AssumedClaimRestore(namespace, name string) {
	t.ResourceClaimTracker.AssumedClaimRestore(namespace, name)
	t.m.ledger.takenBack(namespace, name)
}

// handle is the framework's with that manager, and a client that a trial does not write
// with.
type handle struct {
	fwk.Handle
	manager fwk.SharedDRAManager
}

func (h handle) SharedDRAManager() fwk.SharedDRAManager { return h.manager }

func (h handle) ClientSet() kubernetes.Interface { return clients{h.Handle.ClientSet()} }
