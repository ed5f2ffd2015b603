package transfer

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Action is what a job does.
type Action string

// The actions. A Left job does nothing: its Note says why.
const (
	Upload    Action = "upload"
	Download  Action = "download"
	Copy      Action = "copy"
	Remove    Action = "remove"
	Directory Action = "directory"
	Left      Action = "left"
)

// Job is one object, or one file, of a plan.
type Job struct {
	Action Action
	// From and To are addresses for people; To is empty where nothing is written.
	From, To string
	Size     int64
	// Note says more: why a job is Left.
	Note string

	err  error // the plan refuses it
	same func(context.Context) (bool, error)
	run  func(context.Context, *Meter) error
	gone *doomed // removed together with others of bucket
	in   string
}

// Result is how a job ended.
type Result struct {
	Job
	Err error
	// Same says that nothing had to be done.
	Same bool
}

// Plan is a stream of jobs; Close it.
type Plan struct {
	jobs  iter.Seq[Job]
	trees []*tree
}

// Close releases what the plan holds.
func (p *Plan) Close() {
	for _, t := range p.trees {
		_ = t.root.Close()
	}
}

// runner is a Run that is going on.
type runner struct {
	c   *Client
	m   *Meter
	dry bool

	mu     sync.Mutex
	report func(Result)
	jobs   chan []Job // one, or many to remove together
}

// Run does the jobs of p, many at once, and reports each when it ends, one after the
// other. A job that fails is counted in m, and the others go on; an error is returned
// only where ctx ended it all. With dry, it only tells what it would do.
func (c *Client) Run(ctx context.Context, p *Plan, dry bool, m *Meter, report func(Result)) error {
	r := &runner{c: c, m: m, dry: dry, report: report, jobs: make(chan []Job)}
	g, gctx := errgroup.WithContext(ctx)
	for range c.cfg.Parallel {
		g.Go(func() error {
			for batch := range r.jobs {
				r.do(gctx, batch)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(r.jobs)
		defer m.Planned.Store(true)
		return r.feed(gctx, p.jobs)
	})
	err := g.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return nil
}

// feed hands jobs out; removals of one bucket wait until there are enough of them.
func (r *runner) feed(ctx context.Context, jobs iter.Seq[Job]) error {
	var batch []Job
	hand := func(b []Job) bool {
		select {
		case r.jobs <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for j := range jobs {
		if ctx.Err() != nil {
			break
		}
		r.m.ObjectsAll.Add(1)
		r.m.BytesAll.Add(j.Size)
		if j.gone == nil || j.err != nil || r.dry {
			if !hand([]Job{j}) {
				break
			}
			continue
		}
		if len(batch) == removeMax || len(batch) > 0 && batch[0].in != j.in {
			if !hand(batch) {
				break
			}
			batch = nil
		}
		batch = append(batch, j)
	}
	if len(batch) > 0 {
		hand(batch)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (r *runner) do(ctx context.Context, batch []Job) {
	if batch[0].gone != nil && batch[0].err == nil && !r.dry {
		r.remove(ctx, batch)
		return
	}
	for _, j := range batch {
		same, err := r.one(ctx, j)
		r.end(ctx, Result{j, err, same})
	}
}

func (r *runner) one(ctx context.Context, j Job) (same bool, err error) {
	if j.err != nil {
		return false, j.err
	}
	if j.same != nil {
		if same, err = j.same(ctx); same || err != nil {
			return same, err
		}
	}
	if r.dry || j.run == nil {
		return false, nil
	}
	return false, j.run(ctx, r.m)
}

func (r *runner) remove(ctx context.Context, batch []Job) {
	all := make([]doomed, len(batch))
	for i, j := range batch {
		all[i] = *j.gone
	}
	failed, err := r.c.removeSome(ctx, batch[0].in, all)
	for i, j := range batch {
		e := err
		if e == nil {
			e = failed[i]
		}
		r.end(ctx, Result{Job: j, Err: e})
	}
}

func (r *runner) end(ctx context.Context, res Result) {
	if res.Err != nil && ctx.Err() != nil {
		return // it was ended with all others
	}
	switch {
	case res.Err != nil:
		r.m.Failed.Add(1)
	case res.Same:
		r.m.Skipped.Add(1)
		r.m.BytesAll.Add(-res.Size)
	case res.Action == Left:
		r.m.ObjectsAll.Add(-1)
		r.m.BytesAll.Add(-res.Size)
	default:
		r.m.Objects.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(res)
}
