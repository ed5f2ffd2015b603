package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

func TestQueueRows(t *testing.T) {
	q := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: "vision"}, Spec: v1alpha1.QueueSpec{Parent: "lab", Weight: 3}}
	if d := cmp.Diff([][]string{{"vision", "lab", "3", "-", "-", "-", "-", "0", "0", "no"}}, queueRows(q)); d != "" {
		t.Errorf("before it was looked at (-want +got):\n%s", d)
	}
	q.Status = v1alpha1.QueueStatus{
		Pending: 4, Admitted: 2, Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}},
		Usage: []v1alpha1.QueueUsage{{Of: "GPUs", Nominal: "8", Used: "9", Borrowed: "1"}, {Of: "processors", Nominal: "64", Used: "2.5"}},
	}
	want := [][]string{
		{"vision", "lab", "3", "GPUs", "8", "9", "1", "4", "2", "yes"},
		{"", "", "", "processors", "64", "2.5", "-", "", "", ""},
	}
	if d := cmp.Diff(want, queueRows(q)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestQueuesAreListedByTree(t *testing.T) {
	var all []v1alpha1.Queue
	for _, q := range [][2]string{{"b", "a"}, {"x", "y"}, {"y", "x"}, {"z", ""}, {"a", ""}, {"c", "b"}, {"aa", "a"}} {
		all = append(all, v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: q[0]}, Spec: v1alpha1.QueueSpec{Parent: q[1]}})
	}
	var names []string
	for _, q := range byTree(all) {
		names = append(names, q.Name)
	}
	if d := cmp.Diff([]string{"a", "aa", "b", "c", "z"}, names[:5]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestJobsInAQueue(t *testing.T) {
	job := func(name, queue string, priority int32, state v1alpha1.State) v1alpha1.TrainJob {
		return v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TrainJobSpec{Priority: priority},
			Status: v1alpha1.TrainJobStatus{State: state, Queue: &v1alpha1.JobQueue{Name: queue, Message: "says " + name}}}
	}
	got := jobsIn([]v1alpha1.TrainJob{
		job("late", "q", 0, ""), job("urgent", "q", 5, v1alpha1.StateRunning), job("over", "q", 9, v1alpha1.StateFailed), job("other", "p", 9, ""), {},
	}, "q")
	want := [][]string{{"urgent", "Running", "5", "says urgent"}, {"late", "Pending", "0", "says late"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWhy(t *testing.T) {
	now := time.Unix(1e9, 0)
	off := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	}
	on := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}
	for name, tc := range map[string]struct {
		status v1alpha1.TrainJobStatus
		reason string
		says   string
	}{
		"nobody looked": {v1alpha1.TrainJobStatus{}, "Unseen", "Job j has not been looked at yet: if that lasts, `polder status` shows whether the controllers run."},
		"no runtime": {
			v1alpha1.TrainJobStatus{Conditions: []metav1.Condition{off("Accepted", "UnknownRuntime", "spec.runtime is wrong")}}, "UnknownRuntime", "Job j cannot run yet: spec.runtime is wrong.",
		},
		"in a queue": {
			v1alpha1.TrainJobStatus{Message: "waits", Queue: &v1alpha1.JobQueue{Name: "q"}, Conditions: []metav1.Condition{on, off("QuotaReserved", "QuotaExceeded", "2 too few")}},
			"QuotaExceeded", "Job j has waited for 60s in queue q: 2 too few.",
		},
		"no node": {
			v1alpha1.TrainJobStatus{Message: "it wants more\nthan there is", Conditions: []metav1.Condition{on, off("Running", "Unschedulable", "")}}, "Unschedulable", "Job j is Pending: it wants more.",
		},
		"runs":  {v1alpha1.TrainJobStatus{State: v1alpha1.StateRunning, Ready: 2}, "Running", "Job j runs, with 2 of 2 workers."},
		"ended": {v1alpha1.TrainJobStatus{State: v1alpha1.StateFailed, Message: "a worker died.\nlines"}, "Failed", "Job j has ended, Failed: a worker died."},
	} {
		j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Name: "j", CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))}, Spec: v1alpha1.TrainJobSpec{Workers: 2}, Status: tc.status}
		if got := because(j, now); got.Reason != tc.reason || got.Sentence != tc.says {
			t.Errorf("%s: %s: %s\nwant %s: %s", name, got.Reason, got.Sentence, tc.reason, tc.says)
		}
	}
}

func TestWhyOfKubernetes(t *testing.T) {
	now := time.Unix(1e9, 0)
	const note = `{"name":"q","admitted":false,"reason":"QuotaExceeded","message":"2 too few"}`
	for name, tc := range map[string]struct {
		queue, note, reason, says string
	}{
		"no queue": {"", "", "NoQueue", "job/j waits in no queue, because it has no label polder.dev/queue; `kubectl describe` tells more."},
		"unseen":   {"q", "", "Unseen", "Queue q has not looked at job/j yet: if that lasts, `polder status` shows whether the controllers run."},
		"waits":    {"q", note, "QuotaExceeded", "job/j has waited for 60s in queue q: 2 too few."},
		"admitted": {"q", `{"name":"q","admitted":true,"reason":"Admitted","message":"admitted by queue q"}`, "Admitted", "Queue q has admitted job/j: admitted by queue q."},
	} {
		o := &metav1.ObjectMeta{Name: "j", CreationTimestamp: metav1.NewTime(now.Add(-time.Minute)), Labels: map[string]string{}, Annotations: map[string]string{}}
		if tc.queue != "" {
			o.Labels[v1alpha1.LabelQueue] = tc.queue
		}
		if tc.note != "" {
			o.Annotations[v1alpha1.AnnotationQueue] = tc.note
		}
		if got := heldBecause("job/j", o, now); got.Reason != tc.reason || got.Sentence != tc.says {
			t.Errorf("%s: %s: %s\nwant %s: %s", name, got.Reason, got.Sentence, tc.reason, tc.says)
		}
	}
}
