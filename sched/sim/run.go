package sim

import (
	"context"
	"fmt"
	"math/rand"
	"sync"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/trace"
)

// Trial is one run of a plan.
type Trial struct {
	Policy string
	Seed   int64
	// Departures has pods leave when the trace says, and wait for room.
	Departures bool
	// Placed is told of each pod that gets room, and of each that has none when it
	// arrives, with nil. A nil Placed is not called.
	Placed func(trace.Pod, *sched.Decision)
}

// Result is how a run went.
type Result struct {
	Buckets []Bucket // one for each percent
	Pods    int
	Refused int // for which there was no room, or, with departures, never was
	Waits   *Waits
	// Why tells of those without room, the most common requests first.
	Why []Why
}

// Run plays the plan once.
func Run(ctx context.Context, p Plan, t Trial) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	if t.Departures {
		if err := p.Timed(); err != nil {
			return Result{}, err
		}
	}
	draw := rand.New(rand.NewSource(t.Seed)) //nolint:gosec // chance that can be had again
	nodes, pods := p.deal(draw)
	b, err := sched.NewBoard(sched.Snapshot{Nodes: nodes}, sched.Config{Policy: t.Policy, Workload: p.Workload(), Draw: draw.Intn})
	if err != nil {
		return Result{}, err
	}
	m := &meter{board: b, size: capacity(nodes), placed: t.Placed}
	r := Result{Pods: len(pods)}
	if t.Departures {
		err = r.queue(ctx, m, pods)
	} else {
		err = r.arrivals(ctx, m, pods)
	}
	if err != nil {
		return Result{}, err
	}
	r.Buckets = m.buckets()
	return r, nil
}

// Each runs trials, so many at a time, and returns their results in the same order.
// done is called after each, one call at a time.
func Each(ctx context.Context, p Plan, trials []Trial, workers int, done func(Trial)) ([]Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]Result, len(trials))
	next := make(chan int)
	var all sync.WaitGroup
	var one sync.Mutex
	for range max(1, workers) {
		all.Go(func() {
			for i := range next {
				r, err := Run(ctx, p, trials[i])
				if err != nil {
					cancel(fmt.Errorf("policy %s, seed %d: %w", trials[i].Policy, trials[i].Seed, err))
					continue
				}
				one.Lock()
				results[i] = r
				done(trials[i])
				one.Unlock()
			}
		})
	}
	for i := range trials {
		next <- i
	}
	close(next)
	all.Wait()
	return results, context.Cause(ctx)
}
