package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

const (
	// runnerWorkers is how many end workloads at once, as in Kueue's runner.
	runnerWorkers = 5
	// loadCreators is how many create at once: the loads want more each second than a
	// small server can take.
	loadCreators = 16
)

// runner makes a load, has each workload end when it has been admitted for its runtime,
// and keeps the books.
type runner struct {
	client client.WithWatch
	load   load
	due    chan types.NamespacedName

	mu                      sync.Mutex
	jobs                    map[types.NamespacedName]*workload
	ended                   int
	admissions, preemptions int
	used                    int64 // processors of what is admitted
	busy                    float64
	since                   time.Time // that used is so many
}

// workload is what is known of one.
type workload struct {
	class            int
	created, started time.Time
	waited           time.Duration
	admitted, ended  bool
	turn             int // how often it was admitted
}

func newRunner(c client.WithWatch, l load) *runner {
	return &runner{client: c, load: l, due: make(chan types.NamespacedName, l.workloads()), jobs: map[types.NamespacedName]*workload{}}
}

// run runs the load and returns how long it took.
func (r *runner) run(ctx context.Context, note func(string, ...any)) (time.Duration, error) {
	began := time.Now()
	r.since = began
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel(nil)
	start := func(do func(context.Context) error) {
		group.Go(func() {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	start(r.watch)
	start(r.generate)
	for range runnerWorkers {
		start(r.end)
	}
	for t := time.NewTicker(10 * time.Second); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("%d of %d workloads have ended: %w", r.ended, r.load.workloads(), context.Cause(ctx))
		case <-t.C:
		case <-time.After(20 * time.Millisecond):
			if !r.over() {
				continue
			}
			t.Stop()
			return time.Since(began), nil
		}
		r.mu.Lock()
		note("%3.0f s: %d made, %d ended, %d admissions, %d of them in vain, %d processors in use",
			time.Since(began).Seconds(), len(r.jobs), r.ended, r.admissions, r.preemptions, r.used)
		r.mu.Unlock()
	}
}

func (r *runner) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended == r.load.workloads()
}

// use of the nominal quotas over a time.
func (r *runner) use(took time.Duration) float64 {
	return r.busy / took.Seconds() / float64(r.load.cohorts*r.load.queues*loadNominal)
}

// wait is the mean of a class.
func (r *runner) wait(class int) time.Duration {
	sum, n := time.Duration(0), 0
	for _, j := range r.jobs {
		if j.class == class {
			sum, n = sum+j.waited, n+1
		}
	}
	return sum / time.Duration(max(1, n))
}

// generate makes the queues, and in each the classes of workloads at their intervals.
func (r *runner) generate(ctx context.Context) error {
	l := &r.load
	if err := l.roots(ctx, r.client); err != nil {
		return err
	}
	places := make(chan struct{}, loadCreators)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	do := func(f func() error) bool {
		places <- struct{}{}
		err := f()
		<-places
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
		return err == nil
	}
	for c := range l.cohorts {
		for q := range l.queues {
			group.Go(func() {
				if !do(func() error { return l.queue(ctx, r.client, c, q) }) {
					return
				}
				for k := range l.classes {
					group.Go(func() {
						for n := range l.classes[k].count {
							if pause(ctx, l.classes[k].interval) != nil || !do(func() error { return r.client.Create(ctx, l.job(loadQueue(c, q), k, n)) }) {
								return
							}
						}
					})
				}
			})
		}
	}
	group.Wait()
	return errors.Join(errs...)
}

// watch sees what becomes of the workloads.
func (r *runner) watch(ctx context.Context) error {
	version := ""
	for ctx.Err() == nil {
		w, err := r.client.Watch(ctx, &v1alpha1.TrainJobList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
		if err != nil {
			return err
		}
		for e := range w.ResultChan() {
			j, ok := e.Object.(*v1alpha1.TrainJob)
			if !ok {
				return fmt.Errorf("watching the workloads: %s %v", e.Type, e.Object)
			}
			version = j.ResourceVersion
			if e.Type != watch.Deleted {
				r.see(ctx, j)
			}
		}
		w.Stop()
	}
	return nil
}

// see keeps the books of one workload.
func (r *runner) see(ctx context.Context, o *v1alpha1.TrainJob) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, key := time.Now(), client.ObjectKeyFromObject(o)
	j := r.jobs[key]
	if j == nil {
		j = &workload{created: now}
		for !strings.HasPrefix(o.Name, r.load.classes[j.class].name) {
			j.class++
		}
		r.jobs[key] = j
	}
	class := &r.load.classes[j.class]
	ended := o.Status.State.Done()
	admitted := !ended && o.Status.Queue != nil && o.Status.Queue.Admitted
	if j.admitted != admitted {
		r.busy += float64(r.used) * now.Sub(r.since).Seconds()
		r.since = now
		if admitted {
			r.used += class.cpus
		} else {
			r.used -= class.cpus
		}
	}
	switch {
	case admitted && !j.admitted:
		r.admissions++
		j.turn++
		j.started, j.waited = now, now.Sub(j.created)
		turn := j.turn
		time.AfterFunc(class.runtime, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if ctx.Err() == nil && j.admitted && j.turn == turn {
				r.due <- key // there is a place for each
			}
		})
	case j.admitted && !admitted && !ended:
		r.preemptions++
	}
	if ended && !j.ended {
		r.ended++
	}
	j.admitted, j.ended = admitted, ended
}

// end writes the end of those that are due, as the trainer would.
func (r *runner) end(ctx context.Context) error {
	for {
		var key types.NamespacedName
		select {
		case <-ctx.Done():
			return nil
		case key = <-r.due:
		}
		r.mu.Lock()
		class := r.load.classes[r.jobs[key].class]
		still := r.jobs[key].admitted && time.Since(r.jobs[key].started) >= class.runtime
		r.mu.Unlock()
		if !still {
			continue // it made room for others
		}
		j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		patch := fmt.Appendf(nil, `{"status":{"state":"Succeeded","completionTime":%q}}`, time.Now().UTC().Format(time.RFC3339))
		if err := r.client.Status().Patch(ctx, j, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return err
		}
	}
}
