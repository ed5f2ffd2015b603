package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	again  time.Duration // look again after this; 0: when something changes
}

// step looks at the world and completes the plan. It returns true when nothing
// is left to decide.
type step func(w *world, p *plan, cfg *Config) (decided bool)

// steps in the order of their authority: what has ended stays so, what must end
// ends, what runs is watched, and only then is something started.
var steps = []step{outdated, ended, cancelled, overdue, accepted, completed, died, imageless, volumeLost, drained, started, observed}

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

// untilDeadline is the time left; ok is false when there is no deadline.
func untilDeadline(w *world) (left time.Duration, ok bool) {
	if w.job.Spec.DeadlineSeconds <= 0 {
		return 0, false
	}
	end := w.job.CreationTimestamp.Add(time.Duration(w.job.Spec.DeadlineSeconds) * time.Second)
	return end.Sub(w.now), true
}

// accepted checks the spec against itself and the cluster. A job that cannot
// run yet waits with nothing created; one that can never run fails. A present
// attempt is not disturbed.
func accepted(w *world, p *plan, cfg *Config) bool {
	if w.current() != nil {
		return false
	}
	if err := invalid(w.job); err != nil {
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, "InvalidSpec", oneLine(err))
		return p.end(w, v1alpha1.StateFailed, "InvalidSpec", oneLine(err))
	}
	refuse := func(reason, message string) bool {
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, message)
		p.status.Message = message
		p.look(cfg.Wait)
		return true
	}
	if w.runtime == nil {
		known := "there are none"
		if len(w.runtimes) > 0 {
			known = "known are " + strings.Join(slices.Sorted(slices.Values(w.runtimes)), ", ")
		}
		return refuse("UnknownRuntime", fmt.Sprintf("spec.runtime %q is not a Runtime of this cloud; %s", w.job.Spec.Runtime, known))
	}
	if _, err := variantOf(w); err != nil {
		return refuse("NoVariant", err.Error())
	}
	if name, taken := foreign(w); taken {
		return refuse("NameTaken", name)
	}
	p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Valid", "")
	gang(w, p)
	return false
}

// variantOf picks the job's variant in this world.
func variantOf(w *world) (v1alpha1.RuntimeVariant, error) {
	if w.runtime == nil {
		return v1alpha1.RuntimeVariant{}, fmt.Errorf("there is no Runtime %q", w.job.Spec.Runtime)
	}
	return variant(w.runtime, w.job.Spec.Accelerators, w.nodes)
}

// foreign names an object that bears a name the job needs and is not the job's.
func foreign(w *world) (message string, taken bool) {
	check := func(kind string, o client.Object) {
		if taken || owned(w.job, o) {
			return
		}
		taken = true
		message = fmt.Sprintf("%s %s belongs to something else: delete it, or name the job differently", kind, o.GetName())
		if o.GetDeletionTimestamp() != nil || o.GetLabels()[v1alpha1.LabelTrainJob] == w.job.Name {
			message = fmt.Sprintf("%s %s of an earlier job of this name is being removed", kind, o.GetName())
		}
	}
	if w.claim != nil {
		check("volume claim", w.claim)
	}
	if w.service != nil {
		check("service", w.service)
	}
	if w.blocker != nil {
		check("job", w.blocker)
	}
	return message, taken
}

// gang says whether the workers are placed together.
func gang(w *world, p *plan) {
	if workers(w.job) < 2 {
		return
	}
	if w.gangs {
		p.set(w, ConditionGang, metav1.ConditionTrue, "PodGroup", "all workers are placed together, or none")
		return
	}
	p.set(w, ConditionGang, metav1.ConditionFalse, "NoPodGroups",
		"this cluster does not serve scheduling.k8s.io/v1beta1 PodGroups: workers are placed one by one and may wait for each other")
}

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
	if w.attempt() >= retries {
		if retries > 0 {
			message += fmt.Sprintf("; spec.retries (%d) are used up", retries)
		}
		return p.end(w, v1alpha1.StateFailed, "WorkerDied", message+last)
	}
	p.status.Restarts = w.attempt() + 1
	p.status.State, p.status.Ready = v1alpha1.StateRestarting, 0
	p.status.Message = fmt.Sprintf("%s; all workers start again from the latest checkpoint (%d of %d)%s", message, p.status.Restarts, retries, last)
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

// volumeLost ends a job whose checkpoints are gone: starting it on an empty
// volume would silently train from the beginning.
func volumeLost(w *world, p *plan, _ *Config) bool {
	ran := w.attempt() > 0 || w.job.Status.StartTime != nil
	if !ran || w.current() != nil {
		return false
	}
	if w.claim != nil && w.claim.DeletionTimestamp == nil && w.claim.Status.Phase != corev1.ClaimLost {
		return false
	}
	return p.end(w, v1alpha1.StateFailed, "VolumeLost",
		fmt.Sprintf("volume claim %s with the checkpoints is gone: submit the job again to train from the beginning", VolumeName(w.job.Name)))
}

// drained removes what is left of earlier attempts and waits until it is gone
// and the pause between attempts is over.
func drained(w *world, p *plan, cfg *Config) bool {
	if left := w.leftovers(); len(left) > 0 {
		p.remove, p.hurry = left, true
		p.look(cfg.Wait)
		return true
	}
	c := apimeta.FindStatusCondition(p.status.Conditions, ConditionRestarting)
	if c == nil || c.Status != metav1.ConditionTrue || w.current() != nil {
		return false
	}
	if left := c.LastTransitionTime.Add(pause(w.attempt(), cfg)).Sub(w.now); left > 0 {
		p.look(left)
		return true
	}
	return false
}

// pause before an attempt: doubled with each one, up to a limit.
func pause(attempt int32, cfg *Config) time.Duration {
	d := cfg.PauseMin
	for i := int32(1); i < attempt && d < cfg.PauseMax; i++ {
		d *= 2
	}
	return min(d, cfg.PauseMax)
}

// started creates what the present attempt lacks.
func started(w *world, p *plan, cfg *Config) bool {
	if w.current() != nil {
		return false
	}
	v, err := variantOf(w)
	if err != nil {
		return true // accepted has said so
	}
	if w.claim == nil {
		p.create = append(p.create, claimOf(w.job))
	}
	if w.service == nil {
		p.create = append(p.create, serviceOf(w.job))
	}
	together := w.gangs && workers(w.job) > 1
	if together {
		p.create = append(p.create, groupOf(w.job, w.attempt()))
	}
	image := reference(v.Image, v.Digest)
	if pinned := w.job.Status.Image; pinned != "" {
		image = pinned // all attempts run the same image
	}
	p.create = append(p.create, attemptOf(w.job, v, image, w.attempt(), together))
	p.look(cfg.Wait)
	return true
}
