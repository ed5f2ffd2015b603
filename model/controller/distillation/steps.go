package distillation

import (
	"fmt"
	"math"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/distil"
)

// deed is what is to be done after the status has been written.
type deed int

const (
	nothing deed = iota
	stop         // end what runs
	ask          // start the teacher's job
	teach        // start the student's
	judge        // start the evaluation
	enroll       // register the student
)

// plan is what one look decided.
type plan struct {
	status v1alpha1.DistillationStatus
	do     deed
	again  time.Duration // look again after this; 0: when something changes
}

// step looks at the world and completes the plan. It returns true when nothing is left to
// decide.
type step func(w *world, p *plan) (decided bool)

// steps in the order of their authority.
var steps = []step{ended, cancelled, valid, present, affordable, taught, learned, rewarded, judged, registered}

func decide(w *world) *plan {
	p := &plan{status: *w.d.Status.DeepCopy()}
	if p.status.State == "" {
		p.status.State = v1alpha1.StatePending
	}
	account(w, p)
	for _, s := range steps {
		if s(w, p) {
			break
		}
	}
	return p
}

// ended leaves alone what is over, but for jobs that have not heard of it.
func ended(w *world, p *plan) bool {
	if !w.d.Status.State.Done() {
		return false
	}
	if w.d.Status.State != v1alpha1.StateSucceeded && runs(w) {
		p.do, p.again = stop, lookRunning
	}
	return true
}

func cancelled(w *world, p *plan) bool {
	if !w.d.Spec.Cancel {
		return false
	}
	p.do = stop
	return p.end(w, v1alpha1.StateCancelled, "Cancelled", "it was cancelled; answers and models that were made by then are kept")
}

func valid(w *world, p *plan) bool {
	if w.invalid == nil {
		return false
	}
	p.do = stop
	return p.end(w, v1alpha1.StateFailed, "InvalidSpec", strings.ReplaceAll(w.invalid.Error(), "\n", "; "))
}

// present waits for what the distillation names.
func present(w *world, p *plan) bool {
	if w.missing != "" && w.student == nil {
		p.status.Message = w.missing
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, "NotFound", w.missing)
		p.again = lookWaiting
		return true
	}
	p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Accepted", "")
	if t := w.found.Teacher; t != nil && p.status.Teacher == nil {
		p.status.Teacher = &v1alpha1.ModelReference{Name: t.Name, Digest: t.Digest, Reference: t.Reference}
	}
	return false
}

// affordable ends what has used up its budget, and sees to it that the moment is not
// missed.
func affordable(w *world, p *plan) bool {
	budget, err := distil.Hours(w.d.Spec.Budget)
	if err != nil || math.IsInf(budget, 1) {
		return false
	}
	used, rate := spent(w)
	if used >= budget {
		p.do = stop
		kept := "distil again with a larger one"
		switch {
		case w.found.Answers != nil:
			kept += "; the teacher's answers are kept, and need not be given again"
		case distil.Taught(w.d) && w.d.Spec.CacheBucket != nil:
			kept += "; the answers that were given by then are in bucket " + w.d.Spec.CacheBucket.Name
		case distil.Taught(w.d):
			kept += "; answers under way are kept where cacheBucket names a bucket"
		}
		return p.end(w, v1alpha1.StateFailed, "BudgetSpent", fmt.Sprintf("the budget of %s accelerator-hours is used up: %s", w.d.Spec.Budget.AcceleratorHours, kept))
	}
	if rate > 0 {
		p.look(distil.Left(budget, used, rate) + 50*time.Millisecond)
	}
	return false
}

// taught sees to the teacher's answers.
func taught(w *world, p *plan) bool {
	if !distil.Taught(w.d) || w.student != nil {
		return false
	}
	if a := w.found.Answers; a != nil {
		if w.teacher == nil {
			p.stage(v1alpha1.DistillationStage{
				Name: distil.StageTeacher, State: v1alpha1.StateSucceeded, AcceleratorHours: distil.Format(0),
				Message: fmt.Sprintf("its answers were there already: %s, %s", a.Name, a.Digest),
			})
		}
		return false
	}
	p.status.Stage = distil.StageTeacher
	if w.teacher == nil {
		p.do, p.again = ask, lookRunning
		return p.run(w, "")
	}
	if over(w, p, w.teacher, "the teacher's answers", "the answers that it gave are kept where cacheBucket names a bucket") {
		return true
	}
	if w.teacher.Status.State == v1alpha1.StateSucceeded {
		return p.end(w, v1alpha1.StateFailed, "AnswersGone", "the teacher has answered, but its answers are not there any more; distil again")
	}
	return true
}

// learned sees to the student.
func learned(w *world, p *plan) bool {
	if w.student == nil {
		p.status.Stage = distil.StageStudent
		p.do, p.again = teach, lookRunning
		return p.run(w, "")
	}
	if w.student.Status.State != v1alpha1.StateSucceeded {
		p.status.Stage = distil.StageStudent
		return over(w, p, w.student, "the student", "the teacher's answers are kept")
	}
	ref := w.student.Status.Model
	if w.candidate == nil || ref == nil || w.candidate.Spec.Digest != ref.Digest {
		if w.output != nil && ref != nil && w.output.Spec.Digest == ref.Digest {
			return false // it was registered already
		}
		return p.end(w, v1alpha1.StateFailed, "StudentGone", fmt.Sprintf("the student has learned, but Model %s is not there any more, or is another; distil again", distil.CandidateName(w.d)))
	}
	if err := distil.Learned(w.candidate.Spec.Metrics); err != nil {
		return p.end(w, v1alpha1.StateFailed, "NotLearned", fmt.Sprintf("%s; it is not registered, and kept as Model %s", err, w.candidate.Name))
	}
	return false
}

// rewarded sees to what is required of a policy's rewards, which no evaluation can tell.
func rewarded(w *world, p *plan) bool {
	if w.d.Spec.Method != v1alpha1.MethodReinforce || w.candidate == nil {
		return false
	}
	verdict, unmet := distil.Rewarded(w.d, w.candidate.Spec.Metrics)
	if !distil.Judged(w.d) {
		p.status.Verdict = verdict
	}
	if len(unmet) == 0 {
		return false
	}
	kept := fmt.Sprintf("; the student is not registered, and kept as Model %s", distil.CandidateName(w.d))
	return p.end(w, v1alpha1.StateFailed, "RequirementsUnmet", clip(strings.Join(unmet, " "))+kept)
}

// judged sees to the evaluation.
func judged(w *world, p *plan) bool {
	if !distil.Judged(w.d) {
		return false
	}
	p.status.Stage = distil.StageEvaluation
	e := w.evaluation
	if e == nil {
		p.do, p.again = judge, lookRunning
		return p.run(w, "")
	}
	p.status.Evaluation, p.status.Verdict = e.Name, e.Status.Verdict
	kept := fmt.Sprintf("; the student is not registered, and kept as Model %s", distil.CandidateName(w.d))
	switch {
	case e.Status.State == v1alpha1.StateFailed:
		return p.end(w, v1alpha1.StateFailed, "EvaluationFailed", "the student could not be judged: "+clip(e.Status.Message)+kept)
	case e.Status.State != v1alpha1.StateSucceeded:
		p.look(lookRunning)
		return p.run(w, e.Status.Message)
	case !e.Status.Passed:
		return p.end(w, v1alpha1.StateFailed, "RequirementsUnmet", clip(strings.Join(e.Status.Unmet, " "))+kept)
	}
	return false
}

// registered ends it when the student has its name.
func registered(w *world, p *plan) bool {
	ref := w.student.Status.Model
	if w.output == nil || w.output.Spec.Digest != ref.Digest {
		p.do, p.again = enroll, 100*time.Millisecond
		return true
	}
	p.status.Model = &v1alpha1.ModelReference{Name: w.output.Name, Digest: ref.Digest, Reference: w.output.Spec.Reference}
	return p.end(w, v1alpha1.StateSucceeded, "Complete", or(p.status.Verdict, "the student is registered"))
}

// over ends the distillation if j has ended otherwise than well.
func over(w *world, p *plan, j *v1alpha1.TrainJob, what, kept string) bool {
	switch j.Status.State {
	case v1alpha1.StateFailed, v1alpha1.StateCancelled:
		why := or(j.Status.Message, "its job was cancelled")
		return p.end(w, v1alpha1.StateFailed, "JobFailed", fmt.Sprintf("job %s (%s) ended: %s\n%s", j.Name, what, clip(why), kept))
	case v1alpha1.StateSucceeded:
		return false
	}
	p.look(lookRunning)
	return p.run(w, j.Status.Message)
}

// run says that it goes on.
func (p *plan) run(w *world, message string) bool {
	p.status.State, p.status.Message = v1alpha1.StateRunning, clip(message)
	if p.status.StartTime == nil {
		p.status.StartTime = &metav1.Time{Time: w.now}
	}
	return true
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
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: w.d.Generation, LastTransitionTime: metav1.NewTime(w.now),
	})
}

// end writes an end state.
func (p *plan) end(w *world, state v1alpha1.State, reason, message string) bool {
	kind := v1alpha1.ConditionFailed
	if state == v1alpha1.StateSucceeded {
		kind = v1alpha1.ConditionComplete
	}
	p.status.State, p.status.Message, p.status.Stage = state, message, ""
	p.status.CompletionTime = &metav1.Time{Time: w.now}
	p.set(w, kind, metav1.ConditionTrue, reason, message)
	p.look(lookRunning) // whether what ran has ended
	return true
}

// runs reports whether something of the distillation goes on.
func runs(w *world) bool {
	for _, j := range []*v1alpha1.TrainJob{w.teacher, w.student} {
		if j != nil && !j.Status.State.Done() {
			return true
		}
	}
	return w.evaluation != nil && !w.evaluation.Status.State.Done()
}

// clip cuts a message to what a status should hold.
func clip(s string) string {
	const bytesMax = 900
	s = strings.TrimSpace(s)
	if len(s) > bytesMax {
		return strings.ToValidUTF8(s[:bytesMax], "") + "..."
	}
	return s
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
