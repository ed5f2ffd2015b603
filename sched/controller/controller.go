package controller

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name.
const Name = "polder-queue"

const (
	// paceMin is the time between two decisions: what comes in between is decided
	// together.
	paceMin = 200 * time.Millisecond
	// lookEvery is how often it looks without a reason while something waits: patience
	// ends, and shares are forgotten.
	lookEvery = 15 * time.Second
	// assumeFor is how long what was written is believed against the cache.
	assumeFor = time.Minute
	// tellsMax is how many jobs are told in one look that they wait for another reason,
	// and tellEvery how often one job is told the same with other numbers. What is
	// admitted or ended is always written, and must not wait for words.
	tellsMax  = 100
	tellEvery = 30 * time.Second
)

// Controller runs the queues.
type Controller struct {
	log    *slog.Logger
	client client.Client
	clock  clock.PassiveClock

	last    time.Time
	pace    time.Duration
	told    map[types.UID]time.Time
	assumed map[types.UID]assumption
	past    map[string]past
}

// assumption is what was written of a job.
type assumption struct {
	queue *v1alpha1.JobQueue
	at    time.Time
}

// past is the share that a queue had.
type past struct {
	share float64
	at    time.Time
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, c client.Client, clk clock.PassiveClock) (*Controller, error) {
	if log == nil || c == nil || clk == nil {
		return nil, errors.New("queue controller: a dependency is missing")
	}
	return &Controller{log: log, client: c, clock: clk, told: map[types.UID]time.Time{}, assumed: map[types.UID]assumption{}, past: map[string]past{}}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller. Whatever changes, all queues are decided on
// together, so there is one thing to reconcile.
func (c *Controller) Register(m manager.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "queues"}}}
	})
	err := builder.ControllerManagedBy(m).Named(Name).
		Watches(&v1alpha1.Queue{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.TrainJob{}, all, builder.WithPredicates(jobChanged())).
		Watches(&v1alpha1.Runtime{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, all, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.Pod{}, all, builder.WithPredicates(podEnded())).
		Watches(&resourcev1.ResourceSlice{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&resourcev1.ResourceClaim{}, all, builder.WithPredicates(claimChanged())).
		Complete(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) { return c.Reconcile(ctx) }))
	if err != nil {
		return fmt.Errorf("registering the queue controller: %w", err)
	}
	return nil
}

// jobChanged passes over what jobs report of their progress, and over our own writes.
func jobChanged() predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.TrainJob)
		after, ok2 := e.ObjectNew.(*v1alpha1.TrainJob)
		return !ok || !ok2 || before.Generation != after.Generation || before.Status.State != after.Status.State ||
			(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) || before.Status.Restarts != after.Status.Restarts
	}}
}

// claimChanged lets through what gives devices out or back.
func claimChanged() predicate.Funcs {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*resourcev1.ResourceClaim)
			after, ok2 := e.ObjectNew.(*resourcev1.ResourceClaim)
			return !ok || !ok2 || (before.Status.Allocation == nil) != (after.Status.Allocation == nil)
		},
	}
}

// podEnded lets through what gives resources free: nothing else is read of pods.
func podEnded() predicate.Funcs {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*corev1.Pod)
			after, ok2 := e.ObjectNew.(*corev1.Pod)
			return !ok || !ok2 || over(before) != over(after)
		},
	}
}

// Reconcile decides on all queues, once.
func (c *Controller) Reconcile(ctx context.Context) (reconcile.Result, error) {
	now := c.clock.Now()
	if left := c.last.Add(max(paceMin, c.pace)).Sub(now); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	c.last = now
	w, err := c.read(ctx, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := decide(w)
	c.past = d.past
	c.pace = 3 * c.clock.Since(now) // so that it takes a third of a core at most
	again, err := c.write(ctx, w, d)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// write puts down what was decided: first what must end, then what may start, then
// why others wait.
func (c *Controller) write(ctx context.Context, w *world, d *decision) (again time.Duration, err error) {
	if d.pending > 0 {
		again = lookEvery
	}
	var errs []error
	tells := 0
	for _, urgent := range []func(*verdict) bool{
		func(v *verdict) bool { return v.turned && rank(v.queue) == rankPreempted },
		func(v *verdict) bool { return v.turned && rank(v.queue) != rankPreempted },
		func(v *verdict) bool { return !v.turned },
	} {
		for i := range d.verdicts {
			v := &d.verdicts[i]
			if !urgent(v) || apiequality.Semantic.DeepEqual(v.queue, v.job.Status.Queue) {
				continue
			}
			if !v.turned {
				if since := w.now.Sub(c.told[v.job.UID]); since < tellEvery && sameReason(v.queue, v.job.Status.Queue) {
					continue
				}
				if tells++; tells > tellsMax {
					again = paceMin
					break
				}
			}
			if err := c.tell(ctx, v, w.now); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) > 0 { // what could not be ended is not replaced
			return 0, errors.Join(errs...)
		}
	}
	for i := range w.queues {
		if err := c.report(ctx, &w.queues[i], d.status[w.queues[i].Name]); err != nil {
			errs = append(errs, err)
		}
	}
	return again, errors.Join(errs...)
}

// tell writes status.queue of one job.
func (c *Controller) tell(ctx context.Context, v *verdict, now time.Time) error {
	next := v.job.DeepCopy()
	next.Status.Queue = v.queue
	if err := c.client.Status().Patch(ctx, next, client.MergeFrom(v.job)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing what queue %s decided of train job %s/%s: %w", v.name(), v.job.Namespace, v.job.Name, err))
	}
	c.assumed[v.job.UID], c.told[v.job.UID] = assumption{v.queue, now}, now
	return nil
}

// sameReason reports whether two decisions differ in words alone.
func sameReason(a, b *v1alpha1.JobQueue) bool {
	return a != nil && b != nil && a.Name == b.Name && a.Reason == b.Reason
}

// pastEvery is how often the share that a queue had is written, if nothing else is.
const pastEvery = time.Minute

// report writes the status of one queue, if it says something new.
func (c *Controller) report(ctx context.Context, q *v1alpha1.Queue, s *v1alpha1.QueueStatus) error {
	if s == nil {
		return nil
	}
	was, is := q.Status.DeepCopy(), s.DeepCopy()
	old := was.PastTime == nil || is.PastTime == nil || is.PastTime.Sub(was.PastTime.Time) >= pastEvery
	if !old || was.Past == is.Past {
		was.Past, was.PastTime, is.Past, is.PastTime = "", nil, "", nil
	}
	if apiequality.Semantic.DeepEqual(was, is) {
		return nil
	}
	next := q.DeepCopy()
	next.Status = *s
	if err := c.client.Status().Patch(ctx, next, client.MergeFrom(q)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of queue %s: %w", q.Name, err))
	}
	return nil
}
