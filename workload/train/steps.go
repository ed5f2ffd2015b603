package train

import (
	"strconv"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// plan is what one reconciliation decided: the status to write, and then what
// to do. Steps write it.
type plan struct {
	status v1alpha1.TrainJobStatus
	create []client.Object // in this order; the attempt's Job last
	remove []client.Object
	hurry  bool          // removed pods have nothing left to save
	mark   client.Object // that is to bear when the job last saved; nil: nothing
	again  time.Duration // look again after this; 0: when something changes
}

// step looks at the world and completes the plan. It returns true when nothing
// is left to decide.
type step func(w *world, p *plan, cfg *Config) (decided bool)

// steps in the order of their authority: what has ended stays so, what must end
// ends, what runs is watched, and only then is something started.
var steps = []step{outdated, ended, cancelled, overdue, accepted, completed, preempted, died, moving, imageless, volumeLost, drained, queued, started, observed}

// decide runs the steps.
func decide(w *world, cfg *Config) *plan {
	p := &plan{status: *w.job.Status.DeepCopy()}
	if p.status.State == "" {
		p.status.State = v1alpha1.StatePending
	}
	progressed(w, p)
	for _, s := range steps {
		if s(w, p, cfg) {
			break
		}
	}
	if left, ok := untilDeadline(w); ok && !p.status.State.Done() {
		p.look(max(left, time.Millisecond))
	}
	return p
}

// look asks for another look after d, or sooner if that was asked for already.
func (p *plan) look(d time.Duration) {
	if p.again == 0 || d < p.again {
		p.again = d
	}
}

// set writes a condition.
func (p *plan) set(w *world, kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&p.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: w.job.Generation, LastTransitionTime: metav1.NewTime(w.now),
	})
}

// end writes an end state.
func (p *plan) end(w *world, state v1alpha1.State, reason, message string) bool {
	kind := v1alpha1.ConditionFailed
	if state == v1alpha1.StateSucceeded {
		kind = v1alpha1.ConditionComplete
	}
	p.status.State, p.status.Message = state, message
	p.status.CompletionTime = &metav1.Time{Time: w.now}
	p.status.Ready = 0
	p.set(w, kind, metav1.ConditionTrue, reason, message)
	p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, reason, "")
	if apimeta.FindStatusCondition(p.status.Conditions, ConditionRestarting) != nil {
		p.set(w, ConditionRestarting, metav1.ConditionFalse, reason, "")
	}
	p.look(time.Millisecond) // to clean up after itself
	return true
}

// outdated waits when the status that was read is older than the objects: an
// attempt after its own is there, so what follows would be decided twice.
func outdated(w *world, p *plan, _ *Config) bool {
	newer := func(o client.Object) bool {
		n, err := strconv.Atoi(o.GetLabels()[LabelAttempt])
		return err == nil && n > int(w.attempt()) && o.GetLabels()[LabelUID] == string(w.job.UID)
	}
	for i := range w.jobs {
		if newer(&w.jobs[i]) {
			p.look(100 * time.Millisecond)
			return true
		}
	}
	for i := range w.pods {
		if newer(&w.pods[i]) {
			p.look(100 * time.Millisecond)
			return true
		}
	}
	return false
}
