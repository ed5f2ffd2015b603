package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/sched/census"
	"polder.dev/polder/sched/queue"
)

// Beside TrainJobs a queue holds what bears its label: a Job of batch/v1 is suspended
// until it is admitted, and again when it must make room; a pod that belongs to no Job
// has a scheduling gate, and is deleted when it must make room, since a gate cannot be
// put back. Admission (system/bootstrap) suspends and gates what is created, and lets
// nobody else change either. What was decided stands in an annotation.

// heldJob is a Job as an item; ok is false if it has ended.
func (w *world) heldJob(j *batchv1.Job) (i item, ok bool) {
	over := slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
	if over || j.DeletionTimestamp != nil {
		return item{}, false
	}
	n := int32(1)
	if p := j.Spec.Parallelism; p != nil {
		n = *p
	}
	if c := j.Spec.Completions; c != nil {
		n = min(n, *c)
	}
	i = heldItem(j, whatJob, idOfJob(j.Namespace, j.Name))
	i.live = j.Status.Active > 0 || j.Status.Terminating != nil && *j.Status.Terminating > 0
	i.tell = func(ctx context.Context, c client.Client, q *v1alpha1.JobQueue) error {
		note, err := annotation(q)
		if err != nil {
			return err
		}
		patch, err := json.Marshal(map[string]any{"metadata": note, "spec": map[string]any{"suspend": q != nil && !q.Admitted}})
		if err != nil {
			return err
		}
		return c.Patch(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name}}, client.RawPatch(types.MergePatchType, patch))
	}
	if n < 1 {
		i.wrong = "spec.parallelism is 0: raise it to at least 1"
		return i, true
	}
	w.ask(&i, &j.Spec.Template.Spec, int(n))
	return i, true
}

// heldPod is a pod that belongs to no Job as an item; ok is false if it has ended.
func (w *world) heldPod(p *corev1.Pod) (i item, ok bool) {
	if over(p) {
		return item{}, false
	}
	gated := slices.ContainsFunc(p.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.GateQueue })
	if gated && p.DeletionTimestamp != nil {
		return item{}, false // it never had anything
	}
	i = heldItem(p, whatPod, idOfPod(p.Namespace, p.Name))
	i.live, i.going = !gated, p.DeletionTimestamp != nil
	i.tell = func(ctx context.Context, c client.Client, q *v1alpha1.JobQueue) error { return tellPod(ctx, c, p, q) }
	w.ask(&i, &p.Spec, 1)
	return i, true
}

// tellPod writes an annotation, with it takes off the gate of a pod that is admitted,
// and deletes one that must make room.
func tellPod(ctx context.Context, c client.Client, p *corev1.Pod, q *v1alpha1.JobQueue) error {
	note, err := annotation(q)
	if err != nil {
		return err
	}
	change := map[string]any{"metadata": note}
	if q == nil || q.Admitted {
		change["spec"] = map[string]any{"schedulingGates": []any{map[string]any{"$patch": "delete", "name": v1alpha1.GateQueue}}}
	}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}}
	if err := c.Patch(ctx, o, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return err
	}
	if q != nil && q.Reason == reasonPreempted {
		return c.Delete(ctx, o, client.Preconditions{UID: &p.UID})
	}
	return nil
}

// annotation is the metadata that says what was decided.
func annotation(q *v1alpha1.JobQueue) (map[string]any, error) {
	if q == nil {
		return map[string]any{"annotations": map[string]any{v1alpha1.AnnotationQueue: nil}}, nil
	}
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	return map[string]any{"annotations": map[string]any{v1alpha1.AnnotationQueue: string(text)}}, nil
}

// heldItem is what a Job and a pod have in common.
func heldItem(o client.Object, what, id string) item {
	i := item{
		id: id, what: what, namespace: o.GetNamespace(), name: o.GetName(), uid: o.GetUID(), object: o,
		queue: o.GetLabels()[v1alpha1.LabelQueue], created: o.GetCreationTimestamp().Time,
	}
	var was v1alpha1.JobQueue
	if text := o.GetAnnotations()[v1alpha1.AnnotationQueue]; text != "" && json.Unmarshal([]byte(text), &was) == nil {
		i.was = &was
	}
	return i
}

// ask works out what n pods of a spec ask for together.
func (w *world) ask(i *item, spec *corev1.PodSpec, n int) {
	priority, err := priorityOf(i.object.GetLabels())
	if err != nil {
		i.wrong = err.Error()
		return
	}
	amounts := census.Amounts(spec)
	work := queue.Workload{Priority: priority, Created: i.created, PodSets: []queue.PodSet{{Count: n, CPU: amounts.CPU, Memory: amounts.Memory}}}
	devices, err := w.devices(i.namespace, spec)
	if err != nil {
		i.wrong = err.Error()
		return
	}
	for _, d := range devices {
		set := queue.PodSet{Count: n}
		if d.once {
			set.Count = 1
		}
		i.asks = append(i.asks, d)
		work.PodSets = append(work.PodSets, set)
	}
	i.ready = true
	i.work = func() queue.Workload { return work }
}

// priorityOf reads the label of something's priority.
func priorityOf(labels map[string]string) (int32, error) {
	text, ok := labels[v1alpha1.LabelPriority]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < -1000 || n > 1000 {
		return 0, fmt.Errorf("the label %s is %q: it must be a whole number from -1000 to 1000", v1alpha1.LabelPriority, text)
	}
	return int32(n), nil
}

// words are what the core says of an item.
func (i *item) words(s string) string {
	if i.what == whatTrain {
		return s
	}
	return inWords.Replace(s)
}

// inWords says of a Job or pod what the core says in the words of training jobs.
var inWords = strings.NewReplacer(
	"spec.workers and spec.accelerators ask", "its pods and their resource claims ask",
	"spec.accelerators asks", "its resource claims ask", "spec.queue \"", "the label "+v1alpha1.LabelQueue+" \"",
)

func idOfJob(namespace, name string) string { return "job:" + namespace + "/" + name }

func idOfPod(namespace, name string) string { return "pod:" + namespace + "/" + name }

// ownerOf is the id of the item that a labelled pod belongs to: the Job that made it,
// or else itself.
func ownerOf(p *corev1.Pod) string {
	if o := metav1.GetControllerOf(p); o != nil && o.Kind == "Job" {
		return idOfJob(p.Namespace, o.Name)
	}
	return idOfPod(p.Namespace, p.Name)
}

var errAll = errors.New("a resource claim asks for all devices of a node, which no queue can count: ask for a number")
