package train

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// decides plays the controller of Queues.
func (c *cluster) decides(name string, q v1alpha1.JobQueue) {
	c.t.Helper()
	job := c.job(name)
	old := job.DeepCopy()
	job.Status.Queue = &q
	c.must(c.client.Status().Patch(c.t.Context(), job, client.MergeFrom(old)))
	c.look(name)
}

func TestAJobWaitsForItsQueue(t *testing.T) {
	c := newCluster(t)
	job := digits(2)
	job.Spec.Queue, job.Spec.Retries = "vision", new(int32)
	c.submit(job)
	c.expect("digits", v1alpha1.StatePending, "waits in queue vision: queue vision has not looked at it yet")
	c.condition("digits", v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "InQueue")
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Reason: "QuotaExceeded", Message: "it needs 2 GPUs"})
	c.expect("digits", v1alpha1.StatePending, "waits in queue vision: it needs 2 GPUs")
	c.condition("digits", v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "QuotaExceeded")
	c.wait("digits", time.Hour)
	if n := c.attempts(); len(n) > 0 {
		t.Fatalf("%v started before the queue admitted the job", n)
	}
	if _, there := get(c, VolumeName("digits"), &corev1.PersistentVolumeClaim{}); there {
		t.Error("a job that waits has a volume")
	}
	c.decides("digits", v1alpha1.JobQueue{Name: "speech", Admitted: true, Reason: "Admitted"})
	if n := c.attempts(); len(n) > 0 {
		t.Fatalf("another queue's word started %v", n)
	}

	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	c.condition("digits", v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, "Admitted")
	c.runAll("digits", "digits-0")
	c.expect("digits", v1alpha1.StateRunning)

	// It must make room, and goes on when it is admitted again; that is no retry.
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Reason: reasonPreempted, Message: "queue vision had borrowed it"})
	c.condition("digits", v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, reasonPreempted)
	for _, p := range c.pods() {
		if p.DeletionTimestamp == nil {
			t.Fatalf("worker %s is left alone", p.Name)
		}
		if g := p.DeletionGracePeriodSeconds; g != nil && *g == hurrySeconds {
			t.Error("a worker that makes room has no time to save its work")
		}
	}
	c.reap()
	c.wait("digits", time.Hour)
	got := c.expect("digits", v1alpha1.StatePending, "waits in queue vision: queue vision had borrowed it")
	if got.Status.Restarts != 1 || got.Status.Preemptions != 1 || len(c.attempts()) > 0 {
		t.Fatalf("restarts %d, preemptions %d, attempts %v", got.Status.Restarts, got.Status.Preemptions, c.attempts())
	}
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	c.runAll("digits", "digits-1")
	c.expect("digits", v1alpha1.StateRunning)
	c.crash("digits", "digits-1")
	c.expect("digits", v1alpha1.StateFailed, "ended with exit code 1")
}

// TestTheNamespaceNamesTheQueue of jobs that name none; one that ran before is left
// alone until the queue says something.
func TestTheNamespaceNamesTheQueue(t *testing.T) {
	lab := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}
	c := newCluster(t, with(lab))
	c.submit(digits(1))
	c.runAll("digits", "digits-0")
	old := lab.DeepCopy()
	lab.Labels = map[string]string{v1alpha1.LabelQueue: "vision"}
	c.must(c.client.Patch(t.Context(), lab, client.MergeFrom(old)))
	c.wait("digits", time.Minute)
	c.expect("digits", v1alpha1.StateRunning)

	second := digits(1)
	second.Name = "second"
	c.submit(second)
	c.expect("second", v1alpha1.StatePending, "waits in queue vision")
	if slices.Contains(c.attempts(), "second-0") {
		t.Error("it started")
	}
}

// TestNothingStartsOnAnOldWord: what the cache remembers may be outdated.
func TestNothingStartsOnAnOldWord(t *testing.T) {
	c := newCluster(t)
	job := digits(1)
	job.Spec.Queue = "vision"
	c.submit(job)
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	j, ok := get(c, "digits-0", &batchv1.Job{})
	if !ok {
		t.Fatal("the job did not start")
	}
	c.must(c.client.Delete(t.Context(), j))
	w, err := c.r.read(t.Context(), c.job("digits"))
	c.must(err)
	for _, now := range []bool{true, false} {
		live := c.job("digits")
		live.Status.Queue.Admitted = now
		c.must(c.client.Status().Update(t.Context(), live))
		if ok, err := c.r.clear(t.Context(), w, j); err != nil || ok != now {
			t.Errorf("admitted %v: an attempt may begin: %v, %v", now, ok, err)
		}
	}
}

// TestWaitingDoesNotCount for the deadline, before the first attempt or between two.
func TestWaitingDoesNotCount(t *testing.T) {
	c := newCluster(t)
	job := digits(1)
	job.Spec.Queue, job.Spec.DeadlineSeconds = "vision", 100
	c.submit(job)
	c.wait("digits", time.Hour)
	c.expect("digits", v1alpha1.StatePending, "waits in queue vision")
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	if got := c.job("digits").Status.QueuedSeconds; got != 3600 {
		t.Errorf("it has waited for %d s", got)
	}
	c.runAll("digits", "digits-0")
	c.wait("digits", time.Minute)
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Reason: reasonPreempted, Message: "queue vision had borrowed it"})
	c.reap()
	c.wait("digits", time.Hour)
	c.expect("digits", v1alpha1.StatePending, "waits in queue vision")
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	c.runAll("digits", "digits-1")
	c.wait("digits", 39*time.Second)
	c.expect("digits", v1alpha1.StateRunning)
	c.wait("digits", time.Second)
	c.expect("digits", v1alpha1.StateFailed, "spec.deadlineSeconds (100)")
}
