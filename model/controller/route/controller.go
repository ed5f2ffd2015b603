package route

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/model/eval"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-route"

// Reports reads reports of evaluations.
type Reports interface {
	// Read returns the report at a reference.
	Read(ctx context.Context, at *v1alpha1.ReportReference) (*eval.Report, error)
}

// Deps are what a Controller works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client  client.Client
	Reports Reports
	// Events records events.
	Events events.EventRecorder
}

// Config of a Controller.
type Config struct {
	// Gateway is the URL that clients reach the gateway by; "" if there is none.
	Gateway string
}

// Controller writes the status of ModelRoutes.
type Controller struct {
	log  *slog.Logger
	deps Deps
	cfg  Config

	mu      sync.Mutex
	lessons map[lessonKey]*v1alpha1.CascadeStatus
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, deps Deps, cfg Config) (*Controller, error) {
	if log == nil || deps.Client == nil || deps.Reports == nil || deps.Events == nil {
		return nil, errors.New("route controller: a dependency is missing")
	}
	return &Controller{log: log, deps: deps, cfg: cfg, lessons: map[lessonKey]*v1alpha1.CascadeStatus{}}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&v1alpha1.ModelRoute{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.InferenceService{}, handler.EnqueueRequestsFromMapFunc(c.asking(targets))).
		Watches(&v1alpha1.Evaluation{}, handler.EnqueueRequestsFromMapFunc(c.asking(learnsFrom))).
		Complete(reconcile.AsReconciler(c.deps.Client, c))
	if err != nil {
		return fmt.Errorf("registering the route controller: %w", err)
	}
	return nil
}

// asking returns what finds the routes of an object's namespace that need it.
func (c *Controller) asking(needs func(r *v1alpha1.ModelRoute, name string) bool) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var list v1alpha1.ModelRouteList
		if err := c.deps.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			c.log.ErrorContext(ctx, "routes could not be listed", logs.Namespace, o.GetNamespace(), logs.Err, err)
			return nil
		}
		var out []reconcile.Request
		for i := range list.Items {
			if needs(&list.Items[i], o.GetName()) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
		return out
	}
}

func targets(r *v1alpha1.ModelRoute, service string) bool {
	for _, t := range r.Spec.Targets {
		if t.Service == service {
			return true
		}
	}
	return false
}

func learnsFrom(r *v1alpha1.ModelRoute, evaluation string) bool {
	c := learning(r)
	return c != nil && c.Learn.Evaluation == evaluation
}

// again is when a status that somebody else has written meanwhile is looked at again, and a
// report that could not be read.
const (
	again       = time.Second
	reportAgain = 30 * time.Second
)

// Reconcile brings the status of one route up to date.
func (c *Controller) Reconcile(ctx context.Context, r *v1alpha1.ModelRoute) (reconcile.Result, error) {
	if r.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	w, err := c.read(ctx, r)
	if err != nil {
		return reconcile.Result{}, err
	}
	next := r.DeepCopy()
	w.judge(next, c.cfg.Gateway)
	result := reconcile.Result{}
	if w.compiled != nil && w.learning != nil {
		if retry := c.learn(ctx, w, next); retry {
			result.RequeueAfter = reportAgain
		}
	}
	if apiequality.Semantic.DeepEqual(r.Status, next.Status) {
		return result, nil
	}
	err = c.deps.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(r, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case apierrors.IsConflict(err): // the gateway writes what it observes there, too
		return reconcile.Result{RequeueAfter: again}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("writing the status of route %s: %w", r.Name, err)
	}
	c.tell(ctx, r, next)
	return result, nil
}

// read returns what a route's status depends on.
func (c *Controller) read(ctx context.Context, r *v1alpha1.ModelRoute) (*world, error) {
	w := newWorld(r)
	for _, t := range r.Spec.Targets {
		var s v1alpha1.InferenceService
		err := c.deps.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: t.Service}, &s)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("reading service %s: %w", t.Service, err)
		default:
			w.services[t.Service] = &s
		}
	}
	if w.learning == nil {
		return w, nil
	}
	var e v1alpha1.Evaluation
	err := c.deps.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: w.learning.Learn.Evaluation}, &e)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, fmt.Errorf("reading evaluation %s: %w", w.learning.Learn.Evaluation, err)
	default:
		w.evaluation = &e
	}
	return w, nil
}

// tell records that a route has come to be accepted or not, or has learned a threshold.
func (c *Controller) tell(ctx context.Context, old, now *v1alpha1.ModelRoute) {
	for kind, event := range map[string]string{v1alpha1.ConditionAccepted: "Accept", v1alpha1.ConditionLearned: "Learn"} {
		a, b := meta.FindStatusCondition(old.Status.Conditions, kind), meta.FindStatusCondition(now.Status.Conditions, kind)
		if b == nil || a != nil && a.Status == b.Status && a.Message == b.Message {
			continue
		}
		severity := corev1.EventTypeNormal
		if b.Status != "True" {
			severity = corev1.EventTypeWarning
		}
		c.deps.Events.Eventf(now, nil, severity, b.Reason, event, "%s", b.Message)
		c.log.InfoContext(ctx, "route judged", logs.Namespace, now.Namespace, logs.Name, now.Name, "condition", kind, "status", string(b.Status), "reason", b.Reason)
	}
}
