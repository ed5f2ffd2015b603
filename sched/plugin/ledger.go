package plugin

import (
	"maps"
	"slices"
	"strconv"
	"sync"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// entry is a claim that has devices, and by whose word: the API server's, ours that is
// being written, or ours that is written but has not come back yet.
type entry struct {
	claim                *resourcev1.ResourceClaim
	known, flying, mined bool
	version              uint64 // of what we wrote
}

func (e *entry) held() bool { return e.known || e.flying || e.mined }

// ledger follows which claims have devices. It hears of it from upstream's plugin as
// soon as that has decided, and from the API server, in any order; a claim has devices
// as long as anybody says so.
type ledger struct {
	mu      sync.Mutex
	claims  map[types.UID]*entry
	flying  map[types.UID]*resourcev1.ResourceClaim // those of claims that are
	names   map[types.NamespacedName]types.UID
	changes []change
	handler cache.ResourceEventHandlerRegistration
}

// change is a claim that has got devices or lost them.
type change struct {
	claim *resourcev1.ResourceClaim
	got   bool
}

func newLedger() *ledger {
	return &ledger{claims: map[types.UID]*entry{}, flying: map[types.UID]*resourcev1.ResourceClaim{}, names: map[types.NamespacedName]types.UID{}}
}

// drain returns what changed since the last call.
func (l *ledger) drain() []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.changes
	l.changes = nil
	return c
}

// inFlight is the claims whose devices are decided and not written yet.
func (l *ledger) inFlight() []*resourcev1.ResourceClaim {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.flying))
}

// complete reports whether everything that was there at the start has been heard.
func (l *ledger) complete() bool { return l.handler == nil || l.handler.HasSynced() }

// edit changes a claim's entry and notes what comes of it. c may be nil for a claim
// that is known.
func (l *ledger) edit(uid types.UID, c *resourcev1.ResourceClaim, set func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.claims[uid]
	if e == nil {
		if c == nil {
			return
		}
		e = &entry{}
		l.claims[uid] = e
		l.names[types.NamespacedName{Namespace: c.Namespace, Name: c.Name}] = uid
	}
	before, old := e.held(), e.claim
	set(e)
	if c != nil && c.Status.Allocation != nil {
		e.claim = c
	}
	if delete(l.flying, uid); e.flying {
		l.flying[uid] = e.claim
	}
	switch after := e.held(); {
	case !before && after:
		l.changes = append(l.changes, change{e.claim, true})
	case before && !after:
		l.changes = append(l.changes, change{old, false})
	}
	if !e.held() {
		delete(l.claims, uid)
		if c == nil {
			c = old
		}
		if at := (types.NamespacedName{Namespace: c.Namespace, Name: c.Name}); l.names[at] == uid {
			delete(l.names, at)
		}
	}
}

// heard is what the API server says of a claim. It may lag behind what we wrote: a
// claim is changed twice on its way to its devices.
func (l *ledger) heard(c *resourcev1.ResourceClaim) {
	l.edit(c.UID, c, func(e *entry) {
		e.known = c.Status.Allocation != nil
		e.mined = e.mined && versionOf(c) < e.version
	})
}

// versionOf is 0 where it is no number, as it is with every API server that there is.
func versionOf(c *resourcev1.ResourceClaim) uint64 {
	v, err := strconv.ParseUint(c.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

func (l *ledger) gone(c *resourcev1.ResourceClaim) {
	l.edit(c.UID, nil, func(e *entry) { e.known, e.mined = false, false })
}

// signalled is that upstream's plugin has decided, and settled that what it decided is
// written or given up.
func (l *ledger) signalled(uid types.UID, c *resourcev1.ResourceClaim) {
	l.edit(uid, c, func(e *entry) { e.flying = true })
}

func (l *ledger) settled(uid types.UID) { l.edit(uid, nil, func(e *entry) { e.flying = false }) }

// written is that the API server took it, and taken back that it did not after all.
func (l *ledger) written(c *resourcev1.ResourceClaim) {
	l.edit(c.UID, c, func(e *entry) { e.mined, e.version = c.Status.Allocation != nil, versionOf(c) })
}

func (l *ledger) takenBack(namespace, name string) {
	l.mu.Lock()
	uid, ok := l.names[types.NamespacedName{Namespace: namespace, Name: name}]
	l.mu.Unlock()
	if ok {
		l.edit(uid, nil, func(e *entry) { e.mined = false })
	}
}

// correct makes the ledger agree with all claims there are, as upstream's plugin sees
// them: that hears of changes before us, or after.
func (l *ledger) correct(all []*resourcev1.ResourceClaim) {
	there := make(map[types.UID]bool, len(all))
	for _, c := range all {
		if c.Status.Allocation != nil {
			there[c.UID] = true
			l.edit(c.UID, c, func(e *entry) { e.known = true })
		}
	}
	l.mu.Lock()
	var gone []types.UID
	for uid := range l.claims {
		if !there[uid] {
			gone = append(gone, uid)
		}
	}
	l.mu.Unlock()
	for _, uid := range gone {
		l.edit(uid, nil, func(e *entry) { e.known, e.mined = false, false })
	}
}

// listen has the API server's word follow.
func (l *ledger) listen(informer cache.SharedIndexInformer) (err error) {
	claim := func(o any) (*resourcev1.ResourceClaim, bool) {
		if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = d.Obj
		}
		c, ok := o.(*resourcev1.ResourceClaim)
		return c, ok
	}
	hear := func(o any) {
		if c, ok := claim(o); ok {
			l.heard(c)
		}
	}
	l.handler, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: hear, UpdateFunc: func(_, o any) { hear(o) },
		DeleteFunc: func(o any) {
			if c, ok := claim(o); ok {
				l.gone(c)
			}
		},
	})
	return err
}
