package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"polder.dev/polder/device"
)

const gib = int64(1) << 30

var began = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return began.Add(d) }

// stock is a cloud of a few kinds of device.
func stock() []Flavor {
	return []Flavor{
		{Name: "A100-40", Kind: device.GPU, Product: "A100", Memory: 40 * gib, Capacity: 16 * Device, Software: "cuda"},
		{Name: "A100-80", Kind: device.GPU, Product: "A100 80GB", Memory: 80 * gib, Capacity: 16 * Device, Software: "cuda"},
		{Name: "H100", Kind: device.GPU, Product: "H100", Memory: 80 * gib, Speed: 3, Capacity: 16 * Device, Software: "cuda",
			Parts: []Part{{10 * gib, Device / 7}, {20 * gib, 2 * Device / 7}, {40 * gib, 4 * Device / 7}, {80 * gib, Device}}},
		{Name: "910B", Kind: device.NPU, Product: "Ascend 910B", Memory: 64 * gib, Capacity: -1, Software: "cann"},
		{Name: "cpu", Resource: CPU, Capacity: 1_000_000},
		{Name: "memory", Resource: Memory, Capacity: -1},
	}
}

var (
	gpu   = Class{Kind: device.GPU}
	large = Class{Kind: device.GPU, MemoryMin: 80 * gib}
	npu   = Class{Kind: device.NPU}
	cpus  = Class{Resource: CPU}
)

func ptr(n int64) *int64 { return &n }

// grown is a random forest.
func grown(r *rand.Rand) []Queue {
	var out []Queue
	var grow func(parent string, depth int, own map[Class]int64)
	grow = func(parent string, depth int, own map[Class]int64) {
		children := 1 + r.IntN(4)
		for i := range children {
			q := Queue{
				Name: fmt.Sprintf("%s%c", parent, 'a'+rune(i)), Parent: parent, Weight: float64(1 + r.IntN(3)),
				Preempt: Preempt{Within: Policy(r.IntN(3)), Reclaim: Policy(r.IntN(3)), Fair: Policy(r.IntN(3))},
			}
			mine := map[Class]int64{}
			for _, c := range []Class{gpu, large, npu, cpus} {
				have, some := own[c]
				if !some {
					continue
				}
				unit := Device
				if c == cpus {
					unit = 1000
				}
				l := Quota{Class: c, Nominal: r.Int64N(have/unit/int64(children)+1) * unit}
				if r.IntN(2) == 0 {
					l.BorrowMax = ptr(r.Int64N(8) * unit)
				}
				if r.IntN(3) == 0 {
					l.LendMax = ptr(r.Int64N(l.Nominal/unit+1) * unit)
				}
				q.Quotas = append(q.Quotas, l)
				mine[c] = l.Nominal
			}
			out = append(out, q)
			if depth < 3 && r.IntN(2) == 0 {
				grow(q.Name, depth+1, mine)
			}
		}
	}
	for i := range 1 + r.IntN(2) {
		root := Queue{Name: fmt.Sprintf("R%d", i), Preempt: Preempt{Within: LowerPriority, Reclaim: Any}}
		own := map[Class]int64{gpu: 30 * Device, npu: 10 * Device, cpus: 400_000}
		if r.IntN(2) == 0 {
			own[large] = 20 * Device
		}
		for _, c := range []Class{gpu, large, npu, cpus} {
			if n, ok := own[c]; ok {
				root.Quotas = append(root.Quotas, Quota{Class: c, Nominal: n})
			}
		}
		out = append(out, root)
		grow(root.Name, 1, own)
	}
	return out
}

// leavesOf are the queues that have none below them.
func leavesOf(queues []Queue) []string {
	var out []string
	for _, q := range queues {
		if !slices.ContainsFunc(queues, func(o Queue) bool { return o.Parent == q.Name }) {
			out = append(out, q.Name)
		}
	}
	return out
}

// drawn is a random workload.
func drawn(r *rand.Rand, id int, leaves []string, now time.Time) Workload {
	w := Workload{
		ID: fmt.Sprintf("w%d", id), Queue: leaves[r.IntN(len(leaves))], Priority: int32(r.IntN(3)) * 10,
		Created: now, Duration: time.Duration(1+r.IntN(300)) * time.Second, Keep: r.IntN(10) == 0,
	}
	for range 1 + r.IntN(2) {
		p := PodSet{Count: 1 + r.IntN(4), CPU: int64(r.IntN(4000)), Memory: int64(r.IntN(16)) * gib}
		switch r.IntN(6) {
		case 0:
		case 1:
			p.Ask = Ask{Count: 1 + r.IntN(2), Kinds: []device.Kind{device.NPU}}
		case 2:
			p.Ask = Ask{Count: 1, Kinds: []device.Kind{device.GPU}, MemoryMin: int64(1+r.IntN(60)) * gib, Share: true}
		default:
			p.Ask = Ask{Count: 1 + r.IntN(4), Kinds: []device.Kind{device.GPU, device.NPU}[:1+r.IntN(2)], MemoryMin: int64(r.IntN(3)) * 40 * gib}
		}
		if r.IntN(2) == 0 {
			p.Ask.Speeds = map[string]float64{"cuda": 1 + 9*r.Float64(), "cann": 1 + 9*r.Float64()}
		}
		w.PodSets = append(w.PodSets, p)
	}
	return w
}

// ledger is the books of a test: what runs, with which flavours.
type ledger struct {
	queues  []Queue
	flavors []Flavor
	running map[string]held
}

type held struct {
	work  Workload
	names []string
}

// amounts are what a workload has of each flavour, worked out once more.
func (l *ledger) amounts(h held) map[string]int64 {
	out := map[string]int64{}
	next := 0
	for _, p := range h.work.PodSets {
		out["cpu"] += int64(p.Count) * p.CPU
		out["memory"] += int64(p.Count) * p.Memory
		if p.Ask.Count == 0 {
			continue
		}
		i := slices.IndexFunc(l.flavors, func(f Flavor) bool { return f.Name == h.names[next] })
		next++
		f := l.flavors[i]
		each := Device
		if p.Ask.Share && p.Ask.MemoryMin > 0 {
			each = (Device*p.Ask.MemoryMin + f.Memory - 1) / f.Memory
			for _, part := range slices.Backward(f.Parts) {
				if part.Memory >= p.Ask.MemoryMin {
					each = part.Takes
				}
			}
		}
		out[f.Name] += int64(p.Count*p.Ask.Count) * each
	}
	return out
}

// broken says which limit is exceeded, or "". It knows lines by what the package's
// page says of them and by nothing else.
func (l *ledger) broken() string {
	given := map[string]int64{}
	used := map[string]map[Class]int64{} // of leaves
	for _, h := range l.running {
		for name, n := range l.amounts(h) {
			given[name] += n
			i := slices.IndexFunc(l.flavors, func(f Flavor) bool { return f.Name == name })
			for _, c := range []Class{gpu, large, npu, cpus} {
				if used[h.work.Queue] == nil {
					used[h.work.Queue] = map[Class]int64{}
				}
				if c.counts(&l.flavors[i]) {
					used[h.work.Queue][c] += n
				}
			}
		}
	}
	for _, f := range l.flavors {
		if f.Capacity >= 0 && given[f.Name] > f.Capacity {
			return fmt.Sprintf("%d of %d %s are given out", given[f.Name], f.Capacity, f.Name)
		}
	}
	bad := ""
	var taken func(q *Queue, c Class) int64
	taken = func(q *Queue, c Class) int64 {
		n := used[q.Name][c]
		for i := range l.queues {
			if l.queues[i].Parent == q.Name {
				n += taken(&l.queues[i], c)
			}
		}
		for _, line := range q.Quotas {
			if line.Class != c {
				continue
			}
			most := line.Nominal
			if q.Parent != "" && line.BorrowMax != nil {
				most += *line.BorrowMax
			} else if q.Parent != "" {
				most = n
			}
			if n > most {
				bad = fmt.Sprintf("queue %s takes %d %s of at most %d", q.Name, n, c, most)
			}
			if line.LendMax != nil {
				n = max(n, line.Nominal-*line.LendMax)
			}
		}
		return n
	}
	for i := range l.queues {
		if l.queues[i].Parent == "" {
			for _, c := range []Class{gpu, large, npu, cpus} {
				taken(&l.queues[i], c)
			}
		}
	}
	return bad
}
