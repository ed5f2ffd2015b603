package train

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

const (
	// gangMemoryFor is how long a cluster without PodGroups is believed to stay so.
	gangMemoryFor = time.Minute
	// warnAfter is how long a job may wait before its objects' events are read.
	warnAfter = 3 * time.Second
	// warningsMax is how many of them a message holds.
	warningsMax = 3
)

// read gathers the world for one look at the job.
func (r *Reconciler) read(ctx context.Context, job *v1alpha1.TrainJob) (*world, error) {
	w := &world{now: r.clock.Now(), job: job}
	if err := r.readCluster(ctx, w); err != nil {
		return nil, err
	}
	if err := r.readOwned(ctx, w); err != nil {
		return nil, err
	}
	if w.current() == nil && !job.Status.State.Done() {
		if err := r.readDatasets(ctx, w); err != nil {
			return nil, err
		}
	}
	if !job.Status.State.Done() {
		if err := r.readWarnings(ctx, w); err != nil {
			return nil, err
		}
		r.readProgress(ctx, w)
	}
	if n := r.noteOf(job); job.Status.State == v1alpha1.StatePublishing && succeeded(w.current()) && w.now.Sub(n.triedAt) >= r.cfg.Publish {
		w.outcome = r.publish(ctx, w)
		if w.outcome.err != nil {
			n.triedAt = w.now
		}
	}
	return w, nil
}

// readCluster reads what all jobs share.
func (r *Reconciler) readCluster(ctx context.Context, w *world) error {
	var runtimes v1alpha1.RuntimeList
	if err := r.client.List(ctx, &runtimes); err != nil {
		return fmt.Errorf("listing runtimes: %w", err)
	}
	for i := range runtimes.Items {
		w.runtimes = append(w.runtimes, runtimes.Items[i].Name)
		if runtimes.Items[i].Name == w.job.Spec.Runtime {
			w.runtime = &runtimes.Items[i]
		}
	}
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	w.nodes = nodes.Items
	labels, err := r.namespaceLabels(ctx, w.job)
	if err != nil {
		return err
	}
	w.queue = cmp.Or(w.job.Spec.Queue, labels[v1alpha1.LabelQueue])
	if w.job.Spec.Accelerators.Count > 0 && !w.job.Status.State.Done() {
		if err := r.readSupply(ctx, w); err != nil {
			return err
		}
		if err := r.readSpeeds(ctx, w); err != nil {
			return err
		}
		if r.cfg.Sandbox != "" {
			w.supply.Sandbox = cmp.Or(labels[v1alpha1.LabelSandbox], r.cfg.Sandbox)
		}
	}
	if workers(w.job) > 1 {
		known, err := r.gangs.known(r.client.RESTMapper(), w.now)
		if err != nil {
			return fmt.Errorf("asking the cluster for PodGroups: %w", err)
		}
		w.gangs = known
	}
	return nil
}

// readSupply reads what there is of devices.
func (r *Reconciler) readSupply(ctx context.Context, w *world) error {
	var published resourcev1.ResourceSliceList
	if err := r.client.List(ctx, &published); err != nil {
		return fmt.Errorf("listing resource slices: %w", err)
	}
	var rules resourcev1.DeviceTaintRuleList
	if err := r.client.List(ctx, &rules); err != nil {
		return fmt.Errorf("listing device taint rules: %w", err)
	}
	var claims resourcev1.ResourceClaimList
	if err := r.client.List(ctx, &claims); err != nil {
		return fmt.Errorf("listing resource claims: %w", err)
	}
	w.supply = workload.SupplyOf(published.Items, rules.Items, claims.Items, w.nodes)
	return nil
}

// namespaceLabels are those of the job's namespace, which name its queue and its
// sandbox; none once the job has ended.
func (r *Reconciler) namespaceLabels(ctx context.Context, job *v1alpha1.TrainJob) (map[string]string, error) {
	if job.Status.State.Done() {
		return nil, nil
	}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: job.Namespace}, &ns); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", job.Namespace, err)
	}
	return ns.Labels, nil
}

// gangMemory remembers whether the cluster serves PodGroups: for good if it
// does, for a while if not.
type gangMemory struct {
	mu    sync.Mutex
	yes   bool
	askAt time.Time
}

func (g *gangMemory) known(mapper apimeta.RESTMapper, now time.Time) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.yes || now.Before(g.askAt) {
		return g.yes, nil
	}
	kind := schema.GroupKind{Group: schedulingv1beta1.GroupName, Kind: "PodGroup"}
	_, err := mapper.RESTMapping(kind, schedulingv1beta1.SchemeGroupVersion.Version)
	if err != nil && !apimeta.IsNoMatchError(err) {
		return false, err
	}
	g.yes, g.askAt = err == nil, now.Add(gangMemoryFor)
	return g.yes, nil
}

// readOwned reads what bears the job's name. What the cache does not know and
// something hangs on is asked of the API server itself.
func (r *Reconciler) readOwned(ctx context.Context, w *world) error {
	ours := []client.ListOption{client.InNamespace(w.job.Namespace), client.MatchingLabels{v1alpha1.LabelTrainJob: w.job.Name}}
	var jobs batchv1.JobList
	if err := r.client.List(ctx, &jobs, ours...); err != nil {
		return fmt.Errorf("listing jobs: %w", err)
	}
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, ours...); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	w.jobs, w.pods = jobs.Items, pods.Items
	if err := r.readAttempt(ctx, w); err != nil {
		return err
	}
	var err error
	if w.service, err = lookup(ctx, r.client, w.job.Namespace, ServiceName(w.job.Name), &corev1.Service{}); err != nil {
		return err
	}
	if w.claim, err = lookup(ctx, r.client, w.job.Namespace, VolumeName(w.job.Name), &corev1.PersistentVolumeClaim{}); err != nil {
		return err
	}
	if w.claim == nil && (w.attempt() > 0 || w.job.Status.StartTime != nil) {
		w.claim, err = lookup(ctx, r.live, w.job.Namespace, VolumeName(w.job.Name), &corev1.PersistentVolumeClaim{})
	}
	return err
}

// readAttempt makes sure of the present attempt's Job: its pods may be seen
// before it is, and must not pass for leftovers; and its name may be taken.
func (r *Reconciler) readAttempt(ctx context.Context, w *world) error {
	if w.current() != nil || w.job.Status.State.Done() && len(w.pods) == 0 {
		return nil
	}
	j, err := lookup(ctx, r.live, w.job.Namespace, AttemptName(w.job.Name, w.attempt()), &batchv1.Job{})
	switch {
	case err != nil || j == nil:
		return err
	case owned(w.job, j):
		w.jobs = append(w.jobs, *j)
	case j.Labels[v1alpha1.LabelTrainJob] != w.job.Name:
		w.blocker = j // an earlier job's would be among w.jobs
	}
	return nil
}

// lookup returns an object, or nil if there is none.
func lookup[T client.Object](ctx context.Context, from client.Reader, namespace, name string, into T) (T, error) {
	var none T
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("reading %s/%s: %w", namespace, name, err)
	}
	return into, nil
}

// readWarnings reads why upstream controllers cannot make the job's pods or its
// volume: they say so in events alone.
func (r *Reconciler) readWarnings(ctx context.Context, w *world) error {
	j := w.current()
	if j == nil || finished(j) || w.now.Sub(j.CreationTimestamp.Time) < warnAfter {
		return nil
	}
	if int32(len(w.workers())) < workers(w.job) {
		if err := r.warningsAbout(ctx, w, j, "pods cannot be created"); err != nil {
			return err
		}
	}
	if w.claim != nil && w.claim.Status.Phase == corev1.ClaimPending {
		return r.warningsAbout(ctx, w, w.claim, "the volume cannot be made")
	}
	return nil
}

// warningsAbout adds the warnings about o, newest first.
func (r *Reconciler) warningsAbout(ctx context.Context, w *world, o client.Object, what string) error {
	var list corev1.EventList
	err := r.live.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingFields{"involvedObject.uid": string(o.GetUID())})
	if err != nil {
		return fmt.Errorf("listing events about %s: %w", o.GetName(), err)
	}
	var newest *corev1.Event
	for i := range list.Items {
		e := &list.Items[i]
		if e.Type == corev1.EventTypeWarning && e.Message != "" && (newest == nil || newest.LastTimestamp.Before(&e.LastTimestamp)) {
			newest = e
		}
	}
	if newest != nil && len(w.warnings) < warningsMax {
		w.warnings = append(w.warnings, fmt.Sprintf("%s: %s", what, clip(newest.Message, lastBytesMax)))
	}
	return nil
}

// readProgress reads on in the metrics file, at most once per cfg.Progress. It
// only informs, so what goes wrong is logged and left.
func (r *Reconciler) readProgress(ctx context.Context, w *world) {
	n := r.noteOf(w.job)
	if w.claim == nil || !owned(w.job, w.claim) || w.claim.Status.Phase != corev1.ClaimBound || len(w.workers()) == 0 {
		return
	}
	over := succeeded(w.current()) // then read to the end, once more
	if !over && w.now.Sub(n.readAt) < r.cfg.Progress {
		return
	}
	n.readAt = w.now
	root, err := r.volumes.Root(ctx, w.claim)
	if err != nil {
		r.log.DebugContext(ctx, "opening a job's volume", "namespace", w.job.Namespace, "job", w.job.Name, "error", err)
		return
	}
	defer root.Close()
	more := true
	for more && err == nil {
		more, err = n.tail.read(root, tailBytesMax)
		more = more && over
	}
	if err != nil {
		r.log.DebugContext(ctx, "reading a job's metrics", "namespace", w.job.Namespace, "job", w.job.Name, "error", err)
		return
	}
	s := n.tail.log.Summary()
	if s.Lines > 0 {
		r.gauges.set(client.ObjectKeyFromObject(w.job), &s)
	}
	if s.Corrupt > n.corrupt {
		r.events.Eventf(w.job, nil, corev1.EventTypeWarning, "CheckpointCorrupt", "Resume", "checkpoint %s is corrupt; the one before it is used", s.CorruptFile)
	}
	n.corrupt = s.Corrupt
	w.progress = &s
}

// readSpeeds reads what other jobs of the namespace have measured, while there still is
// something to choose.
func (r *Reconciler) readSpeeds(ctx context.Context, w *world) error {
	if w.job.Status.StartTime != nil {
		return nil
	}
	var all v1alpha1.TrainJobList
	if err := r.client.List(ctx, &all, client.InNamespace(w.job.Namespace)); err != nil {
		return fmt.Errorf("listing jobs like this one: %w", err)
	}
	w.supply.Faster = workload.Measured(w.job, all.Items).Faster
	return nil
}
