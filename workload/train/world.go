package train

import (
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
	"polder.dev/polder/workload/train/metric"
)

// world is what one reconciliation saw. Steps read it and change nothing in it.
type world struct {
	now time.Time
	job *v1alpha1.TrainJob

	runtime  *v1alpha1.Runtime // nil: there is none by that name
	runtimes []string          // the names of all there are
	nodes    []corev1.Node
	gangs    bool // the cluster knows PodGroups
	supply   workload.Supply
	queue    string                       // that must admit the job; "": none
	datasets map[string]*v1alpha1.Dataset // that the job names, while nothing of it runs

	claim   *corev1.PersistentVolumeClaim // nil: none; may be another's
	service *corev1.Service               // nil: none; may be another's
	jobs    []batchv1.Job                 // attempts, of this or an earlier job of the name
	pods    []corev1.Pod                  // workers, of this or an earlier job of the name

	blocker  client.Object   // bears the attempt's name and is another's; nil: none does
	warnings []string        // why upstream controllers cannot go on
	progress *metric.Summary // nil: not read this time
	outcome  *outcome        // nil: publishing was not tried this time
}

// outcome of an attempt to publish.
type outcome struct {
	model *v1alpha1.ModelReference // nil: err says why
	err   error
}

// attempt is the number of the present attempt.
func (w *world) attempt() int32 { return w.job.Status.Restarts }

// current is the present attempt's Job, or nil.
func (w *world) current() *batchv1.Job {
	name := AttemptName(w.job.Name, w.attempt())
	i := slices.IndexFunc(w.jobs, func(j batchv1.Job) bool { return j.Name == name && owned(w.job, &j) })
	if i < 0 {
		return nil
	}
	return &w.jobs[i]
}

// workers are the present attempt's pods, by index.
func (w *world) workers() []corev1.Pod {
	j := w.current()
	if j == nil {
		return nil
	}
	var pods []corev1.Pod
	for _, p := range w.pods {
		if metav1.IsControlledBy(&p, j) {
			pods = append(pods, p)
		}
	}
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return index(&a) - index(&b) })
	return pods
}

// leftovers are Jobs and pods that are not the present attempt's: of an
// attempt before, or of an earlier job of the same name.
func (w *world) leftovers() []client.Object {
	var left []client.Object
	now := w.current()
	for i := range w.jobs {
		if now == nil || w.jobs[i].UID != now.UID {
			left = append(left, w.withGang(&w.jobs[i])...)
		}
	}
	for i := range w.pods {
		if now == nil || !metav1.IsControlledBy(&w.pods[i], now) {
			left = append(left, &w.pods[i])
		}
	}
	return left
}

// withGang is an attempt's Job, behind its PodGroup and the template of its claims,
// if it has them.
func (w *world) withGang(j *batchv1.Job) []client.Object {
	named := metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name}
	var out []client.Object
	if j.Spec.Template.Spec.SchedulingGroup != nil && w.gangs {
		out = append(out, &schedulingv1beta1.PodGroup{ObjectMeta: named})
	}
	if len(j.Spec.Template.Spec.ResourceClaims) > 0 {
		out = append(out, &resourcev1.ResourceClaimTemplate{ObjectMeta: named})
	}
	return append(out, j)
}

// owned reports whether the job controls o.
func owned(job *v1alpha1.TrainJob, o metav1.Object) bool { return metav1.IsControlledBy(o, job) }

// index of a worker; -1 when it has none.
func index(p *corev1.Pod) int {
	n, err := strconv.Atoi(p.Annotations[indexAnnotation])
	if err != nil {
		return -1
	}
	return n
}

// jobCondition reports whether j has the condition, and its message.
func jobCondition(j *batchv1.Job, types ...batchv1.JobConditionType) (bool, string) {
	if j == nil {
		return false, ""
	}
	for _, c := range j.Status.Conditions {
		if c.Status == corev1.ConditionTrue && slices.Contains(types, c.Type) {
			return true, c.Message
		}
	}
	return false, ""
}

// finished reports whether an attempt's Job has ended, either way.
func finished(j *batchv1.Job) bool {
	done, _ := jobCondition(j, batchv1.JobComplete, batchv1.JobFailed)
	return done
}

// succeeded reports whether all workers of an attempt ended well.
func succeeded(j *batchv1.Job) bool {
	done, _ := jobCondition(j, batchv1.JobComplete)
	return done
}
