package sim

import (
	"context"
	"math"
	"math/rand"

	"polder.dev/polder/sched"
)

// Bucket is the mean, over all arrivals at which so much had arrived, of how the
// cluster was.
type Bucket struct {
	// Arrived is what was asked for so far, in percent of the cluster's devices.
	Arrived int
	// Allocation and Fragmentation are what is in use, and what is idle and of no use
	// for the next request, in percent of the cluster's devices.
	Allocation    float64
	Fragmentation float64
}

// Result is how a run went.
type Result struct {
	Buckets []Bucket // by Arrived
	Pods    int
	Refused int    // arrivals for which there was no room
	Waits   *Waits `json:",omitempty"`
}

// Arrivals plays the plan without departures.
func Arrivals(ctx context.Context, p Plan, policy string, seed int64) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	draw := rand.New(rand.NewSource(seed)) //nolint:gosec // chance to be repeated
	nodes, pods := p.deal(draw)
	b, err := sched.NewBoard(sched.Snapshot{Nodes: nodes}, sched.Config{Policy: policy, Workload: p.Workload(), Draw: draw.Intn})
	if err != nil {
		return Result{}, err
	}
	r := Result{Pods: len(pods)}
	m := newMeter(b, capacity(nodes))
	for i := range pods {
		if i%256 == 0 && ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		d, err := b.Choose(pods[i].Request)
		if err != nil {
			return Result{}, err
		}
		if d == nil {
			r.Refused++
		} else if err := b.Place(pods[i].Request, *d); err != nil {
			return Result{}, err
		}
		m.arrived(pods[i].Request.Milli())
	}
	r.Buckets = m.buckets()
	return r, nil
}

// meter looks at a board after every arrival.
type meter struct {
	board *sched.Board
	size  int64
	sum   int64 // arrived
	at    []Bucket
	count []int
}

func newMeter(b *sched.Board, size int64) *meter { return &meter{board: b, size: size} }

func (m *meter) arrived(milli int64) {
	m.sum += milli
	percent := int(math.RoundToEven(float64(m.sum) * 100 / float64(m.size)))
	for len(m.at) <= percent {
		m.at, m.count = append(m.at, Bucket{Arrived: len(m.at)}), append(m.count, 0)
	}
	m.at[percent].Allocation += float64(m.size-m.board.Idle()) * 100 / float64(m.size)
	m.at[percent].Fragmentation += m.board.Fragmentation() * 100 / float64(m.size)
	m.count[percent]++
}

func (m *meter) buckets() []Bucket {
	var out []Bucket
	for i, b := range m.at {
		if n := float64(m.count[i]); n > 0 {
			b.Allocation, b.Fragmentation = b.Allocation/n, b.Fragmentation/n
			out = append(out, b)
		}
	}
	return out
}
