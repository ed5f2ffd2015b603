// Package removal takes the artifacts of a Model out of the registry when the Model is
// removed, however that was asked for. Only system imports it.
//
//   - A finalizer keeps the Model until its versions have left the registry, with what
//     refers to them. Blobs that nothing names any more go when the registry is started
//     next.
//   - What work in the namespace uses stays until that has ended: pods, and jobs,
//     evaluations and distillations that have yet to start some.
//   - Nothing is removed but in the Model's own namespace, and nothing that another Model
//     means.
//   - A registry that does not answer is asked again, for ten minutes. Then the Model goes
//     without it, and its artifacts stay: a namespace that is removed must not wait for
//     ever.
//
// It writes the condition Removed of Models that are to go; all else of a Model's status is
// model/controller/alias', which leaves those alone.
package removal

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-removal"

const (
	concurrency  = 4                // Models at once: a registry that hangs must not hold up all
	registryWait = 30 * time.Second // for all of one Model's artifacts
	lookEvery    = 2 * time.Second  // whether work has ended
	retryEvery   = 5 * time.Second  // what the registry did not do
	giveUpAfter  = 10 * time.Minute // of a registry that does not do it
)

// Remover removes artifacts.
type Remover interface {
	// Remove removes the manifest digest of a repository, after all that refers to it. One
	// that is not there is removed.
	Remove(ctx context.Context, repository, digest string) error
}

// Deps are what a Controller works with. All are needed.
type Deps struct {
	Client  client.Client
	Live    client.Reader // reads the API server itself: the cache has not all pods
	Events  events.EventRecorder
	Remover Remover
	Clock   clock.PassiveClock
	Metrics prometheus.Registerer
}

// Controller removes artifacts of Models.
type Controller struct {
	log     *slog.Logger
	deps    Deps
	removed *prometheus.CounterVec
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, deps Deps) (*Controller, error) {
	if log == nil || deps.Client == nil || deps.Live == nil || deps.Events == nil || deps.Remover == nil || deps.Clock == nil || deps.Metrics == nil {
		return nil, errors.New("removal controller: a dependency is missing")
	}
	c := &Controller{log: log, deps: deps, removed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polder_model_removals_total", Help: "Models that were removed, by whether their artifacts left the registry (removed) or stay there (kept).",
	}, []string{"namespace", "artifacts"})}
	if err := deps.Metrics.Register(c.removed); err != nil {
		return nil, fmt.Errorf("registering metrics of removals: %w", err)
	}
	return c, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).For(&v1alpha1.Model{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(reconcile.AsReconciler(c.deps.Client, c))
	if err != nil {
		return fmt.Errorf("registering the removal controller: %w", err)
	}
	return nil
}

// Reconcile sees to it that a Model does not go before its artifacts, and takes these away
// when it is to go.
func (c *Controller) Reconcile(ctx context.Context, m *v1alpha1.Model) (reconcile.Result, error) {
	held := controllerutil.ContainsFinalizer(m, v1alpha1.FinalizerArtifacts)
	switch {
	case m.DeletionTimestamp == nil && !held:
		return c.change(ctx, m, func(next *v1alpha1.Model) { controllerutil.AddFinalizer(next, v1alpha1.FinalizerArtifacts) })
	case m.DeletionTimestamp == nil || !held:
		return reconcile.Result{}, nil
	}
	user, err := c.user(ctx, m)
	if err != nil {
		return reconcile.Result{}, err
	}
	if user != "" {
		return c.wait(ctx, m, metav1.ConditionFalse, "InUse", "it is removed when "+user+", which uses it, has ended or is removed", lookEvery)
	}
	result := "removed"
	if err := c.remove(ctx, m); err != nil {
		if c.failingFor(m) < giveUpAfter {
			return c.wait(ctx, m, metav1.ConditionUnknown, "RegistryFailed", fmt.Sprintf("the registry is asked again, for %v: %v", giveUpAfter, err), retryEvery)
		}
		result = "kept"
		c.deps.Events.Eventf(m, nil, corev1.EventTypeWarning, "ArtifactsKept", "Remove", "its artifacts stay in the registry: %v; remove them with `polder image rm`", err)
		c.log.WarnContext(ctx, "model removed without its artifacts", logs.Namespace, m.Namespace, logs.Name, m.Name, logs.Err, err)
	}
	r, err := c.change(ctx, m, func(next *v1alpha1.Model) { controllerutil.RemoveFinalizer(next, v1alpha1.FinalizerArtifacts) })
	if err == nil && r.RequeueAfter == 0 {
		c.removed.WithLabelValues(m.Namespace, result).Inc()
	}
	return r, err
}

// change writes what is not the status of m, unless somebody else was quicker.
func (c *Controller) change(ctx context.Context, m *v1alpha1.Model, do func(*v1alpha1.Model)) (reconcile.Result, error) {
	next := m.DeepCopy()
	do(next)
	return written(m, c.deps.Client.Patch(ctx, next, client.MergeFromWithOptions(m, client.MergeFromWithOptimisticLock{})))
}

func written(m *v1alpha1.Model, err error) (reconcile.Result, error) {
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	case client.IgnoreNotFound(err) != nil:
		return reconcile.Result{}, fmt.Errorf("writing model %s: %w", m.Name, err)
	}
	return reconcile.Result{}, nil
}

// wait says why m is still there, and looks again.
func (c *Controller) wait(ctx context.Context, m *v1alpha1.Model, status metav1.ConditionStatus, reason, message string, again time.Duration) (reconcile.Result, error) {
	next := m.DeepCopy()
	changed := apimeta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionRemoved, Status: status, Reason: reason, Message: message, ObservedGeneration: m.Generation, LastTransitionTime: metav1.NewTime(c.deps.Clock.Now()),
	})
	if changed {
		r, err := written(m, c.deps.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(m, client.MergeFromWithOptimisticLock{})))
		if err != nil || r.RequeueAfter > 0 {
			return r, err
		}
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// failingFor is how long the registry has not removed what it was to.
func (c *Controller) failingFor(m *v1alpha1.Model) time.Duration {
	now := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionRemoved)
	if now == nil || now.Status != metav1.ConditionUnknown {
		return 0
	}
	return c.deps.Clock.Since(now.LastTransitionTime.Time)
}

// remove takes the versions of m out of the registry, but for what another Model means.
func (c *Controller) remove(ctx context.Context, m *v1alpha1.Model) error {
	var others v1alpha1.ModelList
	if err := c.deps.Client.List(ctx, &others, client.InNamespace(m.Namespace)); err != nil {
		return fmt.Errorf("listing models: %w", err)
	}
	kept := map[string]bool{}
	for i := range others.Items {
		if o := &others.Items[i]; o.Name != m.Name {
			maps.Copy(kept, references(o))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, registryWait)
	defer cancel()
	for _, reference := range slices.Sorted(maps.Keys(references(m))) {
		repository, digest, pinned := strings.Cut(reference, "@")
		if kept[reference] || !pinned || !strings.HasPrefix(repository, "models/"+m.Namespace+"/") {
			continue
		}
		if err := c.deps.Remover.Remove(ctx, repository, digest); err != nil {
			return err
		}
	}
	return nil
}

// references of all versions of m.
func references(m *v1alpha1.Model) map[string]bool {
	out := map[string]bool{m.Spec.Reference: true}
	for _, v := range m.Status.Versions {
		out[v.Reference] = true
	}
	return out
}
