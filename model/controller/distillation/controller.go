package distillation

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-distil"

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Mounter makes the files of an artifact mountable in pods.
type Mounter interface {
	// Volume returns an image with the files of the model at reference, made if it is not
	// there yet.
	Volume(ctx context.Context, reference string) (image string, err error)
}

// Registrar gives an artifact another name.
type Registrar interface {
	// Register copies the artifact at reference, with what refers to it, to repository and
	// returns its reference there, by the same digest. Doing it twice is doing it once.
	Register(ctx context.Context, reference, repository string) (string, error)
}

// Deps are what a Reconciler works with. All are needed.
type Deps struct {
	Client    client.Client
	Live      client.Reader // reads the API server itself
	Events    events.EventRecorder
	Mounter   Mounter
	Registrar Registrar
	Clock     clock.PassiveClock
	Metrics   prometheus.Registerer
}

// Config of a Reconciler.
type Config struct {
	// Code is the image of the recipes, by digest, and Recipes the digest of the programs.
	Code, Recipes string
}

// concurrency is how many distillations are looked at at once: making a large model's
// files mountable takes a while.
const concurrency = 4

// Times between looks: at what runs, whose progress is told, and at what waits.
const (
	lookRunning = 2 * time.Second
	lookWaiting = 5 * time.Second
)

// Reconciler is the controller of Distillations.
type Reconciler struct {
	log    *slog.Logger
	deps   Deps
	cfg    Config
	gauges *gauges
}

// New returns a Reconciler. It starts nothing; Register hands it to a manager.
func New(log *slog.Logger, deps Deps, cfg Config) (*Reconciler, error) {
	if log == nil || deps.Client == nil || deps.Live == nil || deps.Events == nil || deps.Mounter == nil || deps.Registrar == nil ||
		deps.Clock == nil || deps.Metrics == nil {
		return nil, errors.New("distillation controller: a dependency is missing")
	}
	if cfg.Code == "" || cfg.Recipes == "" {
		return nil, errors.New("distillation controller: the image of the recipes is missing")
	}
	g, err := newGauges(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Reconciler{log: log, deps: deps, cfg: cfg, gauges: g}, nil
}

// Name of the controller.
func (r *Reconciler) Name() string { return Name }

// Register has m run the controller.
func (r *Reconciler) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&v1alpha1.Distillation{}).Owns(&v1alpha1.TrainJob{}).Owns(&v1alpha1.Evaluation{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(reconcile.Func(r.reconcile))
	if err != nil {
		return fmt.Errorf("registering the distillation controller: %w", err)
	}
	return nil
}

// reconcile forgets distillations that are gone and looks at the others.
func (r *Reconciler) reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var d v1alpha1.Distillation
	err := r.deps.Client.Get(ctx, req.NamespacedName, &d)
	if apierrors.IsNotFound(err) {
		r.gauges.drop(req.Namespace, req.Name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading distillation %s: %w", req, err)
	}
	return r.Reconcile(ctx, &d)
}

// Reconcile looks at one distillation: it reads the world, decides, writes the status and
// acts. It is an ObjectReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, d *v1alpha1.Distillation) (reconcile.Result, error) {
	if d.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // the garbage collector takes what it owned
	}
	w, err := r.read(ctx, d)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(w)
	if err := r.record(ctx, d, p); err != nil {
		if apierrors.IsConflict(err) { // decided on a status that is no longer there
			return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := r.act(ctx, w, p); err != nil {
		return r.refused(ctx, w, err)
	}
	return reconcile.Result{RequeueAfter: p.again}, nil
}

// record writes the status, if it changed, and tells of the change.
func (r *Reconciler) record(ctx context.Context, d *v1alpha1.Distillation, p *plan) error {
	r.gauges.set(d, &p.status)
	if apiequality.Semantic.DeepEqual(d.Status, p.status) {
		return nil
	}
	next := d.DeepCopy()
	next.Status = p.status
	patch := client.MergeFromWithOptions(d.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := r.deps.Client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("writing the status of distillation %s/%s: %w", d.Namespace, d.Name, err)
	}
	for _, e := range transitions(&d.Status, &p.status) {
		r.deps.Events.Eventf(d, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	r.gauges.ended(&d.Status, &p.status)
	return nil
}

// refused records that the API server will not have an object of the distillation's: one
// that asks for the impossible ends, any other error is tried again.
func (r *Reconciler) refused(ctx context.Context, w *world, err error) (reconcile.Result, error) {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) && !apierrors.IsForbidden(err) {
		return reconcile.Result{}, err
	}
	var d v1alpha1.Distillation
	if e := r.deps.Live.Get(ctx, client.ObjectKeyFromObject(w.d), &d); e != nil {
		return reconcile.Result{}, errors.Join(err, e)
	}
	p := &plan{status: *d.Status.DeepCopy()}
	p.end(w, v1alpha1.StateFailed, "InvalidSpec", "the cluster refuses what the spec asks for: "+clip(err.Error()))
	return reconcile.Result{RequeueAfter: time.Millisecond}, r.record(ctx, &d, p)
}
