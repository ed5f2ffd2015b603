package train

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// reasonPreempted is that of the conditions while a job makes room for others.
const reasonPreempted = "Preempted"

// queueLookEvery is how often a job that waits in a queue is looked at without a
// reason: its namespace may have lost the label that names the queue.
const queueLookEvery = time.Minute

// admitted reports whether the job may run, as far as queues go.
func admitted(job *v1alpha1.TrainJob, queue string) bool {
	q := job.Status.Queue
	return queue == "" || q != nil && q.Admitted && q.Name == queue
}

// deaths is how many attempts ended because a worker died.
func (w *world) deaths() int32 {
	return w.job.Status.Restarts - w.job.Status.Preemptions - w.job.Status.Moves
}

// preempted ends the present attempt when the queue wants its devices for others. That
// uses up no retries. A job whose queue has said nothing yet is left alone: it may have
// run before its namespace had a queue.
func preempted(w *world, p *plan, _ *Config) bool {
	q := w.job.Status.Queue
	if w.queue == "" || q == nil || q.Admitted || q.Name != w.queue || w.current() == nil || finished(w.current()) {
		return false
	}
	message := fmt.Sprintf("the job makes room for others: %s; it goes on from its latest checkpoint when queue %s admits it again", q.Message, q.Name)
	p.status.Restarts, p.status.Preemptions = w.attempt()+1, p.status.Preemptions+1
	p.status.State, p.status.Ready, p.status.Message = v1alpha1.StateRestarting, 0, message
	p.set(w, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, reasonPreempted, q.Message)
	p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, reasonPreempted, message)
	p.set(w, ConditionRestarting, metav1.ConditionTrue, reasonPreempted, message)
	p.look(time.Millisecond)
	return true
}

// queued waits until the job's queue has admitted it, with nothing created.
func queued(w *world, p *plan, _ *Config) bool {
	if w.current() != nil {
		return false
	}
	if w.queue == "" || admitted(w.job, w.queue) {
		since := waitsSince(w.job)
		if !since.IsZero() {
			p.status.QueuedSeconds += int64(w.now.Sub(since) / time.Second)
		}
		switch {
		case w.queue != "":
			p.set(w, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, "Admitted", w.job.Status.Queue.Message)
		case !since.IsZero():
			p.set(w, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, "NoQueue", "the job is in no queue any more")
		}
		return false
	}
	reason, message := "InQueue", fmt.Sprintf("queue %s has not looked at it yet", w.queue)
	if q := w.job.Status.Queue; q != nil && q.Name == w.queue {
		reason, message = q.Reason, q.Message
	}
	p.set(w, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, reason, message)
	p.status.State, p.status.Message = v1alpha1.StatePending, "waits in queue "+w.queue+": "+message
	p.look(queueLookEvery)
	return true
}

// waitsSince is since when the job has been waiting in its queue; zero if it is not.
func waitsSince(job *v1alpha1.TrainJob) time.Time {
	c := apimeta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionQuotaReserved)
	if c == nil || c.Status != metav1.ConditionFalse {
		return time.Time{}
	}
	return c.LastTransitionTime.Time
}

// inQueues is how long the job has waited in queues, now and before.
func inQueues(job *v1alpha1.TrainJob, now time.Time) time.Duration {
	d := time.Duration(job.Status.QueuedSeconds) * time.Second
	if since := waitsSince(job); !since.IsZero() {
		d += max(0, now.Sub(since))
	}
	return d
}
