package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
)

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-serve"

// Deps are what a Reconciler works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client client.Client
	// Replicas reads ReplicaSets and pods of services, from a cache with ReplicaOptions.
	Replicas client.Reader
	// Mounter makes models' files mountable.
	Mounter Mounter
	// Live reads the API server itself.
	Live client.Reader
	// Events records events.
	Events events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// Gauges is where the services' gauges are registered.
	Gauges prometheus.Registerer
}

// Mounter makes the files of a model's artifact mountable in pods.
type Mounter interface {
	// Volume returns an image with the files of the model at reference, made if it is not
	// there yet.
	Volume(ctx context.Context, reference string) (image string, err error)
}

// Config of a Reconciler. A zero field means its default.
type Config struct {
	// Concurrency is how many services are looked at at once; 4.
	Concurrency int
	// Wait is the time between looks at a service that lacks something; 5 s.
	Wait time.Duration
	// Drain is how long a revision that leaves is kept at least, so that everybody hears
	// that it gets no requests any more; 5 s.
	Drain time.Duration
	// Patience is how long a revision waits for the rest of its replicas once one of them
	// is ready; 1 min.
	Patience time.Duration
	// Sandbox is the RuntimeClass that admission gives to the pods of a namespace that
	// has no label of its own for it; "" if the cluster gives none.
	Sandbox string
	// Gateway is the URL that clients reach the gateway by; "" if there is none.
	Gateway string
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	fill := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.Concurrency == 0 {
		c.Concurrency = 4
	}
	fill(&c.Wait, 5*time.Second)
	fill(&c.Drain, 5*time.Second)
	fill(&c.Patience, time.Minute)
	return c
}

// Reconciler is the controller of InferenceServices.
type Reconciler struct {
	log      *slog.Logger
	client   client.Client
	replicas client.Reader
	mounter  Mounter
	live     client.Reader
	events   events.EventRecorder
	clock    clock.PassiveClock
	gauges   *gauges
	cfg      Config
}

// New returns a Reconciler. It starts nothing; Register hands it to a manager.
func New(log *slog.Logger, deps Deps, cfg Config) (*Reconciler, error) {
	if log == nil || deps.Client == nil || deps.Replicas == nil || deps.Mounter == nil || deps.Live == nil || deps.Events == nil || deps.Clock == nil || deps.Gauges == nil {
		return nil, errors.New("serve controller: a dependency is missing")
	}
	cfg = cfg.withDefaults()
	if min(cfg.Wait, cfg.Drain, cfg.Patience) < 0 || cfg.Concurrency < 0 {
		return nil, fmt.Errorf("serve controller: durations must be positive: %+v", cfg)
	}
	g, err := newGauges(deps.Gauges)
	if err != nil {
		return nil, err
	}
	return &Reconciler{
		log: log, client: deps.Client, replicas: deps.Replicas, mounter: deps.Mounter, live: deps.Live, events: deps.Events,
		clock: deps.Clock, gauges: g, cfg: cfg,
	}, nil
}

// Name of the controller.
func (r *Reconciler) Name() string { return Name }

// ReplicaOptions are those of the cache that Deps.Replicas is: of ReplicaSets and pods it
// has only those of services. The manager's own cache has those with another label.
func ReplicaOptions() map[client.Object]cache.ByObject {
	req, err := labels.NewRequirement(v1alpha1.LabelService, selection.Exists, nil)
	if err != nil {
		panic("serve: the label of services is no label: " + err.Error())
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*req)}
	return map[client.Object]cache.ByObject{&corev1.Pod{}: ours, &appsv1.ReplicaSet{}: ours}
}

// Register has m run the controller, and replicas, the cache that Deps.Replicas is.
func (r *Reconciler) Register(m manager.Manager, replicas cache.Cache) error {
	if err := m.Add(replicas); err != nil {
		return fmt.Errorf("registering the serve controller: %w", err)
	}
	ofReplica := handler.EnqueueRequestsFromMapFunc(serviceOf)
	err := builder.ControllerManagedBy(m).
		Named(Name).
		For(&v1alpha1.InferenceService{}).
		Watches(&v1alpha1.Model{}, handler.EnqueueRequestsFromMapFunc(r.servicesOfModel)).
		Watches(&v1alpha1.Runtime{}, handler.EnqueueRequestsFromMapFunc(r.servicesOfRuntime), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Kind(replicas, client.Object(&appsv1.ReplicaSet{}), ofReplica)).
		WatchesRawSource(source.Kind(replicas, client.Object(&corev1.Pod{}), ofReplica)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.cfg.Concurrency}).
		Complete(reconcile.Func(r.reconcile))
	if err != nil {
		return fmt.Errorf("registering the serve controller: %w", err)
	}
	return nil
}

// serviceOf maps a replica or a ReplicaSet to its service.
func serviceOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.LabelService]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// servicesOfModel maps a Model to the services that follow it.
func (r *Reconciler) servicesOfModel(ctx context.Context, o client.Object) []reconcile.Request {
	return r.services(ctx, func(svc *v1alpha1.InferenceService) bool { return slices.Contains(modelsOf(svc), o.GetName()) }, client.InNamespace(o.GetNamespace()))
}

// servicesOfRuntime maps a Runtime to the services that run on it.
func (r *Reconciler) servicesOfRuntime(ctx context.Context, o client.Object) []reconcile.Request {
	return r.services(ctx, func(svc *v1alpha1.InferenceService) bool { return svc.Spec.Runtime == o.GetName() })
}

// services are those that fit.
func (r *Reconciler) services(ctx context.Context, fits func(*v1alpha1.InferenceService) bool, opts ...client.ListOption) []reconcile.Request {
	var all v1alpha1.InferenceServiceList
	if err := r.client.List(ctx, &all, opts...); err != nil {
		r.log.WarnContext(ctx, "listing inference services", logs.Err, err)
		return nil
	}
	var reqs []reconcile.Request
	for i := range all.Items {
		if fits(&all.Items[i]) {
			reqs = append(reqs, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return reqs
}

// reconcile forgets services that are gone and looks at the others.
func (r *Reconciler) reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var svc v1alpha1.InferenceService
	err := r.client.Get(ctx, req.NamespacedName, &svc)
	if apierrors.IsNotFound(err) {
		r.gauges.drop(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading inference service %s: %w", req, err)
	}
	return r.Reconcile(ctx, &svc)
}

// Reconcile looks at one service: it reads the world, decides, writes the status and
// acts. It is an ObjectReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, svc *v1alpha1.InferenceService) (reconcile.Result, error) {
	if svc.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // the garbage collector takes what it owned
	}
	w, err := r.read(ctx, svc)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(w, &r.cfg)
	if err := r.record(ctx, svc, p); err != nil {
		if apierrors.IsConflict(err) { // decided on a status that is no longer there
			return reconcile.Result{RequeueAfter: soon}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.gauges.set(client.ObjectKeyFromObject(svc), &p.status)
	if err := r.act(ctx, w, p); err != nil {
		return r.refused(ctx, w, err)
	}
	return reconcile.Result{RequeueAfter: p.again}, nil
}

// record writes the status, if it changed, and tells of the change.
func (r *Reconciler) record(ctx context.Context, svc *v1alpha1.InferenceService, p *plan) error {
	old := svc.DeepCopy()
	if apiequality.Semantic.DeepEqual(old.Status, p.status) {
		return nil
	}
	next := svc.DeepCopy()
	next.Status = p.status
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("writing the status of inference service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	for _, e := range transitions(&old.Status, &p.status) {
		r.events.Eventf(svc, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// refused records that a revision's objects cannot be made as they are asked for; any
// other error is tried again.
func (r *Reconciler) refused(ctx context.Context, w *world, err error) (reconcile.Result, error) {
	var no *refusal
	switch {
	case errors.As(err, &no):
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err):
		no = &refusal{ReasonRefused, "the cluster refuses what the spec asks for: " + clip(err.Error(), lastBytesMax)}
	default:
		return reconcile.Result{}, err
	}
	var svc v1alpha1.InferenceService
	if e := r.live.Get(ctx, client.ObjectKeyFromObject(w.svc), &svc); e != nil {
		return reconcile.Result{}, errors.Join(err, e)
	}
	p := &plan{status: *svc.Status.DeepCopy()}
	p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, no.reason, no.message)
	if e := r.record(ctx, &svc, p); e != nil {
		return reconcile.Result{}, errors.Join(err, e)
	}
	return reconcile.Result{RequeueAfter: r.cfg.Wait}, nil
}
