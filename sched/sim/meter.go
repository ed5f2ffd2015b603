package sim

import (
	"math"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/trace"
)

// Bucket is how the cluster was, on average over all arrivals up to which so much had
// been asked for.
type Bucket struct {
	// Arrived is what was asked for so far, in percent of the cluster's devices.
	Arrived int
	// Allocation is what is in use, and Fragmentation what is idle and of no use to
	// the next request, in percent of the cluster's devices.
	Allocation    float64
	Fragmentation float64
}

// meter looks at a board after every arrival.
type meter struct {
	board  *sched.Board
	size   int64
	placed func(trace.Pod, *sched.Decision)

	sum   int64 // arrived
	at    []Bucket
	count []int
	last  Bucket
}

// place finds room for a pod; nil says there is none.
func (m *meter) place(p *trace.Pod) (*sched.Decision, error) {
	d, err := m.board.Choose(p.Request)
	if err == nil && d != nil {
		err = m.board.Place(p.Request, *d)
	}
	if err == nil && m.placed != nil {
		m.placed(*p, d)
	}
	return d, err
}

// arrivedMax is the percent up to which buckets are kept.
const arrivedMax = 100_000

func (m *meter) arrived(milli int64) {
	m.sum += milli
	percent := min(int(math.RoundToEven(float64(m.sum)*100/float64(m.size))), arrivedMax)
	for len(m.at) <= percent {
		// What no arrival fell into is as the arrival before left it.
		b := m.last
		b.Arrived = len(m.at)
		m.at, m.count = append(m.at, b), append(m.count, 0)
	}
	m.last = Bucket{
		Allocation:    float64(m.size-m.board.Idle()) * 100 / float64(m.size),
		Fragmentation: m.board.Fragmentation() * 100 / float64(m.size),
	}
	b := &m.at[percent]
	if m.count[percent] == 0 {
		b.Allocation, b.Fragmentation = 0, 0
	}
	b.Allocation += m.last.Allocation
	b.Fragmentation += m.last.Fragmentation
	m.count[percent]++
}

func (m *meter) buckets() []Bucket {
	for i := range m.at {
		if n := float64(m.count[i]); n > 0 {
			m.at[i].Allocation /= n
			m.at[i].Fragmentation /= n
		}
	}
	return m.at
}

// Mean is the average of runs of one plan: of each bucket, over the runs that came so
// far, and of everything else over all of them. Reasons have no average: they are those
// of the first run.
func Mean(results []Result) Result {
	var out Result
	var count []int
	for _, r := range results {
		for i, b := range r.Buckets {
			if i == len(out.Buckets) {
				out.Buckets, count = append(out.Buckets, Bucket{Arrived: b.Arrived}), append(count, 0)
			}
			out.Buckets[i].Allocation += b.Allocation
			out.Buckets[i].Fragmentation += b.Fragmentation
			count[i]++
		}
		out.Pods += r.Pods
		out.Refused += r.Refused
		if r.Waits != nil {
			out.Waits = r.Waits.plus(out.Waits)
		}
	}
	n := len(results)
	if n > 0 {
		out.Why = results[0].Why
	}
	for i := range out.Buckets {
		out.Buckets[i].Allocation /= float64(count[i])
		out.Buckets[i].Fragmentation /= float64(count[i])
	}
	if n > 0 {
		out.Pods, out.Refused = out.Pods/n, out.Refused/n
	}
	if out.Waits != nil {
		out.Waits = out.Waits.over(float64(n))
	}
	return out
}

// At is the bucket of so much percent, if the run came so far.
func (r *Result) At(percent int) (Bucket, bool) {
	if percent < 0 || percent >= len(r.Buckets) {
		return Bucket{}, false
	}
	return r.Buckets[percent], true
}
