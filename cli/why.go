package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) why() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "why JOB | job/NAME | pod/NAME",
		Short:             "Say in a sentence why a training job, or a Job or pod of Kubernetes, does not run yet",
		Args:              exactly("JOB"),
		ValidArgsFunction: o.completeJobs,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		a, err := answerTo(cmd.Context(), c, args[0], time.Now())
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), a)
		}
		fmt.Fprintln(cmd.OutOrStdout(), a.Sentence)
		return nil
	}
	return o.flags(cmd, "json")
}

// answerTo says why that does not run which name names.
func answerTo(ctx context.Context, c *kube.Client, name string, now time.Time) (answer, error) {
	kind, of, found := strings.Cut(name, "/")
	if !found {
		j, err := findJob(ctx, c, name)
		if err != nil {
			return answer{}, err
		}
		return because(j, now), nil
	}
	var o kube.Object
	switch kind {
	case "job":
		o = &batchv1.Job{}
	case "pod":
		o = &corev1.Pod{}
	default:
		return answer{}, usage.Errorf("%q is of no kind that a queue holds: write JOB for a training job, job/NAME or pod/NAME", name)
	}
	err := c.Get(ctx, kube.Key(c.Namespace, of), o)
	if apierrors.IsNotFound(err) {
		return answer{}, usage.Errorf("there is no %s %s in namespace %s", kind, of, c.Namespace)
	}
	if err != nil {
		return answer{}, fmt.Errorf("reading %s %s: %w", kind, of, err)
	}
	return heldBecause(name, o, now), nil
}

// heldBecause reads from what a queue has noted on a Job or pod why it does not run.
func heldBecause(name string, o metav1.Object, now time.Time) answer {
	a := answer{Job: name, Queue: o.GetLabels()[v1alpha1.LabelQueue]}
	say := func(reason, format string, args ...any) answer {
		a.Reason, a.Sentence = reason, strings.TrimSuffix(fmt.Sprintf(format, args...), ".")+"."
		return a
	}
	if a.Queue == "" {
		return say("NoQueue", "%s waits in no queue, because it has no label %s; `kubectl describe` tells more", name, v1alpha1.LabelQueue)
	}
	q, ok := queueNote(o)
	if !ok {
		return say("Unseen", "Queue %s has not looked at %s yet: if that lasts, `polder status` shows whether the controllers run", a.Queue, name)
	}
	a.Expected = q.Expected
	if q.Admitted {
		return say(q.Reason, "Queue %s has admitted %s: %s", a.Queue, name, q.Message)
	}
	return say(q.Reason, "%s has waited for %s in queue %s: %s", name, term.Age(o.GetCreationTimestamp().Time, now), a.Queue, q.Message)
}

// queueNote is what a queue has decided of a Job or pod.
func queueNote(o metav1.Object) (v1alpha1.JobQueue, bool) {
	var q v1alpha1.JobQueue
	text := o.GetAnnotations()[v1alpha1.AnnotationQueue]
	return q, text != "" && json.Unmarshal([]byte(text), &q) == nil
}

// heldIn are rows of the Jobs and pods of Kubernetes in a queue.
func heldIn(ctx context.Context, c *kube.Client, queue string) ([][]string, error) {
	in := []kube.ListOption{kube.InNamespace(c.Namespace), kube.Labelled(map[string]string{v1alpha1.LabelQueue: queue})}
	var jobs batchv1.JobList
	var pods corev1.PodList
	for _, l := range []kube.ObjectList{&jobs, &pods} {
		if err := c.List(ctx, l, in...); err != nil {
			return nil, fmt.Errorf("listing what is in queue %s: %w", queue, err)
		}
	}
	var rows [][]string
	add := func(kind, state string, o metav1.Object) {
		if q, ok := queueNote(o); ok {
			if !q.Admitted {
				state = "Held"
			}
			rows = append(rows, []string{kind + "/" + o.GetName(), state, cmp.Or(o.GetLabels()[v1alpha1.LabelPriority], "0"), q.Message})
		}
	}
	for i := range jobs.Items {
		if j := &jobs.Items[i]; j.Status.CompletionTime == nil {
			add("job", "Admitted", j)
		}
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			add("pod", string(p.Status.Phase), p)
		}
	}
	return rows, nil
}

// answer is what `polder why` says.
type answer struct {
	Job      string         `json:"job"`
	State    v1alpha1.State `json:"state,omitempty"`
	Reason   string         `json:"reason"`
	Queue    string         `json:"queue,omitempty"`
	Expected *metav1.Time   `json:"expected,omitempty"`
	Sentence string         `json:"sentence"`
}

// because reads from a job's conditions why it does not run.
func because(j *v1alpha1.TrainJob, now time.Time) answer {
	a := answer{Job: j.Name, State: v1alpha1.State(state(j))}
	is := func(kind string) *metav1.Condition { return apimeta.FindStatusCondition(j.Status.Conditions, kind) }
	off := func(kind string) bool { c := is(kind); return c != nil && c.Status == metav1.ConditionFalse }
	message, _, _ := strings.Cut(j.Status.Message, "\n")
	say := func(reason, format string, args ...any) answer {
		a.Reason, a.Sentence = reason, strings.TrimSuffix(fmt.Sprintf(format, args...), ".")+"."
		return a
	}
	switch {
	case j.Status.State.Done():
		return say(string(j.Status.State), "Job %s has ended, %s: %s", j.Name, j.Status.State, message)
	case off(v1alpha1.ConditionAccepted):
		return say(is(v1alpha1.ConditionAccepted).Reason, "Job %s cannot run yet: %s", j.Name, is(v1alpha1.ConditionAccepted).Message)
	case off(v1alpha1.ConditionQuotaReserved):
		c := is(v1alpha1.ConditionQuotaReserved)
		in := "its queue"
		if q := j.Status.Queue; q != nil {
			a.Queue, a.Expected, in = q.Name, q.Expected, "queue "+q.Name
		}
		return say(c.Reason, "Job %s has waited for %s in %s: %s", j.Name, term.Age(j.CreationTimestamp.Time, now), in, c.Message)
	case j.Status.State == v1alpha1.StateRunning:
		return say("Running", "Job %s runs, with %d of %d workers", j.Name, j.Status.Ready, j.Spec.Workers)
	case message != "":
		reason := a.State
		if c := is(v1alpha1.ConditionRunning); c != nil && c.Reason != "" {
			return say(c.Reason, "Job %s is %s: %s", j.Name, reason, message)
		}
		return say(string(reason), "Job %s is %s: %s", j.Name, reason, message)
	}
	return say("Unseen", "Job %s has not been looked at yet: if that lasts, `polder status` shows whether the controllers run", j.Name)
}
