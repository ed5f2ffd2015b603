package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// either asks for n devices of either kind, and says how fast it is with each; 0: not
// known.
func either(id string, n int, cuda, cann float64) Workload {
	speeds := map[string]float64{}
	if cuda > 0 {
		speeds["cuda"] = cuda
	}
	if cann > 0 {
		speeds["cann"] = cann
	}
	return Workload{ID: id, Queue: "q", Created: began, PodSets: []PodSet{{Count: 1, Ask: Ask{
		Count: n, Kinds: []device.Kind{device.GPU, device.NPU}, Software: []string{"cuda", "cann"}, Speeds: speeds}}}}
}

// two kinds, of which there are so many.
func two(gpus, npus int64) []Flavor {
	return []Flavor{
		{Name: "H100", Kind: device.GPU, Product: "H100", Memory: 80 * gib, Capacity: gpus * Device, Software: "cuda", Speed: 4},
		{Name: "910B", Kind: device.NPU, Product: "Ascend 910B", Memory: 64 * gib, Capacity: npus * Device, Software: "cann"},
	}
}

// TestWhoGainsMostGetsWhatIsScarce: both are admitted at once, whoever was first.
func TestWhoGainsMostGetsWhatIsScarce(t *testing.T) {
	for name, c := range map[string]struct {
		gpus, npus int64
		work       []Workload
		want       map[string]string
	}{
		"4 times and 1.1 times as fast":        {1, 1, []Workload{either("a", 1, 11, 10), either("b", 1, 40, 10)}, map[string]string{"a": "910B", "b": "H100"}},
		"and in the other order":               {1, 1, []Workload{either("a", 1, 40, 10), either("b", 1, 11, 10)}, map[string]string{"a": "H100", "b": "910B"}},
		"with enough for both, both":           {2, 1, []Workload{either("a", 1, 11, 10), either("b", 1, 40, 10)}, map[string]string{"a": "H100", "b": "H100"}},
		"alone, also the one that gains least": {1, 1, []Workload{either("a", 1, 11, 10)}, map[string]string{"a": "H100"}},
		"the first, where nothing is known":    {1, 1, []Workload{either("a", 1, 0, 0), either("b", 1, 40, 10)}, map[string]string{"a": "H100", "b": "910B"}},
		"or known of one kind only":            {1, 1, []Workload{either("a", 1, 11, 0), either("b", 1, 40, 10)}, map[string]string{"a": "H100", "b": "910B"}},
		"who asks for more does not trade":     {2, 2, []Workload{either("a", 2, 11, 10), either("b", 1, 40, 10)}, map[string]string{"a": "H100", "b": "910B"}},
		"what is faster, whatever is first":    {1, 1, []Workload{either("a", 1, 10, 20)}, map[string]string{"a": "910B"}},
		"and of two alike the first":           {1, 1, []Workload{either("a", 1, 40, 10), either("b", 1, 40, 10)}, map[string]string{"a": "H100", "b": "910B"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New([]Queue{{Name: "q", Quotas: []Quota{{Class: Class{}, Nominal: 8 * Device}}}}, two(c.gpus, c.npus), Options{})
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, c.work...)
			got := map[string]string{}
			for _, a := range s.Cycle(began).Admit {
				got[a.ID] = a.Flavors[0]
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestQueuesDoNotTrade with each other: what one was given first it keeps.
func TestQueuesDoNotTrade(t *testing.T) {
	quota := []Quota{{Class: Class{}, Nominal: Device}}
	s, err := New([]Queue{{Name: "q", Quotas: quota}, {Name: "r", Quotas: quota}}, two(1, 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := either("b", 1, 40, 10)
	b.Queue = "r"
	put(t, s, either("a", 1, 11, 10), b)
	for _, a := range s.Cycle(began).Admit {
		if want := map[string]string{"a": "H100", "b": "910B"}[a.ID]; a.Flavors[0] != want {
			t.Errorf("%s has %s, want %s", a.ID, a.Flavors[0], want)
		}
	}
}

// TestTradesChangeNothingElse, in random forests: the same are admitted and ended, what is
// not measured has what it had, all books are as they were, and no queue's work is slower
// together.
func TestTradesChangeNothingElse(t *testing.T) {
	traded := 0
	for _, seed := range seeds(t, 150) {
		r := rand.New(rand.NewPCG(seed, 7))
		queues, flavors := grown(r), stock()
		flavors[3].Capacity = 8 * Device // of NPUs, which are scarce then
		var with, without *State
		for _, s := range []**State{&with, &without} {
			var err error
			if *s, err = New(queues, flavors, Options{HalfLife: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 60 {
			w := drawn(r, i, leavesOf(queues), after(time.Duration(i)*time.Second))
			w.PodSets = w.PodSets[:1]
			w.PodSets[0].Count = 1
			if a := &w.PodSets[0].Ask; a.Count > 0 { // alike enough to trade
				a.Count, a.Kinds, a.MemoryMin = 1, []device.Kind{device.GPU, device.NPU}, 0
			}
			for _, s := range []*State{with, without} {
				_ = s.Add(w) // some ask for what their queue has no quota for
			}
		}
		now := after(5 * time.Minute)
		got := with.Cycle(now)
		without.advance(now)
		want := Plan{left: without.options.VictimsMax}
		without.hold(&want)
		without.admit(&want)
		without.lift(&want)
		if len(got.Admit) != len(want.Admit) || len(got.Preempt) != len(want.Preempt) {
			t.Fatalf("seed %d: %d admitted and %d ended, want %d and %d", seed, len(got.Admit), len(got.Preempt), len(want.Admit), len(want.Preempt))
		}
		faster := map[string]float64{}
		for i, a := range got.Admit {
			b := want.Admit[i]
			if a.ID != b.ID {
				t.Fatalf("seed %d: %s is admitted in the place of %s", seed, a.ID, b.ID)
			}
			if slices.Equal(a.Flavors, b.Flavors) {
				continue
			}
			traded++
			j := with.jobs[a.ID]
			is, was := with.speed(j, with.flavor(j.with).of), with.speed(j, with.flavor(without.jobs[a.ID].with).of)
			if is == 0 || was == 0 {
				t.Errorf("seed %d: %s, of which nothing is known, has %v in place of %v", seed, a.ID, a.Flavors, b.Flavors)
			}
			faster[a.Queue] += math.Log(is / was)
		}
		for q, by := range faster {
			if by <= 0 {
				t.Errorf("seed %d: the work of queue %s is %.2g times as fast", seed, q, math.Exp(by))
			}
		}
		for i := range with.tree.nodes {
			a, b := &with.tree.nodes[i], &without.tree.nodes[i]
			if fmt.Sprint(a.lines) != fmt.Sprint(b.lines) || a.units != b.units || a.past != b.past {
				t.Errorf("seed %d: the books of queue %s changed", seed, with.tree.name(i))
			}
		}
		if !slices.Equal(with.given, without.given) {
			t.Errorf("seed %d: %v is given of the flavours, want %v", seed, with.given, without.given)
		}
		books := &ledger{queues: queues, flavors: flavors, running: map[string]held{}}
		for _, a := range got.Admit {
			books.running[a.ID] = held{with.jobs[a.ID].work, a.Flavors}
		}
		if bad := books.broken(); bad != "" {
			t.Errorf("seed %d: %s", seed, bad)
		}
	}
	if traded < 20 {
		t.Errorf("only %d traded: the forests prove nothing", traded)
	}
}
