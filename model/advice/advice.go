// Package advice says whether a specialist is worth it: a small model for this one task, a
// general one, or a cascade of both, and why, by what is known. It is pure: facts come in,
// reasons with their numbers go out. What is not known is said not to be known, and what
// an advice rests on is told with it; it never runs or measures anything.
package advice

import (
	"fmt"
	"math"
)

// Choice is what is advised.
type Choice string

// The choices.
const (
	// Specialist alone does it.
	Specialist Choice = "specialist"
	// General alone does it; a specialist is not worth it.
	General Choice = "general"
	// Cascade: the specialist answers what it is sure of, the general model the rest.
	Cascade Choice = "cascade"
	// Distil a specialist from a general model first.
	Distil Choice = "distil"
	// Train a specialist from labels first; a teacher adds nothing.
	Train Choice = "train"
	// Label more rows first, or there is nothing to judge by.
	Label Choice = "label"
	// Evaluate first: models are there, and nobody knows how good they are.
	Evaluate Choice = "evaluate"
)

// Unknown is the number of what is not known.
const Unknown = -1

// Facts are what is known.
type Facts struct {
	// Rows there are, Labelled how many of them have labels, Held how many of these are kept
	// to judge by, and Classes how many labels there are; Unknown where it is not known.
	Rows, Labelled, Held, Classes int64
	// Data is the file that they were counted in; empty if there was none.
	Data string
	// Teacher: there is a model or endpoint that does the task already.
	Teacher bool
	// Pair: a specialist and a general model that were judged on the same rows.
	Pair *Pair
	// Route: a cascade of both that was learned.
	Route *Route
	// PerDay is how many requests there are; Unknown, or 0 where there are none yet.
	PerDay float64
	// Hours are accelerator-hours that making the specialist has used or may use; Unknown.
	Hours float64
}

// Pair is what an evaluation says.
type Pair struct {
	Evaluation, Specialist, General, Metric string
	// Quality of both, and the difference with its interval of 95 %: specialist minus general.
	Quality               [2]float64
	Difference, Low, High float64
	// Verdict of the comparison: better, worse or none.
	Verdict string
	// Seconds at the median, and cost of 1,000 requests, of both; Unknown.
	Seconds, Cost [2]float64
	// Margins: the report says of each row how sure the specialist was, so a threshold can
	// be learned.
	Margins bool
}

// Route is what was learned of a cascade.
type Route struct {
	Name string
	// Quality and Escalation that are expected, and Mix: the quality of the best fixed mix at
	// the same cost.
	Quality, Escalation, Mix float64
	// Verdict: the cascade is better than the mix, worse, or none.
	Verdict string
}

// Advice is a choice and why.
type Advice struct {
	Choice Choice `json:"choice"`
	// Summary in a sentence.
	Summary string `json:"summary"`
	// Reasons, the strongest first, with the numbers that were used.
	Reasons []string `json:"reasons"`
	// Next is what to do now, as a command where there is one.
	Next string `json:"next,omitempty"`
	// Unknown is what would change it, if it were known.
	Unknown []string `json:"unknown,omitempty"`
}

// Give gives the advice.
func Give(f Facts) Advice {
	var a Advice
	switch {
	case f.Pair != nil:
		a = compare(f)
	default:
		a = beforehand(f)
	}
	worth(&a, f)
	return a
}

// compare advises by an evaluation of both.
func compare(f Facts) Advice {
	p := f.Pair
	base := fmt.Sprintf("%s: %s of %s is %.4g, of %s %.4g; the difference is %+.4g (95 %%: %+.4g to %+.4g)",
		p.Evaluation, p.Metric, p.Specialist, p.Quality[0], p.General, p.Quality[1], p.Difference, p.Low, p.High)
	a := Advice{Reasons: []string{base}}
	switch p.Verdict {
	case "better":
		a.Choice, a.Summary = Specialist, fmt.Sprintf("%s is significantly better than %s at this task: use it alone.", p.Specialist, p.General)
	case "none":
		a.Choice, a.Summary = Specialist, fmt.Sprintf("No significant difference between %s and %s: use the smaller one.", p.Specialist, p.General)
		a.Reasons = append(a.Reasons, fmt.Sprintf("a difference as large as %.4g either way cannot be ruled out by these rows", max(math.Abs(p.Low), math.Abs(p.High))))
	default:
		return cascade(f, a)
	}
	if p.Cost[0] > p.Cost[1] && p.Cost[1] > 0 {
		a.Choice, a.Summary = General, fmt.Sprintf("%s costs more than %s and is not significantly better: use %s.", p.Specialist, p.General, p.General)
		if p.Verdict == "better" {
			a.Choice, a.Summary = Specialist, fmt.Sprintf("%s is significantly better than %s, at a higher cost: whether that is worth it only you can say.", p.Specialist, p.General)
		}
	}
	a.Next = fmt.Sprintf("polder model promote %s production", p.Specialist)
	if a.Choice == General {
		a.Next = ""
	}
	return a
}

// cascade advises where the specialist alone is significantly worse.
func cascade(f Facts, a Advice) Advice {
	p := f.Pair
	a.Reasons = append(a.Reasons, "the specialist alone is significantly worse")
	switch r := f.Route; {
	case r != nil && r.Verdict == "better":
		a.Choice = Cascade
		a.Summary = fmt.Sprintf("Use both: %s answers what it is sure of, and %.0f %% of the requests go on to %s.", p.Specialist, 100*r.Escalation, p.General)
		a.Reasons = append(a.Reasons, fmt.Sprintf("route %s: quality %.4g is expected at %.1f %% escalation, the best fixed mix at the same cost has %.4g", r.Name, r.Quality, 100*r.Escalation, r.Mix))
	case r != nil:
		a.Choice = General
		a.Summary = fmt.Sprintf("Use %s: a cascade is not better than sending a fixed part of the requests to each.", p.General)
		a.Reasons = append(a.Reasons, fmt.Sprintf("route %s: quality %.4g is expected at %.1f %% escalation, and the best fixed mix at the same cost has %.4g", r.Name, r.Quality, 100*r.Escalation, r.Mix))
	case p.Margins:
		a.Choice = Cascade
		a.Summary = fmt.Sprintf("%s alone is not good enough; a cascade may be. Learn its threshold and see whether it beats a fixed mix.", p.Specialist)
		a.Next = fmt.Sprintf("polder route learn ROUTE %s --dry-run", p.Evaluation)
		a.Unknown = append(a.Unknown, "how many requests the specialist is sure of: no route has been learned from this evaluation")
	default:
		a.Choice = General
		a.Summary = fmt.Sprintf("Use %s: %s is significantly worse, and does not say how sure it is, so a cascade cannot be told when to ask on.", p.General, p.Specialist)
	}
	return a
}

// Bounds by which data is judged beforehand.
const (
	// perClassMin labelled rows of each class are too few to learn from: with 5 a class a
	// small model on 8x8 digits was right in 0.76 of cases, with 20 in 0.93, with 144 in 0.98
	// (bench/README.md).
	perClassMin = 20
	// perClassEnough are enough that a teacher adds nothing.
	perClassEnough = 100
	// heldMin rows to judge by tell qualities apart that differ by a tenth, and no finer.
	heldMin = 100
)

// beforehand advises by the data, where no specialist has been judged yet.
func beforehand(f Facts) Advice {
	if f.Labelled == Unknown {
		a := Advice{Choice: Evaluate, Summary: "Nothing is known that an advice could rest on."}
		a.Unknown = []string{"how many rows have labels: give --data FILE.csv, or --rows and --labels", "how good the models are: `polder evaluate` judges them"}
		return a
	}
	held := f.Held
	if held == Unknown {
		held = f.Labelled / 5
	}
	a := Advice{Reasons: []string{judging(held)}}
	classes := max(f.Classes, 1)
	if f.Classes == Unknown {
		classes = 2
		a.Unknown = append(a.Unknown, "how many labels there are; two are assumed")
	}
	per := (f.Labelled - held) / classes
	counted := fmt.Sprintf("%d rows have labels; without those to judge by that is %d of each of %d labels", f.Labelled, per, classes)
	unlabelled := max(0, f.Rows-f.Labelled)
	switch {
	case held < heldMin:
		a.Choice, a.Summary = Label, fmt.Sprintf("You have too few labels: with %d rows to judge by nobody can say whether a specialist is good enough.", held)
		a.Next = fmt.Sprintf("label %d more rows, kept apart to judge by", heldMin-held)
	case per >= perClassEnough && unlabelled < f.Labelled/2:
		a.Choice, a.Summary = Train, "Distillation will not help: you have all labels. Train a specialist from them."
		a.Reasons = append(a.Reasons, counted, "with all labels a small model of 8x8 digits was right in 0.978 of cases, and taught by a large one instead in 0.978, too: where labels are there a teacher adds nothing")
		a.Next = begin(f.Data)
	case f.Teacher:
		a.Choice, a.Summary = Distil, "Distil a specialist: a model that does the task can answer rows that have no labels."
		a.Reasons = append(a.Reasons, counted, fmt.Sprintf("%d rows have none", unlabelled),
			"a small model of 8x8 digits was right in 0.76 of cases with 50 labels, in 0.93 with 200, and in 0.978 with none, from a teacher's answers to 1,438 rows and others made of them")
		a.Next = "polder distil run DIR --plan"
	case per < perClassMin:
		a.Choice, a.Summary = Label, "You have too few labels to train by, and no model that could teach instead: label more, or use a general model."
		a.Reasons = append(a.Reasons, counted)
		a.Next = fmt.Sprintf("label until there are %d of each, or name a teacher with --teacher", perClassMin)
	default:
		a.Choice, a.Summary = Train, "Train a specialist from the labels there are, and compare it with the simple controls."
		a.Reasons = append(a.Reasons, counted)
		a.Next = begin(f.Data)
	}
	return a
}

// begin is how a model is begun from labels.
func begin(data string) string {
	if data == "" {
		data = "FILE.csv"
	}
	return fmt.Sprintf("polder init risk NAME --data %s, or polder init forecast NAME --data %s", data, data)
}

// judging says how fine so many rows can tell.
func judging(n int64) string {
	if n <= 0 {
		return "no row is kept to judge by"
	}
	const z, near = 1.96, 0.9
	wide := z * math.Sqrt(near*(1-near)/float64(n))
	return fmt.Sprintf("%d rows to judge by tell an accuracy near %.1f to within %.3f either way (95 %%)", n, near, wide)
}

// worth tells what is saved.
func worth(a *Advice, f Facts) {
	p := f.Pair
	if p == nil {
		return
	}
	if p.Seconds[0] > 0 && p.Seconds[1] > 0 {
		a.Reasons = append(a.Reasons, fmt.Sprintf("an answer takes %.3g ms, of the general model %.3g ms, at the median", 1000*p.Seconds[0], 1000*p.Seconds[1]))
	}
	if p.Cost[0] < 0 || p.Cost[1] < 0 || p.Cost[1] == 0 {
		a.Unknown = append(a.Unknown, "what a request costs: evaluate with a cost per hour")
		return
	}
	part := 1.0 // of the requests that the specialist answers alone
	if a.Choice == Cascade && f.Route != nil {
		part = 1 - f.Route.Escalation
	}
	saved := p.Cost[1] - p.Cost[0]
	if part < 1 { // a request that goes on costs both
		saved = p.Cost[1]*part - p.Cost[0]
	}
	a.Reasons = append(a.Reasons, fmt.Sprintf("1,000 requests cost %.4g, with the general model %.4g", p.Cost[1]-saved, p.Cost[1]))
	if f.PerDay <= 0 {
		a.Unknown = append(a.Unknown, "how many requests there are a day: give --per-day")
		return
	}
	a.Reasons = append(a.Reasons, fmt.Sprintf("at %.0f requests a day that saves %.4g a day", f.PerDay, saved*f.PerDay/1000))
	if f.Hours > 0 {
		a.Reasons = append(a.Reasons, fmt.Sprintf("making it took %.4g accelerator-hours, once", f.Hours))
	}
}
