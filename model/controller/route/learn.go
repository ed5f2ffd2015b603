package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"polder.dev/polder/api/v1alpha1"
	rules "polder.dev/polder/model/route"
)

// learn brings status.cascade of next up to date. retry says that a report could not be
// read now.
func (c *Controller) learn(ctx context.Context, w *world, next *v1alpha1.ModelRoute) (retry bool) {
	wait := func(reason, message string) { set(next, v1alpha1.ConditionLearned, false, reason, message+kept(next)) }
	e := w.evaluation
	name := w.learning.Learn.Evaluation
	switch {
	case e == nil:
		wait("NoEvaluation", fmt.Sprintf("There is no evaluation %s in namespace %s; make it with `polder evaluate`.", name, next.Namespace))
		return false
	case e.Status.State == v1alpha1.StateFailed:
		wait("EvaluationFailed", fmt.Sprintf("Evaluation %s has failed: %s; make another and name it.", name, strings.TrimSuffix(e.Status.Message, ".")))
		return false
	case e.Status.State != v1alpha1.StateSucceeded || e.Status.Report == nil:
		said := "."
		if m := strings.TrimSuffix(e.Status.Message, "."); m != "" { // such as what it waits for
			said = ": " + m + "."
		}
		wait("EvaluationRuns", fmt.Sprintf("Evaluation %s has not ended yet%s", name, said))
		return false
	case !strings.HasPrefix(e.Status.Report.Reference, "models/"+next.Namespace+"/") && !strings.HasPrefix(e.Status.Report.Reference, v1alpha1.ReportRepository(next.Namespace, name)+"@"):
		wait("ForeignReport", fmt.Sprintf("The report of evaluation %s is not of namespace %s.", name, next.Namespace))
		return false
	}
	pair, err := rules.PairOf(e, w.learning, w.service(w.learning.Specialist), w.service(w.learning.General))
	if err != nil {
		wait("OtherModels", upper(sentence(err.Error())))
		return false
	}
	lesson, err := c.lesson(ctx, w, pair)
	var unread *unreadError
	switch {
	case errors.As(err, &unread):
		wait("NoReport", fmt.Sprintf("The report of evaluation %s could not be read: %v.", name, unread.err))
		return true
	case err != nil:
		wait("CannotLearn", fmt.Sprintf("Nothing can be learned from evaluation %s: %s", name, sentence(err.Error())))
		return false
	}
	next.Status.Cascade = lesson.DeepCopy()
	w.say(next, pair)
	return false
}

// lessonKey is all that a lesson depends on.
type lessonKey struct {
	report, small, large string
	goal                 rules.Goal
	costs                rules.Costs
	specialist, general  string // services
}

// lessonsMax are remembered; learning again gives the same.
const lessonsMax = 10_000

// unreadError is a report that could not be read now.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }

// lesson learns a threshold, or remembers that it did.
func (c *Controller) lesson(ctx context.Context, w *world, p *rules.Pair) (*v1alpha1.CascadeStatus, error) {
	goal, err := rules.GoalOf(w.learning.Learn)
	if err != nil {
		return nil, err
	}
	compiled, _ := w.compiled.Learning()
	key := lessonKey{
		report: w.evaluation.Status.Report.Digest, small: p.Specialist.Name, large: p.General.Name, goal: goal, costs: w.compiled.CostsOf(compiled),
		specialist: w.service(w.learning.Specialist).Name, general: w.service(w.learning.General).Name,
	}
	c.mu.Lock()
	have := c.lessons[key]
	c.mu.Unlock()
	if have != nil {
		return have, nil
	}
	report, err := c.deps.Reports.Read(ctx, w.evaluation.Status.Report)
	if err != nil {
		return nil, &unreadError{err}
	}
	samples, err := rules.Samples(report, key.small, key.large)
	if err != nil {
		return nil, err
	}
	l, err := rules.Learn(samples, goal, key.costs, rules.Seed)
	if err != nil {
		return nil, err
	}
	have = statusOf(l, &key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lessons) >= lessonsMax {
		clear(c.lessons)
	}
	c.lessons[key] = have
	return have, nil
}

// kept says what is done meanwhile.
func kept(r *v1alpha1.ModelRoute) string {
	if r.Status.Cascade != nil {
		return " The threshold that was learned before stays in use."
	}
	return " Until then the general model answers everything."
}

// say sets the condition of a threshold that is learned, and says when services
// have come to serve something else than was judged.
func (w *world) say(next *v1alpha1.ModelRoute, p *rules.Pair) {
	if len(p.Changed) > 0 {
		set(next, v1alpha1.ConditionLearned, false, "ModelsChanged", fmt.Sprintf(
			"Evaluation %s has judged another version than %s serves now; evaluate again, and name that evaluation. The threshold that was learned stays in use.", w.evaluation.Name, strings.Join(p.Changed, ", ")))
		return
	}
	set(next, v1alpha1.ConditionLearned, true, "Learned", next.Status.Cascade.Verdict)
}

// statusOf is what was learned, in the API's words.
func statusOf(l *rules.Learned, key *lessonKey) *v1alpha1.CascadeStatus {
	found := func(q *rules.Quality) *v1alpha1.RouteQuality {
		out := &v1alpha1.RouteQuality{
			Quality: rules.Decimal(q.Quality), Low: rules.Decimal(q.Low), High: rules.Decimal(q.High), Escalation: rules.Decimal(q.Escalation.Value),
		}
		if q.Escalation.High != q.Escalation.Value {
			out.EscalationHigh = rules.Decimal(q.Escalation.High)
		}
		if q.Cost > 0 {
			out.Cost = rules.Decimal(q.Cost)
		}
		return out
	}
	return &v1alpha1.CascadeStatus{
		Threshold: rules.Decimal(l.Threshold), Specialist: key.specialist, General: key.general, Evaluation: key.report, Rows: int64(l.Rows),
		Disagreement: rules.Decimal(l.Disagreement.Value), DisagreementHigh: rules.Decimal(l.Disagreement.High),
		Expected: found(&l.Expected), Cheapest: found(&l.Cheapest), Strongest: found(&l.Strongest), Split: found(&l.Split), Verdict: l.Verdict,
	}
}
