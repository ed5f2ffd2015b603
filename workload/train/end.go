package train

import (
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// ended cleans up after a job that has ended: workers at once if they have to
// be stopped, everything else after keepSeconds.
func ended(w *world, p *plan, _ *Config) bool {
	if !p.status.State.Done() {
		return false
	}
	keep := int64(3600)
	if w.job.Spec.KeepSeconds != nil {
		keep = *w.job.Spec.KeepSeconds
	}
	until := w.now
	if t := p.status.CompletionTime; t != nil {
		until = t.Add(time.Duration(keep) * time.Second)
	}
	if left := until.Sub(w.now); left > 0 {
		p.look(left)
		if toStop(w) {
			p.remove = append(w.leftovers(), stoppable(w)...)
		}
		return true
	}
	p.remove = append(w.leftovers(), stoppable(w)...)
	pods := w.workers()
	for i := range pods {
		p.remove = append(p.remove, &pods[i])
	}
	if w.service != nil && owned(w.job, w.service) {
		p.remove = append(p.remove, w.service)
	}
	if w.claim != nil && owned(w.job, w.claim) {
		p.remove = append(p.remove, w.claim)
	}
	return true
}

// stoppable is the present attempt's Job and gang, if they are there.
func stoppable(w *world) []client.Object {
	if j := w.current(); j != nil {
		return w.withGang(j)
	}
	return nil
}

// toStop reports whether an ended job still has workers that nothing else will
// stop: a Job whose worker died stops the others itself, and its pods are kept
// for their logs.
func toStop(w *world) bool {
	if finished(w.current()) {
		return false
	}
	_, dead := firstDeath(w.job, w.current(), w.workers())
	return !dead || w.job.Status.State == v1alpha1.StateCancelled
}

// cancelled ends the job when its owner asked for it.
func cancelled(w *world, p *plan, _ *Config) bool {
	if !w.job.Spec.Cancel {
		return false
	}
	return p.end(w, v1alpha1.StateCancelled, "Cancelled", "cancelled by spec.cancel")
}

// overdue ends the job at its deadline.
func overdue(w *world, p *plan, _ *Config) bool {
	left, ok := untilDeadline(w)
	if !ok || left > 0 {
		return false
	}
	message := fmt.Sprintf("it did not end within spec.deadlineSeconds (%d): raise it or ask for less", w.job.Spec.DeadlineSeconds)
	if before := p.status.Message; before != "" {
		message += "; until then: " + before
	}
	return p.end(w, v1alpha1.StateFailed, "DeadlineExceeded", message)
}

// untilDeadline is the time left, to which waiting in a queue adds; ok is false when
// there is no deadline.
func untilDeadline(w *world) (left time.Duration, ok bool) {
	if w.job.Spec.DeadlineSeconds <= 0 {
		return 0, false
	}
	end := w.job.CreationTimestamp.Add(time.Duration(w.job.Spec.DeadlineSeconds)*time.Second + inQueues(w.job, w.now))
	return end.Sub(w.now), true
}
