// Package evaluation is the controller of Evaluations: it has a pod run models over the
// data, and ask services, reads what the pod says, and keeps the report. Only system imports it. It
// meets the rest of the house through API objects and three interfaces of its own:
// Mounter (a model becomes mountable), Logs (what a container has printed) and Keeper (a
// report becomes an artifact, that refers to the candidate where that is a model).
//
//   - What is judged is pinned when the evaluation is accepted: status.models has digests,
//     and an alias that moves later changes nothing.
//   - The pod is a batch/v1 Job that upstream starts again when its pod dies. An error of
//     the data, of a model or of the spec ends it at once: trying again would not help.
//   - The report is kept before the status says so, and keeping it twice is keeping it
//     once. The Job goes after the status was written, so a controller that is killed at
//     any moment finds it again.
//   - Complete and Failed never become False again.
//   - The pod has no rights, no token, and reads models and data only. One that asks
//     services has an account that may ask those, and the container that does a token that
//     is for the gateway alone.
//
// It refuses to judge by itself (model/eval does, in the pod) and to believe a report that
// is of other models than it asked for.
package evaluation

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
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
const Name = "polder-evaluation"

// Mounter makes the files of a model's artifact mountable in pods.
type Mounter interface {
	// Volume returns an image with the files of the model at reference, made if it is not
	// there yet.
	Volume(ctx context.Context, reference string) (image string, err error)
}

// Logs reads what a container has printed: all of it, or its last lines where tail is not
// 0.
type Logs interface {
	Read(ctx context.Context, namespace, pod, container string, tail int64) (io.ReadCloser, error)
}

// Keeper keeps a report as an artifact that refers to the model at reference, or, if that is
// empty, to nothing. The same report always gets the same digest.
type Keeper interface {
	Keep(ctx context.Context, e *v1alpha1.Evaluation, reference string, report []byte) (v1alpha1.ReportReference, error)
}

// Deps are what a Controller works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client client.Client
	// Live reads the API server itself: Jobs and pods of evaluations, which are few.
	Live    client.Reader
	Mounter Mounter
	Logs    Logs
	Keeper  Keeper
	Events  events.EventRecorder
	Clock   clock.PassiveClock
	Metrics prometheus.Registerer
}

// Config of a Controller. A zero field means its default.
type Config struct {
	// Concurrency is how many evaluations are looked at at once; 4.
	Concurrency int
	// Progress is the time between looks at one that runs; 1 s.
	Progress time.Duration
	// Wait is the time between looks at one that lacks something; 5 s.
	Wait time.Duration
	// Sandbox is the RuntimeClass that admission gives to the pods of a namespace that
	// has no label of its own for it; "" if the cluster gives none.
	Sandbox string
	// CopyImage copies from the object store; "" if there is no store.
	CopyImage string
	// Gateway is its address for pods, and the audience of tokens for it; "" if there is
	// none.
	Gateway string
}

// Controller runs Evaluations.
type Controller struct {
	log     *slog.Logger
	deps    Deps
	cfg     Config
	metrics *gauges
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, deps Deps, cfg Config) (*Controller, error) {
	if log == nil || deps.Client == nil || deps.Live == nil || deps.Mounter == nil || deps.Logs == nil || deps.Keeper == nil ||
		deps.Events == nil || deps.Clock == nil || deps.Metrics == nil {
		return nil, errors.New("evaluation controller: a dependency is missing")
	}
	if cfg.Concurrency < 0 || min(cfg.Progress, cfg.Wait) < 0 {
		return nil, fmt.Errorf("evaluation controller: durations must be positive: %+v", cfg)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.Progress == 0 {
		cfg.Progress = time.Second
	}
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Second
	}
	g, err := newGauges(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Controller{log: log, deps: deps, cfg: cfg, metrics: g}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&v1alpha1.Evaluation{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: c.cfg.Concurrency}).
		Complete(reconcile.AsReconciler(c.deps.Client, c))
	if err != nil {
		return fmt.Errorf("registering the evaluation controller: %w", err)
	}
	return nil
}

// look is one look at an evaluation: what is there, and what is to be.
type look struct {
	e      *v1alpha1.Evaluation
	now    time.Time
	status v1alpha1.EvaluationStatus
	job    *batchv1.Job // nil: there is none
	again  time.Duration
	create *batchv1.Job
	remove *batchv1.Job
}

// Reconcile looks at one evaluation: it reads, decides, writes the status once and acts.
func (c *Controller) Reconcile(ctx context.Context, e *v1alpha1.Evaluation) (reconcile.Result, error) {
	if e.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // the garbage collector takes what it owned
	}
	l := &look{e: e, now: c.deps.Clock.Now(), status: *e.Status.DeepCopy()}
	if err := c.readJob(ctx, l); err != nil {
		return reconcile.Result{}, err
	}
	if err := c.decide(ctx, l); err != nil {
		return reconcile.Result{}, err
	}
	if err := c.record(ctx, l); err != nil {
		if apierrors.IsConflict(err) { // decided on a status that is no longer there
			return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := c.act(ctx, l); err != nil {
		return c.refused(ctx, l, err)
	}
	return reconcile.Result{RequeueAfter: l.again}, nil
}

// decide what is to be.
func (c *Controller) decide(ctx context.Context, l *look) error {
	switch {
	case l.status.State.Done():
		l.remove = l.job
		return nil
	case l.overdue():
		l.fail("DeadlineExceeded", fmt.Sprintf("it was not done %d seconds after it was made; raise spec.deadlineSeconds, or judge fewer rows (spec.data.rows)", l.deadline()))
		return nil
	case l.job != nil && !owned(l.e, l.job):
		l.status.State, l.status.Message = v1alpha1.StatePending, fmt.Sprintf("there is a Job %s that is not this evaluation's; remove it, or choose another name", l.job.Name)
		l.again = c.cfg.Wait
		return nil
	case !apimeta.IsStatusConditionTrue(l.status.Conditions, v1alpha1.ConditionAccepted):
		return c.accept(ctx, l)
	case l.job == nil:
		return c.begin(ctx, l)
	}
	return c.observe(ctx, l)
}

// deadlineSecondsDefault is what the API server fills in.
const deadlineSecondsDefault = 86400

func (l *look) deadline() int64 {
	if l.e.Spec.DeadlineSeconds == 0 {
		return deadlineSecondsDefault
	}
	return l.e.Spec.DeadlineSeconds
}

func (l *look) overdue() bool {
	return l.now.Sub(l.e.CreationTimestamp.Time) >= time.Duration(l.deadline())*time.Second
}

// hold says what the evaluation waits for, which was accepted.
func (l *look) hold(message string, again time.Duration) {
	l.status.State, l.status.Message = v1alpha1.StatePending, clip(message, messageBytesMax)
	l.again = again
}

// wait says what the evaluation lacks to be accepted.
func (l *look) wait(reason, message string, again time.Duration) {
	l.hold(message, again)
	l.set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, message)
}

// fail ends the evaluation badly.
func (l *look) fail(reason, message string) {
	message = clip(message, messageBytesMax)
	l.status.State, l.status.Message = v1alpha1.StateFailed, message
	l.set(v1alpha1.ConditionFailed, metav1.ConditionTrue, reason, message)
	l.status.CompletionTime = &metav1.Time{Time: l.now}
	l.again = time.Millisecond // to tidy up
}

func (l *look) set(kind string, is metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&l.status.Conditions, metav1.Condition{
		Type: kind, Status: is, Reason: reason, Message: clip(message, messageBytesMax), ObservedGeneration: l.e.Generation, LastTransitionTime: metav1.NewTime(l.now),
	})
}

// record writes the status, if it changed, and tells of the change.
func (c *Controller) record(ctx context.Context, l *look) error {
	old := l.e.DeepCopy()
	if apiequality.Semantic.DeepEqual(old.Status, l.status) {
		return nil
	}
	next := l.e.DeepCopy()
	next.Status = l.status
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := c.deps.Client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("writing the status of evaluation %s/%s: %w", old.Namespace, old.Name, err)
	}
	if old.Status.State != l.status.State {
		c.tell(ctx, l)
	} else if was, is := apimeta.FindStatusCondition(old.Status.Conditions, v1alpha1.ConditionAccepted), apimeta.FindStatusCondition(l.status.Conditions, v1alpha1.ConditionAccepted); is != nil &&
		is.Status == metav1.ConditionFalse && (was == nil || was.Message != is.Message) {
		c.deps.Events.Eventf(l.e, nil, corev1.EventTypeWarning, is.Reason, "Accept", "%s", clip(is.Message, noteBytesMax))
	}
	return nil
}

// tell records that the evaluation came into a state.
func (c *Controller) tell(ctx context.Context, l *look) {
	kind, reason, note := corev1.EventTypeNormal, string(l.status.State), l.status.Message
	switch l.status.State {
	case v1alpha1.StateFailed:
		kind = corev1.EventTypeWarning
		if f := apimeta.FindStatusCondition(l.status.Conditions, v1alpha1.ConditionFailed); f != nil {
			reason = f.Reason
		}
		c.metrics.ended.WithLabelValues("failed").Inc()
	case v1alpha1.StateSucceeded:
		note = l.status.Verdict
		result := "passed"
		if !l.status.Passed {
			result = "unmet"
		}
		c.metrics.ended.WithLabelValues(result).Inc()
		c.metrics.rows.Add(float64(l.status.Rows) * float64(len(l.status.Models)))
		c.metrics.seconds.Observe(l.now.Sub(l.e.CreationTimestamp.Time).Seconds())
	}
	if note == "" {
		note = reason
	}
	c.deps.Events.Eventf(l.e, nil, kind, reason, "Evaluate", "%s", clip(note, noteBytesMax))
	c.log.InfoContext(ctx, "evaluation changed", logs.Namespace, l.e.Namespace, logs.Name, l.e.Name, "state", string(l.status.State))
}

// act does what was decided. Every act may be repeated.
func (c *Controller) act(ctx context.Context, l *look) error {
	if l.remove != nil && l.remove.DeletionTimestamp == nil {
		err := c.deps.Client.Delete(ctx, l.remove, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &l.remove.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting job %s: %w", l.remove.Name, err)
		}
	}
	if l.create != nil {
		if live, err := c.wanted(ctx, l); err != nil || !live {
			return err
		}
		if asks(l.e) {
			if err := c.admit(ctx, l.e); err != nil {
				return err
			}
		}
		if err := c.deps.Client.Create(ctx, l.create); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating job %s: %w", l.create.Name, err)
		}
	}
	return nil
}

// wanted reports whether the evaluation still needs its Job, by what the API server says
// now rather than what the cache remembers: one that has ended gets no second one.
func (c *Controller) wanted(ctx context.Context, l *look) (bool, error) {
	var e v1alpha1.Evaluation
	if err := c.deps.Live.Get(ctx, client.ObjectKeyFromObject(l.e), &e); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return e.UID == l.e.UID && e.DeletionTimestamp == nil && !e.Status.State.Done(), nil
}

// refused ends an evaluation whose Job the API server will not have; any other error is
// tried again.
func (c *Controller) refused(ctx context.Context, l *look, err error) (reconcile.Result, error) {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return reconcile.Result{}, err
	}
	var e v1alpha1.Evaluation
	if err := c.deps.Live.Get(ctx, client.ObjectKeyFromObject(l.e), &e); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	again := &look{e: &e, now: l.now, status: *e.Status.DeepCopy()}
	again.fail("Refused", "the cluster refuses what the spec asks for: "+err.Error())
	return reconcile.Result{}, client.IgnoreNotFound(c.record(ctx, again))
}
