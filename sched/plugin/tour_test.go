package plugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"

	"polder.dev/polder/sched"
)

func named(n int) []candidate {
	var out []candidate
	for i := range n {
		name := fmt.Sprint("z", i)
		out = append(out, candidate{sched.Label{Level: "zone", Name: name}, &fwk.Placement{Name: name}})
	}
	return out
}

// visit gives a tour its next domains, as one attempt does.
func (t *tour) visit(all []candidate) []string {
	t.plan, t.given, t.left, t.narrow = nil, nil, false, false
	var out []string
	for _, p := range t.give(all) {
		out = append(out, p.Name)
	}
	return out
}

// TestTourSeesEachDomainOnce: twice as many each time, each once, whatever becomes of their
// order; and then anew.
func TestTourSeesEachDomainOnce(t *testing.T) {
	all, x := named(20), newTour("")
	var sizes []int
	seen := map[string]int{}
	for again := true; again; again = x.failed() {
		got := x.visit(all)
		sizes = append(sizes, len(got))
		for _, name := range got {
			seen[name]++
		}
		slices.Reverse(all)
	}
	if want := []int{1, 2, 4, 8, 5}; !slices.Equal(sizes, want) {
		t.Errorf("it was given %v, want %v", sizes, want)
	}
	for _, c := range all {
		if seen[c.Name] != 1 {
			t.Errorf("%s was given %d times", c.Name, seen[c.Name])
		}
	}
	if got := x.visit(all); len(got) != 1 {
		t.Errorf("and then %v", got)
	}
}

// TestTourStaysWhilePodsSeeFewNodes: a domain is done with when all pods have seen all of its
// nodes.
func TestTourStaysWhilePodsSeeFewNodes(t *testing.T) {
	all, x := named(3), newTour("")
	for i, c := range []struct {
		narrow bool
		stuck  []types.UID
		want   string
	}{{true, []types.UID{"a"}, "z0"}, {true, []types.UID{"b"}, "z0"}, {false, nil, "z0"}, {false, nil, "z1 z2"}} {
		if got := strings.Join(x.visit(all), " "); got != c.want {
			t.Errorf("attempt %d was given %s, want %s", i, got, c.want)
		}
		x.narrow = c.narrow
		if again := x.failed(c.stuck...); again != (i < 3) {
			t.Errorf("again after attempt %d: %v", i, again)
		}
	}
	if !x.open || !x.shown.HasAll("a", "b") {
		t.Errorf("shown all: %v, and %v", x.open, x.shown)
	}
}

// TestTourRemembersSoManyDomains: who has tried too many gets all others.
func TestTourRemembersSoManyDomains(t *testing.T) {
	all, x := named(3*triedMax), newTour("")
	given := 0
	for again := true; again; again = x.failed() {
		if given += len(x.visit(all)); x.tried.Len() > triedMax {
			t.Fatalf("it remembers %d", x.tried.Len())
		}
	}
	if given != len(all) {
		t.Errorf("it was given %d of %d", given, len(all))
	}
}
