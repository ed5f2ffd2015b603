package train

import (
	"context"
	"fmt"
	"time"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// markEvery is the least time between two marks: jobs may save many times in a second.
const markEvery = 30 * time.Second

// saved has the workers' PodGroup, or the only worker, bear when the job last saved, for
// the scheduler, which reads no TrainJobs. Programs save with every epoch that they
// report. What an earlier attempt reported is older than the workers and changes nothing.
func saved(w *world, p *plan) {
	now, j, pods := p.status.Progress, w.current(), w.workers()
	switch {
	case now == nil || now.Time == nil || now.Epoch <= now.ResumedFrom:
	case j.Spec.Template.Spec.SchedulingGroup != nil:
		p.mark = &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name}}
	case len(pods) == 1 && pods[0].DeletionTimestamp == nil:
		p.mark = pods[0].DeepCopy()
	}
}

// mark writes it. What is gone needs none.
func (r *Reconciler) mark(ctx context.Context, w *world, p *plan) error {
	if p.mark == nil {
		return nil
	}
	n, at := r.noteOf(w.job), p.status.Progress.Time.Time
	if n.bearer == p.mark.GetName() && at.Sub(n.marked) < markEvery {
		return nil
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationSaved, at.UTC().Format(time.RFC3339))
	if err := r.client.Patch(ctx, p.mark, client.RawPatch(types.MergePatchType, patch)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("marking %s/%s with when its job saved: %w", p.mark.GetNamespace(), p.mark.GetName(), err)
	}
	n.marked, n.bearer = at, p.mark.GetName()
	return nil
}
