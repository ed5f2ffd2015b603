package controller

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

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
	paceMin = 100 * time.Millisecond
	// lookEvery is how often it looks without a reason while something waits: patience
	// ends, and shares are forgotten.
	lookEvery = 15 * time.Second
	// assumeFor is how long what was written is believed against the cache.
	assumeFor = time.Minute
)

// Controller runs the queues.
type Controller struct {
	log    *slog.Logger
	client client.Client
	held   client.Reader
	judge  Judge
	events events.EventRecorder
	clock  clock.PassiveClock

	last     time.Time
	pace     time.Duration
	quiet    time.Time               // no words are written until then, if there is something else
	told     map[types.UID]time.Time // that it waits, and why
	turn     string                  // id of the item that was asked last whether it must be told
	reported map[string]time.Time    // queues' status
	assumed  map[types.UID]assumption
	ended    map[types.UID]time.Time // when it last had to make room
	past     map[string]past
	sorted   *surveyor // the devices of the slices and rules in seen, by their versions
	seen     map[types.UID]string
	meters   *meters
}

// Deps are what a Controller works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client client.Client
	// Held reads the Jobs and pods that bear the label of a queue.
	Held client.Reader
	// Judge says which devices the claims of these ask for.
	Judge Judge
	// Events records events of these.
	Events events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// Metrics is where the queues' metrics are registered.
	Metrics prometheus.Registerer
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
func New(log *slog.Logger, deps Deps) (*Controller, error) {
	if log == nil || deps.Client == nil || deps.Held == nil || deps.Judge == nil || deps.Events == nil || deps.Clock == nil || deps.Metrics == nil {
		return nil, errors.New("queue controller: a dependency is missing")
	}
	m, err := newMeters(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Controller{
		log: log, client: deps.Client, held: deps.Held, judge: deps.Judge, events: deps.Events, clock: deps.Clock, meters: m,
		told: map[types.UID]time.Time{}, reported: map[string]time.Time{}, assumed: map[types.UID]assumption{},
		ended: map[types.UID]time.Time{}, past: map[string]past{},
	}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// HeldOptions are those of the cache that Held is: of Jobs and pods it has only those
// with the label of a queue. The manager's own cache cannot hold them, since it has those
// with another label.
func HeldOptions() map[client.Object]cache.ByObject {
	req, err := labels.NewRequirement(v1alpha1.LabelQueue, selection.Exists, nil)
	if err != nil {
		panic("queue controller: the label of queues is no label: " + err.Error())
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*req)}
	return map[client.Object]cache.ByObject{&corev1.Pod{}: ours, &batchv1.Job{}: ours}
}

// Register has m run the controller, and held, the cache that Deps.Held is. Whatever
// changes, all queues are decided on together, so there is one thing to reconcile.
func (c *Controller) Register(ctx context.Context, m manager.Manager, held cache.Cache) error {
	if err := m.GetFieldIndexer().IndexField(ctx, &v1alpha1.TrainJob{}, Unfinished, unfinished); err != nil {
		return fmt.Errorf("registering the queue controller: %w", err)
	}
	if err := m.GetFieldIndexer().IndexField(ctx, &v1alpha1.TrainJob{}, Measured, measured); err != nil {
		return fmt.Errorf("registering the queue controller: %w", err)
	}
	if err := m.Add(held); err != nil {
		return fmt.Errorf("registering the queue controller: %w", err)
	}
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
		Watches(&resourcev1.ResourceClaimTemplate{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&resourcev1.DeviceClass{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Kind(held, client.Object(&batchv1.Job{}), all, heldChanged())).
		WatchesRawSource(source.Kind(held, client.Object(&corev1.Pod{}), all, heldChanged())).
		Complete(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) { return c.Reconcile(ctx) }))
	if err != nil {
		return fmt.Errorf("registering the queue controller: %w", err)
	}
	return nil
}

// heldChanged passes over our own annotations.
func heldChanged() predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		switch before := e.ObjectOld.(type) {
		case *batchv1.Job:
			after, ok := e.ObjectNew.(*batchv1.Job)
			return !ok || before.Generation != after.Generation || !maps.Equal(before.Labels, after.Labels) || !apiequality.Semantic.DeepEqual(before.Status, after.Status) ||
				(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil)
		case *corev1.Pod:
			after, ok := e.ObjectNew.(*corev1.Pod)
			return !ok || over(before) != over(after) || !maps.Equal(before.Labels, after.Labels) || len(before.Spec.SchedulingGates) != len(after.Spec.SchedulingGates) ||
				(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil)
		}
		return true
	}}
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
	took := c.clock.Since(now)
	c.meters.decision.Observe(took.Seconds())
	c.meters.set(d.status)
	c.pace = 2 * took // so that it takes half a core at most
	again, err := c.write(ctx, w, d)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}
