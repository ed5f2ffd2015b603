package sim

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/trace"
)

// Waits is how long pods waited for room, in seconds, of those that got it.
type Waits struct {
	// Use is what was in use, on average over time until the last arrival, in percent
	// of the cluster's devices.
	Use  float64 `json:"-"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
}

// Timed says what the plan lacks for departures.
func (p *Plan) Timed() error {
	for i := range p.Pods {
		if !p.Pods[i].Timed {
			return fmt.Errorf("pod %s has no times, so nobody knows when it leaves; use a table with creation_time and deletion_time, or leave departures out", p.Pods[i].Name)
		}
	}
	return nil
}

// running is a pod and when it leaves.
type running struct {
	ends     int64
	order    int
	request  sched.Request
	decision sched.Decision
}

type ending []running

func (e ending) Len() int { return len(e) }
func (e ending) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(e[i].ends, e[j].ends), e[i].order-e[j].order) < 0
}
func (e ending) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *ending) Push(x any)   { *e = append(*e, x.(running)) }
func (e *ending) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// day is a run with departures: who runs, who waits in the order of arrival, and how
// long those waited that wait no more.
type day struct {
	meter   *meter
	ends    ending
	waiting []*trace.Pod
	waits   []int64
	started int
	now     int64
	used    float64 // thousandths of devices times seconds
}

// pass lets time go by.
func (d *day) pass(now int64) {
	d.used += float64(d.meter.size-d.meter.board.Idle()) * float64(now-d.now)
	d.now = now
}

// queue plays pods that come and go. They run as long as they did in the trace, from
// when they get room. Who waits is asked again, first come first, whenever somebody
// leaves, and those behind do not wait for who is ahead.
func (r *Result) queue(ctx context.Context, m *meter, pods []trace.Pod) error {
	slices.SortStableFunc(pods, func(a, b trace.Pod) int { return cmp.Compare(a.Created, b.Created) })
	d := day{meter: m, now: pods[0].Created}
	for i := range pods {
		if i%pause == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.until(ctx, pods[i].Created); err != nil {
			return err
		}
		d.pass(pods[i].Created)
		if ok, err := d.start(&pods[i], pods[i].Created); err != nil {
			return err
		} else if !ok {
			d.waiting = append(d.waiting, &pods[i])
		}
		m.arrived(pods[i].Request.Milli())
	}
	use, span := d.used*100/float64(m.size), float64(max(1, d.now-pods[0].Created))
	if err := d.until(ctx, 1<<62); err != nil {
		return err
	}
	r.Refused = len(d.waiting)
	none := unmet{}
	for _, p := range d.waiting {
		none.add(p.Request)
	}
	r.Why = none.tell(m.board)
	r.Waits = waitsOf(d.waits)
	r.Waits.Use = use / span
	return nil
}

// until lets leave who leaves by then, and start who waits.
func (d *day) until(ctx context.Context, then int64) error {
	for len(d.ends) > 0 && d.ends[0].ends <= then {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now := d.ends[0].ends
		d.pass(now)
		for len(d.ends) > 0 && d.ends[0].ends == now {
			x := heap.Pop(&d.ends).(running)
			if err := d.meter.board.Release(x.request, x.decision); err != nil {
				return err
			}
		}
		if err := d.retry(now); err != nil {
			return err
		}
	}
	return nil
}

// retry asks for everybody who waits. Requests of which one alike has just found no
// room are not asked again: those placed since took room and made none.
func (d *day) retry(now int64) error {
	full := map[string]bool{}
	left := d.waiting[:0]
	for _, p := range d.waiting {
		key := p.Request.Shape()
		if full[key] {
			left = append(left, p)
			continue
		}
		ok, err := d.start(p, now)
		if err != nil {
			return err
		}
		if !ok {
			full[key] = true
			left = append(left, p)
		}
	}
	d.waiting = left
	return nil
}

func (d *day) start(p *trace.Pod, now int64) (bool, error) {
	at, err := d.meter.place(p)
	if err != nil || at == nil {
		return false, err
	}
	d.started++
	heap.Push(&d.ends, running{now + p.Deleted - p.Created, d.started, p.Request, *at})
	d.waits = append(d.waits, now-p.Created)
	return true, nil
}

func waitsOf(all []int64) *Waits {
	if len(all) == 0 {
		return &Waits{}
	}
	slices.Sort(all)
	sum := 0.0
	for _, w := range all {
		sum += float64(w)
	}
	at := func(percent int) float64 { return float64(all[(len(all)-1)*percent/100]) }
	return &Waits{Mean: sum / float64(len(all)), P50: at(50), P90: at(90), P99: at(99)}
}

func (w *Waits) plus(o *Waits) *Waits {
	if o == nil {
		o = &Waits{}
	}
	return &Waits{w.Use + o.Use, w.Mean + o.Mean, w.P50 + o.P50, w.P90 + o.P90, w.P99 + o.P99}
}

func (w *Waits) over(n float64) *Waits {
	return &Waits{w.Use / n, w.Mean / n, w.P50 / n, w.P90 / n, w.P99 / n}
}
