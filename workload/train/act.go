package train

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// hurrySeconds is the time a pod of a failed attempt has to end: what it did
// since the last checkpoint is lost anyway.
const hurrySeconds = 2

// act does what was decided. Every act may be repeated.
func (r *Reconciler) act(ctx context.Context, w *world, p *plan) error {
	for _, o := range p.remove {
		if err := r.remove(ctx, o, p.hurry); err != nil {
			return err
		}
	}
	for _, o := range p.create {
		if j, ok := o.(*batchv1.Job); ok {
			clear, err := r.clear(ctx, w, j)
			if err != nil || !clear {
				return err
			}
		}
		if err := r.client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
		if g, ok := o.(*schedulingv1beta1.PodGroup); ok && w.job.Spec.Topology.Required != "" && g.Spec.SchedulingConstraints == nil {
			return apierrors.NewBadRequest("topology.required: the API server drops it, because its feature gate TopologyAwareWorkloadScheduling is off; switch that on, or leave the field out")
		}
	}
	return nil
}

// remove deletes o, unless that is under way.
func (r *Reconciler) remove(ctx context.Context, o client.Object, hurry bool) error {
	opts := []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationBackground)}
	pod, isPod := o.(*corev1.Pod)
	if isPod && hurry {
		opts = append(opts, client.GracePeriodSeconds(hurrySeconds))
	}
	under := o.GetDeletionTimestamp() != nil
	if under && isPod && hurry {
		g := pod.DeletionGracePeriodSeconds
		under = g != nil && *g <= hurrySeconds
	}
	if under {
		return nil
	}
	if uid := o.GetUID(); uid != "" { // not one that came after it, of the same name
		opts = append(opts, client.Preconditions{UID: &uid})
	}
	err := r.client.Delete(ctx, o, opts...)
	if apierrors.IsConflict(err) {
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) && !apimeta.IsNoMatchError(err) {
		return fmt.Errorf("deleting %T %s: %w", o, o.GetName(), err)
	}
	return nil
}

// clear reports whether an attempt may begin, by what the API server says now
// rather than what the cache remembers: it is the attempt whose turn it is, its queue
// has admitted it, the volume is the job's own, and no worker of any other attempt is left.
func (r *Reconciler) clear(ctx context.Context, w *world, j *batchv1.Job) (bool, error) {
	var job v1alpha1.TrainJob
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(w.job), &job); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if job.UID != w.job.UID || job.DeletionTimestamp != nil || job.Status.State.Done() || job.Spec.Cancel ||
		AttemptName(job.Name, job.Status.Restarts) != j.Name || !admitted(&job, w.queue) {
		return false, nil
	}
	claim, err := lookup(ctx, r.live, job.Namespace, VolumeName(job.Name), &corev1.PersistentVolumeClaim{})
	if err != nil || claim == nil || !owned(&job, claim) || claim.DeletionTimestamp != nil {
		return false, err
	}
	var pods corev1.PodList
	err = r.live.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabels{v1alpha1.LabelTrainJob: job.Name})
	if err != nil {
		return false, fmt.Errorf("listing pods of train job %s/%s: %w", job.Namespace, job.Name, err)
	}
	return len(pods.Items) == 0, nil
}
