package plugin

import (
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLedgerInAnyOrder: a claim has devices from the decision on until somebody takes
// them back, in whatever order the API server's word comes.
func TestLedgerInAnyOrder(t *testing.T) {
	at := func(version string, allocated bool) *resourcev1.ResourceClaim {
		c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u", ResourceVersion: version}}
		if allocated {
			c.Status.Allocation = &resourcev1.AllocationResult{}
		}
		return c
	}
	decided := func(l *ledger) { l.signalled("u", at("1", true)) }
	finalizer := func(l *ledger) { l.heard(at("2", false)) } // the first of two changes comes back
	written := func(l *ledger) { l.written(at("3", true)) }
	settled := func(l *ledger) { l.settled("u") }
	heard := func(l *ledger) { l.heard(at("3", true)) }
	freed := func(l *ledger) { l.heard(at("4", false)) }
	gone := func(l *ledger) { l.gone(at("4", false)) }
	corrected := func(l *ledger) { l.correct([]*resourcev1.ResourceClaim{at("3", true)}) }
	for _, c := range []struct {
		name  string
		steps []func(*ledger)
		held  bool
	}{
		{"decided", []func(*ledger){decided}, true},
		{"given up", []func(*ledger){decided, settled}, false},
		{"in order", []func(*ledger){decided, finalizer, written, settled, heard}, true},
		{"the first change comes back last", []func(*ledger){decided, written, settled, finalizer}, true},
		{"all comes back before it is noted", []func(*ledger){decided, finalizer, heard, written, settled}, true},
		{"taken back", []func(*ledger){decided, written, settled, func(l *ledger) { l.takenBack("n", "c") }}, false},
		{"freed", []func(*ledger){decided, written, settled, heard, freed}, false},
		{"freed before the writing was heard of", []func(*ledger){decided, written, settled, freed}, false},
		{"deleted", []func(*ledger){decided, written, settled, gone}, false},
		{"there at the start", []func(*ledger){heard}, true},
		{"found by looking again", []func(*ledger){corrected}, true},
		{"not found by looking again", []func(*ledger){heard, func(l *ledger) { l.correct(nil) }}, false},
		{"decided, and not found yet", []func(*ledger){decided, func(l *ledger) { l.correct(nil) }}, true},
	} {
		l := newLedger()
		for _, step := range c.steps {
			step(l)
		}
		held := 0
		for _, ch := range l.drain() {
			if ch.got {
				held++
			} else {
				held--
			}
		}
		if (held == 1) != c.held || held < 0 || held > 1 {
			t.Errorf("%s: held %d times", c.name, held)
		}
		if !c.held && len(l.claims)+len(l.names) > 0 {
			t.Errorf("%s: %v is remembered", c.name, l.claims)
		}
	}
}
