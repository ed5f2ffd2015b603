package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

// Name is the controller's name, in logs and as the reporter of its events.
const Name = "polder-train"

// Deps are what a Reconciler works with. All are needed.
type Deps struct {
	// Client reads through the manager's cache and writes.
	Client client.Client
	// Live reads the API server itself.
	Live client.Reader
	// Events records events.
	Events events.EventRecorder
	// Volumes opens jobs' volumes.
	Volumes Volumes
	// Publisher makes models.
	Publisher Publisher
	// Clock tells the time.
	Clock clock.PassiveClock
	// Gauges is where the jobs' gauges are registered.
	Gauges prometheus.Registerer
}

// Config of a Reconciler. A zero field means its default.
type Config struct {
	// Concurrency is how many jobs are looked at at once; 4.
	Concurrency int
	// Progress is the time between looks at a running job; 1 s.
	Progress time.Duration
	// Wait is the time between looks at a job that waits; 5 s.
	Wait time.Duration
	// Publish is the time between attempts to publish; 10 s.
	Publish time.Duration
	// PauseMin and PauseMax bound the pause before a restart, which doubles from
	// one to the next; 2 s and 2 min.
	PauseMin, PauseMax time.Duration
	// ImagePatience is how long an image may be absent before the job fails; 1 min.
	ImagePatience time.Duration
	// Sandbox is the RuntimeClass that admission gives to the pods of a namespace that
	// has no label of its own for it; "" if the cluster gives none.
	Sandbox string
	// CopyImage copies between the object store and workers; "" if there is no store.
	CopyImage string
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
	fill(&c.Progress, time.Second)
	fill(&c.Wait, 5*time.Second)
	fill(&c.Publish, 10*time.Second)
	fill(&c.PauseMin, 2*time.Second)
	fill(&c.PauseMax, 2*time.Minute)
	fill(&c.ImagePatience, time.Minute)
	return c
}

// Reconciler is the controller of TrainJobs.
type Reconciler struct {
	log       *slog.Logger
	client    client.Client
	live      client.Reader
	events    events.EventRecorder
	volumes   Volumes
	publisher Publisher
	clock     clock.PassiveClock
	gauges    *gauges
	cfg       Config

	mu    sync.Mutex
	notes map[types.NamespacedName]*note
	gangs gangMemory
}

// note is what is remembered of a job between looks; losing it costs a second
// reading of the metrics file and nothing else.
type note struct {
	uid     types.UID
	tail    tail
	readAt  time.Time
	triedAt time.Time // publishing, in vain
	corrupt int64     // corrupt checkpoints told of
	marked  time.Time // what was marked last, and on what
	bearer  string
}

// New returns a Reconciler. It starts nothing; Register hands it to a manager.
func New(log *slog.Logger, deps Deps, cfg Config) (*Reconciler, error) {
	if log == nil || deps.Client == nil || deps.Live == nil || deps.Events == nil || deps.Volumes == nil ||
		deps.Publisher == nil || deps.Clock == nil || deps.Gauges == nil {
		return nil, errors.New("train controller: a dependency is missing")
	}
	cfg = cfg.withDefaults()
	if cfg.PauseMin > cfg.PauseMax || min(cfg.PauseMin, cfg.Progress, cfg.Wait, cfg.Publish, cfg.ImagePatience) < 0 || cfg.Concurrency < 0 {
		return nil, fmt.Errorf("train controller: durations must be positive, and PauseMin at most PauseMax: %+v", cfg)
	}
	g, err := newGauges(deps.Gauges)
	if err != nil {
		return nil, err
	}
	return &Reconciler{
		log: log, client: deps.Client, live: deps.Live, events: deps.Events,
		volumes: deps.Volumes, publisher: deps.Publisher, clock: deps.Clock,
		gauges: g, cfg: cfg, notes: make(map[types.NamespacedName]*note),
	}, nil
}

// Name of the controller.
func (r *Reconciler) Name() string { return Name }

// CacheOptions keeps out of the manager's cache what no TrainJob owns; system
// merges it into its own cache options.
func CacheOptions() map[client.Object]cache.ByObject {
	req, err := labels.NewRequirement(v1alpha1.LabelTrainJob, selection.Exists, nil)
	if err != nil {
		panic("train: the label of TrainJobs is no label: " + err.Error())
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*req)}
	return map[client.Object]cache.ByObject{&corev1.Pod{}: ours, &batchv1.Job{}: ours}
}

// Register has m run the controller.
func (r *Reconciler) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).
		Named(Name).
		For(&v1alpha1.TrainJob{}).
		Owns(&batchv1.Job{}).
		Owns(&corev1.PersistentVolumeClaim{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(jobOfPod)).
		Watches(&v1alpha1.Runtime{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfRuntime)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.cfg.Concurrency}).
		Complete(reconcile.Func(r.reconcile))
	if err != nil {
		return fmt.Errorf("registering the train controller: %w", err)
	}
	return nil
}

// jobOfPod maps a worker to its TrainJob.
func jobOfPod(_ context.Context, o client.Object) []reconcile.Request {
	job := o.GetLabels()[v1alpha1.LabelTrainJob]
	if job == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: job}}}
}

// jobsOfRuntime maps a Runtime to the jobs that may be waiting for it.
func (r *Reconciler) jobsOfRuntime(ctx context.Context, o client.Object) []reconcile.Request {
	var jobs v1alpha1.TrainJobList
	if err := r.client.List(ctx, &jobs); err != nil {
		r.log.WarnContext(ctx, "listing train jobs", "error", err)
		return nil
	}
	var reqs []reconcile.Request
	for i := range jobs.Items {
		if j := &jobs.Items[i]; j.Spec.Runtime == o.GetName() && !j.Status.State.Done() {
			reqs = append(reqs, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(j)})
		}
	}
	return reqs
}

// reconcile forgets jobs that are gone and looks at the others.
func (r *Reconciler) reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var job v1alpha1.TrainJob
	err := r.client.Get(ctx, req.NamespacedName, &job)
	if apierrors.IsNotFound(err) {
		r.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading train job %s: %w", req, err)
	}
	return r.Reconcile(ctx, &job)
}

// Reconcile looks at one job: it reads the world, decides, writes the status
// and acts. It is an ObjectReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, job *v1alpha1.TrainJob) (reconcile.Result, error) {
	if job.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // the garbage collector takes what it owned
	}
	w, err := r.read(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(w, &r.cfg)
	if err := r.record(ctx, job, p); err != nil {
		if apierrors.IsConflict(err) { // decided on a status that is no longer there
			return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := r.act(ctx, w, p); err != nil {
		return r.refused(ctx, w, err)
	}
	if err := r.mark(ctx, w, p); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: p.again}, nil
}

// record writes the status, if it changed, and tells of the change.
func (r *Reconciler) record(ctx context.Context, job *v1alpha1.TrainJob, p *plan) error {
	old := job.DeepCopy()
	if apiequality.Semantic.DeepEqual(old.Status, p.status) {
		return nil
	}
	next := job.DeepCopy()
	next.Status = p.status
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("writing the status of train job %s/%s: %w", job.Namespace, job.Name, err)
	}
	for _, e := range transitions(&old.Status, &p.status) {
		r.events.Eventf(job, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// refused records that the API server will not have an object of the job's: a
// job that asks for the impossible ends, any other error is tried again.
func (r *Reconciler) refused(ctx context.Context, w *world, err error) (reconcile.Result, error) {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return reconcile.Result{}, err
	}
	var job v1alpha1.TrainJob
	if e := r.live.Get(ctx, client.ObjectKeyFromObject(w.job), &job); e != nil {
		return reconcile.Result{}, errors.Join(err, e)
	}
	p := &plan{status: *job.Status.DeepCopy()}
	p.end(w, v1alpha1.StateFailed, "InvalidSpec", "the cluster refuses what the spec asks for: "+clip(err.Error(), lastBytesMax))
	if e := r.record(ctx, &job, p); e != nil {
		return reconcile.Result{}, errors.Join(err, e)
	}
	return reconcile.Result{RequeueAfter: time.Millisecond}, nil
}

// forget drops what is remembered and exported of a job.
func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	delete(r.notes, key)
	r.mu.Unlock()
	r.gauges.drop(key)
}

// noteOf returns what is remembered of a job. Only one reconciliation of a job
// runs at a time, so its note needs no lock of its own.
func (r *Reconciler) noteOf(job *v1alpha1.TrainJob) *note {
	key := client.ObjectKeyFromObject(job)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.notes[key]
	if n == nil || n.uid != job.UID {
		if n != nil {
			r.gauges.drop(key)
		}
		n = &note{uid: job.UID}
		r.notes[key] = n
	}
	return n
}
