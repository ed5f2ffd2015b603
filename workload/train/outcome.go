package train

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// completed publishes what all workers finished, and ends the job with it.
func completed(w *world, p *plan, cfg *Config) bool {
	if !succeeded(w.current()) {
		return false
	}
	p.status.Ready = 0
	p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, "WorkersEnded", "")
	o := w.outcome
	switch {
	case o == nil:
		if p.status.State != v1alpha1.StatePublishing {
			p.status.State, p.status.Message = v1alpha1.StatePublishing, "all workers ended well; the output is becoming a model"
			p.look(time.Millisecond)
		}
		p.look(cfg.Publish)
	case o.model != nil:
		p.status.Model = o.model
		return p.end(w, v1alpha1.StateSucceeded, "Published", fmt.Sprintf("model %s, %s", o.model.Name, o.model.Digest))
	case final(o.err):
		return p.end(w, v1alpha1.StateFailed, "EmptyOutput", o.err.Error())
	default:
		p.status.Message = "the model cannot be published yet: " + clip(o.err.Error(), lastBytesMax)
		p.look(cfg.Publish)
	}
	return true
}

// died counts a dead worker: the next attempt begins, or the job ends.
func died(w *world, p *plan, _ *Config) bool {
	d, dead := firstDeath(w.job, w.current(), w.workers())
	if !dead {
		return false
	}
	retries := int32(3)
	if w.job.Spec.Retries != nil {
		retries = *w.job.Spec.Retries
	}
	message := d.sentence(workers(w.job))
	last := ""
	if lines := d.lines(); lines != "" {
		last = "; its last lines:\n" + lines
	}
	if w.deaths() >= retries {
		if retries > 0 {
			message += fmt.Sprintf("; spec.retries (%d) are used up", retries)
		}
		return p.end(w, v1alpha1.StateFailed, "WorkerDied", message+last)
	}
	p.status.Restarts = w.attempt() + 1
	p.status.State, p.status.Ready = v1alpha1.StateRestarting, 0
	p.status.Message = fmt.Sprintf("%s; all workers start again from the latest checkpoint (%d of %d)%s", message, w.deaths()+1, retries, last)
	p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, "WorkerDied", message)
	p.set(w, ConditionRestarting, metav1.ConditionTrue, "WorkerDied", message)
	p.look(time.Millisecond)
	return true
}

// imageless ends a job whose image will never come.
func imageless(w *world, p *plan, cfg *Config) bool {
	message, certain := unpullable(w, cfg.ImagePatience)
	if !certain {
		return false
	}
	return p.end(w, v1alpha1.StateFailed, "ImageNotFound", message)
}
