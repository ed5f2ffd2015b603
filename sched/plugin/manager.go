package plugin

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// manager is upstream's, but for two things: it shows fewer slices while it is told
// to, and what is decided about claims is also told to the ledger.
type manager struct {
	fwk.SharedDRAManager
	ledger *ledger
	shown  *[]*resourcev1.ResourceSlice // nil: all there are; under the cluster's lock
}

func (m *manager) ResourceSlices() fwk.ResourceSliceLister { return lister{m} }

func (m *manager) ResourceClaims() fwk.ResourceClaimTracker {
	return tracker{m.SharedDRAManager.ResourceClaims(), m.ledger}
}

// show has the next calls answered with these slices, until the returned function is
// called.
func (m *manager) show(s []*resourcev1.ResourceSlice) (all func()) {
	m.shown = &s
	return func() { m.shown = nil }
}

type lister struct{ m *manager }

func (l lister) ListWithDeviceTaintRules() ([]*resourcev1.ResourceSlice, error) {
	if l.m.shown != nil {
		return *l.m.shown, nil
	}
	return l.m.SharedDRAManager.ResourceSlices().ListWithDeviceTaintRules()
}

// tracker tells the ledger what upstream's plugin tells the tracker.
type tracker struct {
	fwk.ResourceClaimTracker
	ledger *ledger
}

func (t tracker) SignalClaimPendingAllocation(uid types.UID, c *resourcev1.ResourceClaim) error {
	err := t.ResourceClaimTracker.SignalClaimPendingAllocation(uid, c)
	if err == nil && t.ResourceClaimTracker.GetPendingAllocation(uid) != nil {
		t.ledger.signalled(uid, c)
	}
	return err
}

func (t tracker) MaybeRemoveClaimPendingAllocation(uid types.UID, force bool) bool {
	removed := t.ResourceClaimTracker.MaybeRemoveClaimPendingAllocation(uid, force)
	if removed {
		t.ledger.settled(uid)
	}
	return removed
}

func (t tracker) AssumeClaimAfterAPICall(c *resourcev1.ResourceClaim) error {
	err := t.ResourceClaimTracker.AssumeClaimAfterAPICall(c)
	if err == nil {
		t.ledger.written(c)
	}
	return err
}

func (t tracker) AssumedClaimRestore(namespace, name string) {
	t.ResourceClaimTracker.AssumedClaimRestore(namespace, name)
	t.ledger.takenBack(namespace, name)
}

// handle is the framework's with that manager.
type handle struct {
	fwk.Handle
	manager fwk.SharedDRAManager
}

func (h handle) SharedDRAManager() fwk.SharedDRAManager { return h.manager }
