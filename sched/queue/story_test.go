package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// lab is two teams below one root, each with eight GPUs, and one without any.
func lab() []Queue {
	both := Preempt{Within: LowerPriority, Reclaim: Any}
	return []Queue{
		{Name: "lab", Quotas: []Quota{{Class: gpu, Nominal: 16 * Device}}},
		{Name: "vision", Parent: "lab", Preempt: both, Quotas: []Quota{{Class: gpu, Nominal: 8 * Device}}},
		{Name: "speech", Parent: "lab", Preempt: both, Quotas: []Quota{{Class: gpu, Nominal: 8 * Device}, {Class: large, Nominal: 2 * Device, BorrowMax: ptr(2 * Device)}}},
		{Name: "guests", Parent: "lab", Preempt: both, Quotas: []Quota{{Class: gpu}}},
	}
}

func open(t *testing.T, queues []Queue, o Options) *State {
	t.Helper()
	s, err := New(queues, stock(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gpus asks for n GPUs on each of pods pods.
func gpus(id, queue string, pods, n int) Workload {
	return Workload{ID: id, Queue: queue, Created: began, PodSets: []PodSet{{Count: pods, Ask: Ask{Count: n, Kinds: []device.Kind{device.GPU}}}}}
}

func put(t *testing.T, s *State, work ...Workload) {
	t.Helper()
	for _, w := range work {
		if err := s.Add(w); err != nil {
			t.Fatal(err)
		}
	}
}

// ids of what a plan admits, and of what it ends.
func ids(p Plan) (admitted, ended []string) {
	for _, a := range p.Admit {
		admitted = append(admitted, a.ID)
	}
	for _, v := range p.Preempt {
		ended = append(ended, v.ID)
	}
	return admitted, ended
}

func TestBorrowedIsGivenBack(t *testing.T) {
	s := open(t, lab(), Options{})
	put(t, s, gpus("a", "guests", 4, 1), gpus("b", "guests", 4, 1), gpus("c", "guests", 4, 1))
	admitted, _ := ids(s.Cycle(began))
	if d := cmp.Diff([]string{"a", "b", "c"}, admitted); d != "" {
		t.Fatalf("an idle cloud lends to those who own nothing (-want +got):\n%s", d)
	}
	s.Saved("b", after(time.Hour-time.Second))
	put(t, s, gpus("own", "vision", 8, 1))
	p := s.Cycle(after(time.Hour))
	admitted, ended := ids(p)
	if d := cmp.Diff([]string{"own"}, admitted); d != "" {
		t.Fatalf("admitted (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"b"}, ended); d != "" {
		t.Errorf("one is enough, and b has just saved its work (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"b"}, p.Admit[0].After); d != "" {
		t.Errorf("it starts when b is gone (-want +got):\n%s", d)
	}
	if want := "queue guests had borrowed what queue vision needs now"; p.Preempt[0].Why != want {
		t.Errorf("why %q, want %q", p.Preempt[0].Why, want)
	}
	if admitted, ended := ids(s.Cycle(after(2 * time.Hour))); len(admitted)+len(ended) > 0 {
		t.Errorf("who borrowed ends nobody in turn: %v, %v", admitted, ended)
	}
	s.Remove("own", after(3*time.Hour))
	if p = s.Cycle(after(3 * time.Hour)); len(p.Admit) != 1 || p.Admit[0].ID != "b" || !p.Admit[0].Borrows || !slices.Equal(p.Admit[0].After, []string{"b"}) {
		t.Errorf("b starts again when its own remains are gone, got %+v", p.Admit)
	}
}

// TestOnlyWhatIsBorrowedIsReclaimed: the work of speech is cheap to end, but only a
// third of it is borrowed.
func TestOnlyWhatIsBorrowedIsReclaimed(t *testing.T) {
	s := open(t, lab(), Options{})
	for _, w := range []Workload{gpus("g", "guests", 4, 1), gpus("s1", "speech", 4, 1), gpus("s2", "speech", 4, 1), gpus("s3", "speech", 4, 1)} {
		saved := after(time.Hour)
		if w.ID == "g" {
			saved = time.Time{}
		}
		if err := s.Admitted(w, Run{Started: began, Saved: saved}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, gpus("own", "vision", 8, 1))
	_, ended := ids(s.Cycle(after(time.Hour)))
	if d := cmp.Diff([]string{"s1", "g"}, ended); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNothingBlocksWhatFits(t *testing.T) {
	s := open(t, lab(), Options{})
	first := gpus("first", "speech", 16, 1)
	first.Priority = 10
	put(t, s, gpus("runs", "vision", 4, 1))
	s.Cycle(began)
	put(t, s, first, gpus("second", "speech", 8, 1))
	admitted, _ := ids(s.Cycle(after(time.Minute)))
	if d := cmp.Diff([]string{"second"}, admitted); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
}

// TestPatienceEnds: small work comes for ever, and the large gang runs all the same.
func TestPatienceEnds(t *testing.T) {
	for _, patience := range []time.Duration{-1, 10 * time.Minute} {
		s := open(t, lab(), Options{Patience: patience})
		n := 0
		started := time.Duration(0)
		for minute := range 120 {
			now := time.Duration(minute) * time.Minute
			if minute == 3 {
				w := gpus("gang", "speech", 12, 1)
				w.Created = after(now)
				put(t, s, w)
			}
			for range 3 {
				w := gpus(fmt.Sprintf("s%d", n), "speech", 1, 1)
				w.Created, w.Duration = after(now), 5*time.Minute
				put(t, s, w)
				n++
			}
			for id, j := range s.jobs {
				if j.with != nil && j.work.Duration > 0 && !after(now).Before(j.run.Started.Add(j.work.Duration)) {
					s.Remove(id, after(now))
				}
			}
			admitted, _ := ids(s.Cycle(after(now)))
			if started == 0 && slices.Contains(admitted, "gang") {
				started = now
			}
		}
		switch {
		case patience < 0 && started > 0:
			t.Errorf("without an end to patience the gang started after %v: the test shows nothing", started)
		case patience > 0 && (started == 0 || started > 20*time.Minute):
			t.Errorf("with a patience of %v the gang started after %v", patience, started)
		}
	}
}

// TestSharesFollowWeights: two queues that own nothing share what is there by weight,
// and who had much before is behind for a while.
func TestSharesFollowWeights(t *testing.T) {
	queues := []Queue{
		{Name: "lab", Quotas: []Quota{{Class: gpu, Nominal: 16 * Device}}},
		{Name: "one", Parent: "lab", Quotas: []Quota{{Class: gpu}}},
		{Name: "three", Parent: "lab", Weight: 3, Quotas: []Quota{{Class: gpu}}},
	}
	s := open(t, queues, Options{HalfLife: time.Hour})
	for i := range 20 {
		put(t, s, gpus(fmt.Sprintf("a%02d", i), "one", 1, 1), gpus(fmt.Sprintf("b%02d", i), "three", 1, 1))
	}
	count := map[string]int{}
	for _, a := range s.Cycle(began).Admit {
		count[a.Queue]++
	}
	if d := cmp.Diff(map[string]int{"one": 4, "three": 12}, count); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	s = open(t, queues, Options{HalfLife: time.Hour})
	for i := range 16 {
		put(t, s, gpus(fmt.Sprintf("early%02d", i), "three", 1, 1))
	}
	s.Cycle(began)
	for i := range 20 {
		put(t, s, gpus(fmt.Sprintf("a%02d", i), "one", 1, 1), gpus(fmt.Sprintf("b%02d", i), "three", 1, 1))
	}
	for i := range 16 {
		s.Remove(fmt.Sprintf("early%02d", i), after(time.Hour))
	}
	clear(count)
	for _, a := range s.Cycle(after(time.Hour)).Admit {
		count[a.Queue]++
	}
	if count["one"] <= 4 {
		t.Errorf("an hour of all devices is forgotten: %v", count)
	}
}

// TestFairSharesAreTakenBack where a queue says so, and then all is at rest.
func TestFairSharesAreTakenBack(t *testing.T) {
	for _, fair := range []Policy{Never, Any} {
		s := open(t, []Queue{
			{Name: "lab", Quotas: []Quota{{Class: gpu, Nominal: 16 * Device}}},
			{Name: "one", Parent: "lab", Preempt: Preempt{Fair: fair}, Quotas: []Quota{{Class: gpu}}},
			{Name: "three", Parent: "lab", Preempt: Preempt{Fair: fair}, Weight: 3, Quotas: []Quota{{Class: gpu}}},
		}, Options{HalfLife: time.Hour})
		for i := range 20 {
			put(t, s, gpus(fmt.Sprintf("a%02d", i), "one", 1, 1))
		}
		s.Cycle(began)
		for i := range 20 {
			put(t, s, gpus(fmt.Sprintf("b%02d", i), "three", 1, 1))
		}
		_, ended := ids(s.Cycle(after(time.Minute)))
		if want := map[Policy]int{Never: 0, Any: 12}[fair]; len(ended) != want {
			t.Errorf("policy %v: %d ended, want %d", fair, len(ended), want)
		}
		for i := range 10 {
			if admitted, ended := ids(s.Cycle(after(time.Duration(i+2) * time.Hour))); len(admitted)+len(ended) > 0 {
				t.Errorf("policy %v: they end each other: %v, %v", fair, admitted, ended)
			}
		}
	}
}

// TestUnitsAreNormalised: an H100 is three, so who has one has more than who has an
// A100; a part counts for what it takes.
func TestUnitsAreNormalised(t *testing.T) {
	s := open(t, []Queue{{Name: "q", Quotas: []Quota{{Class: gpu, Nominal: Device}}}}, Options{})
	for i := range 9 {
		w := gpus(fmt.Sprint("w", i), "q", 1, 1)
		w.PodSets[0].Ask.MemoryMin, w.PodSets[0].Ask.Share, w.PodSets[0].Ask.Products = 8*gib, true, []string{"H100"}
		put(t, s, w)
	}
	if n := len(s.Cycle(began).Admit); n != 7 {
		t.Errorf("%d of nine parts of an H100 are admitted on a quota of one GPU, want seven sevenths", n)
	}
	u := s.Usage()[0]
	if u.Flavors["H100"] != Device || u.Lines[0].Used != Device || u.Running != 7 || u.Pending != 2 {
		t.Errorf("usage %+v", u)
	}
	if units := s.tree.nodes[1].units[0]; units != 3*1000*Device {
		t.Errorf("units %d, want those of a device three times as fast", units)
	}
	for n, want := range map[int64]int64{
		0: 0, 143: Device / 7, 142: Device / 7, 286: 2 * Device / 7, 571: 4 * Device / 7, 500: Device / 2, 250: Device / 4, 125: Device / 8, 1000: Device, 2000: Device, 7: 7 * Device / 1000,
	} {
		if got := Thousandths(n); got != want {
			t.Errorf("%d thousandths are %d, want %d", n, got, want)
		}
	}
	for _, tc := range []struct {
		have, whole map[string]int64
		want        int64
	}{
		{map[string]int64{"memory": 10, "compute": 1}, map[string]int64{"memory": 80, "compute": 7}, Device / 7},
		{map[string]int64{"memory": 40, "compute": 1}, map[string]int64{"memory": 80, "compute": 7}, Device / 2},
		{map[string]int64{"memory": 1}, map[string]int64{"memory": 17}, Device/17 + 1},
		{map[string]int64{"memory": 90}, map[string]int64{"memory": 80}, Device},
		{map[string]int64{"other": 1}, map[string]int64{"memory": 80}, 0},
	} {
		if got := Fraction(tc.have, tc.whole); got != tc.want {
			t.Errorf("%v of %v is %d, want %d", tc.have, tc.whole, got, tc.want)
		}
	}
}

// TestTheSmallestThatWillDoIsGiven so that large devices are there for those who need
// them, and a line on those binds only them.
func TestTheSmallestThatWillDoIsGiven(t *testing.T) {
	s := open(t, lab(), Options{})
	big := gpus("big", "speech", 5, 1)
	big.PodSets[0].Ask.MemoryMin = 80 * gib
	put(t, s, gpus("small", "speech", 2, 1), big)
	p := s.Cycle(began)
	if len(p.Admit) != 1 || p.Admit[0].Flavors[0] != "A100-40" {
		t.Errorf("%+v, want the small one alone, on the smallest GPUs", p.Admit)
	}
	w, _ := s.Why("big")
	if w.Code != WaitNever || w.Short != 1 {
		t.Errorf("%+v", w)
	}
}

func TestWhy(t *testing.T) {
	long := func(w Workload, d time.Duration) Workload { w.Duration = d; return w }
	for name, tc := range map[string]struct {
		runs  []Workload
		waits Workload
		code  string
		says  string
	}{
		"what it may borrow is used by others": {
			runs: []Workload{long(gpus("r", "guests", 6, 1), 30*time.Minute), gpus("s", "vision", 6, 1)}, waits: gpus("w", "vision", 6, 1), code: WaitQuota,
			says: "it needs 6 GPUs; its queue vision uses 6 of its own 8, and of the 16 that queue lab shares out 12 are in use or kept: 2 too few; borrowed by queue guests (6); that is expected in about 30 min, when others end",
		},
		"more than it may borrow": {
			runs: []Workload{bigOne("r", 3)}, waits: bigOne("w", 2), code: WaitQuota,
			says: "it needs 2 GPUs with at least 80 GiB; queue speech has 2 of its own and may borrow 2, and 3 are in use: 1 too few",
		},
		"more than there will ever be": {
			waits: gpus("w", "vision", 17, 1), code: WaitNever,
			says: "spec.workers and spec.accelerators ask for 17 GPUs together in queue vision, and queue lab has 16 of its own: ask for less, or use another queue",
		},
		"it is to come": {waits: gpus("w", "vision", 1, 1), code: WaitTurn, says: "it waits in queue vision, with 0 before it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, lab(), Options{})
			for _, r := range tc.runs {
				if err := s.Admitted(r, Run{Started: began}); err != nil {
					t.Fatal(err)
				}
			}
			put(t, s, tc.waits)
			s.advance(began)
			w, ok := s.Why("w")
			if !ok || w.Code != tc.code || w.Sentence != tc.says {
				t.Errorf("%v %s, want %s\n got %s\nwant %s", ok, w.Code, tc.code, w.Sentence, tc.says)
			}
		})
	}
	s := open(t, []Queue{{Name: "q", Quotas: []Quota{{Class: gpu, Nominal: 100 * Device}}}}, Options{})
	big := gpus("w", "q", 9, 1)
	big.PodSets[0].Ask.Products = []string{"H100"}
	run := gpus("r", "q", 8, 1)
	run.PodSets[0].Ask.Products = []string{"H100"}
	if err := s.Admitted(run, Run{Started: began}); err != nil {
		t.Fatal(err)
	}
	put(t, s, big)
	if w, _ := s.Why("w"); w.Code != WaitCapacity || w.Sentence != "it needs 9 H100, and the cloud has 16 in all, of which 8 are given out: 1 too few" {
		t.Errorf("%+v", w)
	}
}

func bigOne(id string, n int) Workload {
	w := gpus(id, "speech", n, 1)
	w.PodSets[0].Ask.MemoryMin = 80 * gib
	return w
}

func TestBadForests(t *testing.T) {
	one := func(q Queue) []Queue { q.Name = "q"; return []Queue{q} }
	for name, tc := range map[string]struct {
		queues []Queue
		says   string
	}{
		"a circle":          {[]Queue{{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}}, "queue a: spec.parent makes a circle: a is below b is below a"},
		"its own parent":    {one(Queue{Parent: "q"}), "spec.parent makes a circle: q is below q"},
		"an unknown parent": {one(Queue{Parent: "nobody"}), `spec.parent is "nobody", which is no queue: known are q`},
		"a negative weight": {one(Queue{Weight: -1}), "spec.weight is -1: it must be a positive number"},
		"an unknown kind":   {one(Queue{Quotas: []Quota{{Class: Class{Kind: "abacus"}}}}), `spec.quotas[0].kind is "abacus", a kind of accelerator that nobody knows: known are gpu, npu`},
		"an unknown product": {
			one(Queue{Quotas: []Quota{{Class: Class{Product: "H1000"}}}}), `spec.quotas[0].product is "H1000", an accelerator that nobody knows`,
		},
		"an unknown resource":  {one(Queue{Quotas: []Quota{{Class: Class{Resource: "disk"}}}}), `spec.quotas[0].resource is "disk": known are cpu and memory`},
		"two things in a line": {one(Queue{Quotas: []Quota{{Class: Class{Resource: CPU, Kind: device.GPU}}}}), "spec.quotas[0].resource cannot stand beside kind"},
		"less than nothing":    {one(Queue{Quotas: []Quota{{Class: gpu, Nominal: -1}}}), "spec.quotas[0].nominal is below zero"},
		"lends more than it has": {
			one(Queue{Quotas: []Quota{{Class: gpu, Nominal: Device, LendMax: ptr(2 * Device)}}}), "spec.quotas[0].lendMax is 2: it must lie between 0 and the nominal 1",
		},
		"the same twice": {one(Queue{Quotas: []Quota{{Class: gpu}, {Class: gpu}}}), "spec.quotas[1] counts GPUs a second time"},
		"a name twice":   {[]Queue{{Name: "a"}, {Name: "a"}}, "queue a: spec.name is there twice"},
		"promises": {
			[]Queue{{Name: "a", Quotas: []Quota{{Class: gpu, Nominal: Device}}}, {Name: "b", Parent: "a", Quotas: []Quota{{Class: gpu, Nominal: 2 * Device}}}},
			"queue a: spec.quotas[0].nominal is 1 GPUs, and the queues below it are promised 2",
		},
		"narrow promises": {
			[]Queue{{Name: "a", Quotas: []Quota{{Class: gpu, Nominal: Device}}}, {Name: "b", Parent: "a", Quotas: []Quota{{Class: large, Nominal: 2 * Device}}}},
			"queue a: spec.quotas[0].nominal is 1 GPUs, and the queues below it are promised 2",
		},
	} {
		if _, err := New(tc.queues, stock(), Options{Products: []string{"B200"}}); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v; want %q", name, err, tc.says)
		}
	}
}

func TestBadWorkloads(t *testing.T) {
	s := open(t, append(lab(), Queue{Name: "office", Quotas: []Quota{{Class: cpus, Nominal: 4000}}}), Options{})
	put(t, s, gpus("there", "vision", 1, 1))
	change := func(f func(*Workload)) Workload { w := gpus("w", "vision", 1, 1); f(&w); return w }
	for name, tc := range map[string]struct {
		w    Workload
		says string
	}{
		"no such queue":     {gpus("w", "nobody", 1, 1), `spec.queue "nobody" is not a queue of this cloud: known are guests, office, speech, vision`},
		"not a leaf":        {gpus("w", "lab", 1, 1), `spec.queue "lab" has queues below it: name one of these: guests, speech, vision`},
		"twice":             {gpus("there", "vision", 1, 1), `"there" is there twice`},
		"no quota":          {gpus("w", "office", 1, 1), `spec.queue "office" has no quota for GPUs`},
		"no pods":           {change(func(w *Workload) { w.PodSets = nil }), "spec.workers is 0"},
		"minus one pod":     {gpus("w", "vision", -1, 1), "podSets[0].count is -1"},
		"no such kind":      {change(func(w *Workload) { w.PodSets[0].Ask.Kinds = []device.Kind{"abacus"} }), `"abacus", which nobody knows`},
		"no such device":    {change(func(w *Workload) { w.PodSets[0].Ask.MemoryMin = 200 * gib }), "spec.accelerators asks for GPUs with at least 200 GiB, which this cloud does not have"},
		"a year of memory":  {change(func(w *Workload) { w.PodSets[0].Memory = 1 << 62 }), "podSets[0].memory must not be"},
		"negative cores":    {change(func(w *Workload) { w.PodSets[0].CPU = -1 }), "podSets[0].cpu must not be below zero"},
		"too many per node": {gpus("w", "vision", 1, 5000), "must ask for 0 to 1024 devices"},
	} {
		if err := s.Add(tc.w); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v; want %q", name, err, tc.says)
		}
	}
	if s.Pending() != 1 {
		t.Errorf("%d wait, want the one that was good", s.Pending())
	}
}
