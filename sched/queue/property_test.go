package queue

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// seeds are those of the random tests: POLDER_SEED is tried alone.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if s := os.Getenv("POLDER_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	base := uint64(time.Now().UnixNano())
	var out []uint64
	for i := range n {
		out = append(out, base+uint64(i))
	}
	return out
}

// TestNoScheduleBreaksAPromise runs random workloads through random forests and looks,
// after every cycle, at limits, gangs and preemptions; at the end at what is left.
func TestNoScheduleBreaksAPromise(t *testing.T) {
	preempted, admitted := 0, 0
	for _, seed := range seeds(t, 60) {
		p, a := run(t, seed)
		preempted += p
		admitted += a
	}
	t.Logf("%d admitted, %d preempted", admitted, preempted)
	if os.Getenv("POLDER_SEED") == "" && (preempted < 100 || admitted < 1000) {
		t.Errorf("only %d were admitted and %d preempted: the forests prove nothing", admitted, preempted)
	}
}

func run(t *testing.T, seed uint64) (preempted, admitted int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	queues, flavors := grown(r), stock()
	s, err := New(queues, flavors, Options{HalfLife: time.Minute, Patience: 5 * time.Minute})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	books := &ledger{queues: queues, flavors: flavors, running: map[string]held{}}
	work := map[string]Workload{}
	ends := map[string]time.Time{}
	possible := 0
	const arrivals = 100 // steps
	for step := range 4000 {
		if step > arrivals && len(books.running) == 0 {
			break
		}
		now := after(time.Duration(step) * 10 * time.Second)
		for _, id := range slices.Sorted(maps.Keys(ends)) {
			if !ends[id].After(now) {
				s.Remove(id, now)
				delete(ends, id)
				delete(books.running, id)
			}
		}
		for range r.IntN(4) {
			if step > arrivals {
				break
			}
			w := drawn(r, len(work), leavesOf(queues), now)
			if err := s.Add(w); err != nil {
				continue
			}
			work[w.ID] = w
			if wait, _ := s.Why(w.ID); wait.Code == WaitNever {
				s.Remove(w.ID, now)
				continue
			}
			possible++
		}
		earlier := maps.Clone(books.running)
		plan := s.Cycle(now)
		minimal(t, seed, books, earlier, work, &plan, now)
		for _, v := range plan.Preempt {
			if _, ran := earlier[v.ID]; !ran || work[v.ID].Keep {
				t.Fatalf("seed %d, step %d: %s is to end, which does not run or must be kept", seed, step, v.ID)
			}
			delete(books.running, v.ID)
			delete(ends, v.ID)
			s.Gone(v.ID)
		}
		for _, a := range plan.Admit {
			if _, twice := books.running[a.ID]; twice {
				t.Fatalf("seed %d, step %d: %s is admitted twice", seed, step, a.ID)
			}
			books.running[a.ID] = held{work[a.ID], a.Flavors}
			ends[a.ID] = now.Add(work[a.ID].Duration)
		}
		if bad := books.broken(); bad != "" {
			t.Fatalf("seed %d, step %d: %s", seed, step, bad)
		}
		preempted += len(plan.Preempt)
		admitted += len(plan.Admit)
	}
	if s.Pending() > 0 {
		for id := range s.jobs {
			w, _ := s.Why(id)
			t.Logf("%s: %s", id, w.Sentence)
			break
		}
		t.Errorf("seed %d: %d of %d still wait when nothing else runs", seed, s.Pending(), possible)
	}
	for i := range s.tree.nodes {
		n := &s.tree.nodes[i]
		for k, l := range n.lines {
			if l.used != l.usedAtRest {
				t.Errorf("seed %d: queue %s has %d of class %v left", seed, s.tree.name(i), l.used-l.usedAtRest, s.tree.classes[k])
			}
		}
		if n.units != [dimensions]int64{} {
			t.Errorf("seed %d: queue %s has units %v left", seed, s.tree.name(i), n.units)
		}
	}
	return preempted, admitted
}

// minimal checks that with any one of the preemptions left out, the admission that it
// is for would not have been possible.
func minimal(t *testing.T, seed uint64, books *ledger, earlier map[string]held, work map[string]Workload, plan *Plan, now time.Time) {
	t.Helper()
	if len(plan.Preempt) == 0 {
		return
	}
	set := maps.Clone(earlier)
	for _, a := range plan.Admit {
		var victims []string
		for _, v := range plan.Preempt {
			if v.For == a.ID {
				victims = append(victims, v.ID)
			}
		}
		for _, spare := range victims {
			s, err := New(books.queues, books.flavors, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for id, h := range set {
				if slices.Contains(victims, id) && id != spare {
					continue
				}
				if err := s.Admitted(h.work, Run{Flavors: h.names, Started: now}); err != nil {
					t.Fatal(err)
				}
			}
			j, err := s.take(work[a.ID])
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(j.like.demands, func(d *demand) bool { return slices.Equal(d.names, a.Flavors) })
			if _, fits := s.fit(j.leaf, j.like.demands[i], false); fits {
				t.Fatalf("seed %d: %s is ended for %s, which fits without", seed, spare, a.ID)
			}
		}
		for _, id := range victims {
			delete(set, id)
		}
		set[a.ID] = held{work[a.ID], a.Flavors}
	}
}

// TestTheSameCallsGiveTheSamePlan also when workloads come in another order.
func TestTheSameCallsGiveTheSamePlan(t *testing.T) {
	for _, seed := range seeds(t, 20) {
		r := rand.New(rand.NewPCG(seed, 2))
		queues := grown(r)
		var work []Workload
		for i := range 200 {
			work = append(work, drawn(r, i, leavesOf(queues), after(time.Duration(i)*time.Second)))
		}
		var first []Plan
		for try := range 3 {
			s, err := New(queues, stock(), Options{HalfLife: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			mixed := slices.Clone(work)
			if try > 0 {
				r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			}
			for _, w := range mixed {
				_ = s.Add(w) // some ask for what their queue has no quota for
			}
			plans := []Plan{s.Cycle(after(time.Hour))}
			ids := slices.SortedFunc(slices.Values(plans[0].Admit), func(a, b Admission) int { return cmp.Compare(a.ID, b.ID) })
			for _, a := range ids[:len(ids)/2] {
				s.Remove(a.ID, after(time.Hour+time.Minute))
			}
			plans = append(plans, s.Cycle(after(2*time.Hour)))
			if try == 0 {
				first = plans
			} else if !reflect.DeepEqual(first, plans) {
				t.Fatalf("seed %d: two runs differ", seed)
			}
		}
	}
}

// TestWhoOwnsIsNeverKeptWaiting: however much others have borrowed, what a queue asks
// of its own is admitted in the next cycle.
func TestWhoOwnsIsNeverKeptWaiting(t *testing.T) {
	tried := 0
	for _, seed := range seeds(t, 150) {
		r := rand.New(rand.NewPCG(seed, 3))
		queues, flavors := grown(r), stock()
		for i := range flavors {
			flavors[i].Capacity = -1 // only quotas limit
		}
		for i := range queues {
			queues[i].Preempt.Reclaim = Any
		}
		leaves := leavesOf(queues)
		own := leaves[r.IntN(len(leaves))]
		q := queues[slices.IndexFunc(queues, func(q Queue) bool { return q.Name == own })]
		i := slices.IndexFunc(q.Quotas, func(l Quota) bool { return l.Class == gpu })
		if len(leaves) < 2 || q.Quotas[i].Nominal < Device {
			continue
		}
		s, err := New(queues, flavors, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			w := drawn(r, i, slices.DeleteFunc(slices.Clone(leaves), func(l string) bool { return l == own }), began)
			w.Keep, w.Priority = false, 1000
			_ = s.Add(w) // some ask for what their queue has no quota for
		}
		s.Cycle(began)
		w := gpus("own", own, int(q.Quotas[i].Nominal/Device), 1)
		w.PodSets[0].Ask.Products = []string{"A100"} // which only the line for GPUs counts
		if err := s.Add(w); err != nil {
			t.Fatal(err)
		}
		tried++
		admitted, _ := ids(s.Cycle(after(time.Second)))
		if !slices.Contains(admitted, "own") {
			why, _ := s.Why("own")
			t.Errorf("seed %d: queue %s is not given its own: %s", seed, own, why.Sentence)
		}
	}
	if tried < 20 && os.Getenv("POLDER_SEED") == "" {
		t.Errorf("only %d forests said anything", tried)
	}
}
