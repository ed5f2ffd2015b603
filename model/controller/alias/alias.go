// Package alias keeps the versions of Models and lets their aliases mean what persons
// want them to mean, when the gates let the versions through. Only system imports it. It
// is the only writer of a Model's status, until the Model is to go.
//
//   - A version is recorded as it was published, and its record never changes. Who
//     replaces a Model's spec does so only when the version in it is recorded
//     (workload/train waits, admission sees to everybody else), so none is lost however
//     fast others follow.
//   - spec.aliases is what is wanted, status.aliases what holds. An alias changes in one
//     patch of the status, with the version of the object that was judged: services that
//     follow it see the one or the other.
//   - What an alias means goes on to be meant, whatever becomes of gates or evaluations.
//   - A version that an alias has meant before comes back without another evaluation:
//     taking something back must not wait. Its licence is judged.
package alias

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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/model"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-model"

// conflictEvery is when a write is tried again that somebody else was quicker than.
const conflictEvery = 100 * time.Millisecond

// Deps are what a Controller works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client client.Client
	// Events records events.
	Events events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// Metrics is where the controller's counters are registered.
	Metrics prometheus.Registerer
}

// Controller writes the status of Models.
type Controller struct {
	log     *slog.Logger
	client  client.Client
	events  events.EventRecorder
	clock   clock.PassiveClock
	changes *prometheus.CounterVec
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, deps Deps) (*Controller, error) {
	if log == nil || deps.Client == nil || deps.Events == nil || deps.Clock == nil || deps.Metrics == nil {
		return nil, errors.New("model controller: a dependency is missing")
	}
	c := &Controller{log: log, client: deps.Client, events: deps.Events, clock: deps.Clock}
	c.changes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polder_model_alias_changes_total", Help: "Aliases that came to mean another version, and those that a gate refused it.",
	}, []string{"namespace", "result"})
	if err := deps.Metrics.Register(c.changes); err != nil {
		return nil, fmt.Errorf("registering metrics of models: %w", err)
	}
	return c, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	asked := predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&v1alpha1.Model{}, builder.WithPredicates(asked)).
		Watches(&v1alpha1.Evaluation{}, handler.EnqueueRequestsFromMapFunc(candidate)).
		Complete(reconcile.AsReconciler(c.client, c))
	if err != nil {
		return fmt.Errorf("registering the model controller: %w", err)
	}
	return nil
}

// candidate is the Model that an evaluation may let through a gate.
func candidate(_ context.Context, o client.Object) []reconcile.Request {
	e, ok := o.(*v1alpha1.Evaluation)
	if !ok || len(e.Spec.Models) == 0 {
		return nil
	}
	n, err := model.ParseName(e.Spec.Models[0].Model)
	if err != nil {
		return nil // a service
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: e.Namespace, Name: n.Model}}}
}

// Reconcile brings the status of one Model up to date.
func (c *Controller) Reconcile(ctx context.Context, m *v1alpha1.Model) (reconcile.Result, error) {
	if m.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	var list v1alpha1.EvaluationList
	if len(m.Spec.Gates) > 0 {
		if err := c.client.List(ctx, &list, client.InNamespace(m.Namespace)); err != nil {
			return reconcile.Result{}, fmt.Errorf("listing evaluations: %w", err)
		}
	}
	status, told := decide(m, list.Items, c.clock.Now())
	if !apiequality.Semantic.DeepEqual(m.Status, status) {
		next := m.DeepCopy()
		next.Status = status
		err := c.client.Status().Patch(ctx, next, client.MergeFromWithOptions(m, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsConflict(err) { // what changed it need not bring us here again
			return reconcile.Result{RequeueAfter: conflictEvery}, nil
		}
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("writing the status of model %s: %w", m.Name, err)
		}
		c.tell(ctx, m, told)
		m = next
	}
	return c.answer(ctx, m)
}

// answer takes away the wish that a version be forgotten, once the status says so.
func (c *Controller) answer(ctx context.Context, m *v1alpha1.Model) (reconcile.Result, error) {
	if _, asked := m.Annotations[v1alpha1.AnnotationForget]; !asked {
		return reconcile.Result{}, nil
	}
	next := m.DeepCopy()
	delete(next.Annotations, v1alpha1.AnnotationForget)
	err := c.client.Patch(ctx, next, client.MergeFromWithOptions(m, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictEvery}, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("writing model %s: %w", m.Name, err)
	}
	return reconcile.Result{}, nil
}

// tell records what happened to aliases.
func (c *Controller) tell(ctx context.Context, m *v1alpha1.Model, told []change) {
	for _, t := range told {
		c.changes.WithLabelValues(m.Namespace, t.result).Inc()
		c.events.Eventf(m, nil, t.kind(), t.reason, "Promote", "%s", t.note)
		c.log.InfoContext(ctx, "alias of a model judged", logs.Namespace, m.Namespace, logs.Name, m.Name, logs.Digest, t.digest, "alias", t.alias, "result", t.result)
	}
}
