package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model"
	"polder.dev/polder/model/advice"
	"polder.dev/polder/model/sheet"
)

// question is what `polder advise` was asked.
type question struct {
	file, label                 string
	rows, labels, held, classes int64
	perDay                      float64
	teacher                     bool
}

func (o *options) advise() *cobra.Command {
	q := question{}
	cmd := &cobra.Command{
		Use:   "advise [MODEL|EVALUATION|DATASET|TASK]",
		Short: "Say whether a small model is worth it: specialist, general or cascade, and why",
		Long: `Say whether a specialist is worth it, by what is known: the evaluations of a model, of
data or of a task, with their differences, costs and what was learned of routes; or, before
there are models, by how many rows there are and how many of them have labels. What an
advice rests on is told with it, and what is not known, too. Nothing is run.`,
		Example: "  polder advise ocr-digits --per-day 100000\n  polder advise --data claims.csv --label fraud\n  polder advise --rows 50000 --labels 300 --classes 2 --teacher",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("%s takes one MODEL, EVALUATION, DATASET or TASK at most, got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := q.facts()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if err := o.evaluated(cmd, args[0], f); err != nil {
				return err
			}
		}
		a := advice.Give(*f)
		if o.json() {
			return printJSON(cmd.OutOrStdout(), a)
		}
		printAdvice(cmd.OutOrStdout(), a)
		return nil
	}
	cmd.Flags().StringVar(&q.file, "data", "", "a CSV file, whose rows and labels are counted")
	cmd.Flags().StringVar(&q.label, "label", "", "its column of labels, by name or number from 1; the last by default")
	cmd.Flags().Int64Var(&q.rows, "rows", advice.Unknown, "rows that there are")
	cmd.Flags().Int64Var(&q.labels, "labels", advice.Unknown, "how many of them have labels")
	cmd.Flags().Int64Var(&q.held, "held", advice.Unknown, "how many of these are kept to judge by; a fifth by default")
	cmd.Flags().Int64Var(&q.classes, "classes", advice.Unknown, "how many different labels there are")
	cmd.Flags().Float64Var(&q.perDay, "per-day", advice.Unknown, "requests a day")
	cmd.Flags().BoolVar(&q.teacher, "teacher", false, "there is a model that does the task already")
	cmd.MarkFlagsMutuallyExclusive("data", "rows")
	cmd.MarkFlagsMutuallyExclusive("data", "labels")
	return o.flags(cmd, "json")
}

// facts are those of the flags.
func (q *question) facts() (*advice.Facts, error) {
	f := &advice.Facts{Rows: q.rows, Labelled: q.labels, Held: q.held, Classes: q.classes, Teacher: q.teacher, PerDay: q.perDay, Hours: advice.Unknown}
	for name, n := range map[string]int64{"rows": q.rows, "labels": q.labels, "held": q.held} {
		if n < 0 && n != advice.Unknown {
			return nil, usage.Errorf("--%s is %d; it must be 0 or more", name, n)
		}
	}
	switch {
	case q.classes < 2 && q.classes != advice.Unknown:
		return nil, usage.Errorf("--classes is %d; there are at least 2 different labels, or leave it out for numbers", q.classes)
	case q.perDay != advice.Unknown && !(q.perDay >= 0 && q.perDay <= math.MaxInt64):
		return nil, usage.Errorf("--per-day is %g; it must be 0 or more", q.perDay)
	case q.labels != advice.Unknown && q.rows == advice.Unknown:
		f.Rows = q.labels
	case q.labels > q.rows:
		return nil, usage.Errorf("--labels is %d, and --rows %d: no more rows can have labels than there are", q.labels, q.rows)
	}
	if q.file == "" {
		return f, q.checkHeld(f)
	}
	s, label, err := readSheet(q.file, q.label)
	if err != nil {
		return nil, err
	}
	counts := s.Counts(label)
	f.Rows = int64(len(s.Rows))
	f.Labelled = f.Rows - int64(counts[""])
	delete(counts, "")
	f.Classes = int64(len(counts))
	if f.Classes > f.Labelled/10 { // a column of numbers
		f.Classes = 1
	}
	f.Data = q.file
	return f, q.checkHeld(f)
}

// checkHeld: only rows with labels can be judged by.
func (q *question) checkHeld(f *advice.Facts) error {
	if q.held != advice.Unknown && f.Labelled != advice.Unknown && q.held > f.Labelled {
		return usage.Errorf("--held is %d, and only %d rows have labels; keep fewer to judge by", q.held, f.Labelled)
	}
	return nil
}

// readSheet reads a CSV file and finds its column of labels.
func readSheet(file, column string) (*sheet.Sheet, int, error) {
	r, err := os.Open(file)
	if err != nil {
		return nil, 0, usage.Error(err)
	}
	defer r.Close()
	s, err := sheet.Read(r)
	if err != nil {
		return nil, 0, usage.Errorf("%s: %w", file, err)
	}
	label, err := s.Column(column)
	if err != nil {
		return nil, 0, usage.Errorf("%s: %w", file, err)
	}
	return s, label, nil
}

// evaluated adds what the cloud knows of a model, an evaluation or a task.
func (o *options) evaluated(cmd *cobra.Command, name string, f *advice.Facts) error {
	c, err := o.open(cmd)
	if err != nil {
		return err
	}
	var evaluations v1alpha1.EvaluationList
	var models v1alpha1.ModelList
	var routes v1alpha1.ModelRouteList
	var made v1alpha1.DistillationList
	for _, list := range []kube.ObjectList{&evaluations, &models, &routes, &made} {
		if err := c.List(cmd.Context(), list, kube.InNamespace(c.Namespace)); err != nil {
			return fmt.Errorf("reading what is known: %w", err)
		}
	}
	e := latest(evaluations.Items, about(name, models.Items))
	if e == nil {
		known := slices.ContainsFunc(models.Items, func(m v1alpha1.Model) bool { return m.Name == name })
		if f.Labelled == advice.Unknown {
			if known {
				return usage.Errorf("model %s was not compared with another yet; `polder evaluate %s --against MODEL` does that, or tell of your data with --data", name, name)
			}
			return usage.Errorf("there is no model, evaluation, data set or task %s with a comparison in namespace %s; tell of your data with --data, or --rows and --labels", name, c.Namespace)
		}
		f.Teacher = f.Teacher || known
		return nil
	}
	f.Pair = pairOf(e, func(digest string) string {
		for _, m := range models.Items {
			if m.Name == name && m.Spec.Digest == digest {
				return name // it may have been judged under another
			}
		}
		return ""
	})
	for _, d := range made.Items {
		if h, err := strconv.ParseFloat(d.Status.Used.AcceleratorHours, 64); err == nil && d.Status.Evaluation == e.Name {
			f.Hours = h
		}
	}
	for _, r := range routes.Items {
		if learnedFrom(&r, e) {
			f.Route = routeOf(&r)
		}
	}
	return nil
}

// about reports which evaluations are about a name.
func about(name string, models []v1alpha1.Model) func(*v1alpha1.Evaluation) bool {
	digests := map[string]bool{}
	for _, m := range models {
		if m.Name == name {
			digests[m.Spec.Digest] = true
		}
	}
	return func(e *v1alpha1.Evaluation) bool {
		if e.Name == name || string(e.Spec.Task) == name || e.Spec.Data.Dataset == name || e.Spec.Trained != nil && e.Spec.Trained.Dataset == name {
			return true
		}
		if n, err := model.ParseName(e.Spec.Models[0].Model); err == nil && n.Model == name {
			return true
		}
		return len(e.Status.Models) > 0 && e.Status.Models[0].Model != nil && digests[e.Status.Models[0].Model.Digest]
	}
}

// latest is the newest evaluation that ended well, compares, and is about it.
func latest(all []v1alpha1.Evaluation, about func(*v1alpha1.Evaluation) bool) *v1alpha1.Evaluation {
	var best *v1alpha1.Evaluation
	for i := range all {
		e := &all[i]
		if e.Status.State == v1alpha1.StateSucceeded && len(e.Status.Comparisons) > 0 && len(e.Status.Models) > 1 && about(e) &&
			(best == nil || best.CreationTimestamp.Before(&e.CreationTimestamp)) {
			best = e
		}
	}
	return best
}

// pairOf is what an evaluation says of its candidate and the first of the others. known
// names a digest, if it has a name that was asked for.
func pairOf(e *v1alpha1.Evaluation, known func(digest string) string) *advice.Pair {
	cmp := e.Status.Comparisons[0]
	one := e.Status.Models[0]
	other := e.Status.Models[1]
	for _, m := range e.Status.Models {
		if m.Name == cmp.With {
			other = m
		}
	}
	both := func(metric string) [2]float64 {
		return [2]float64{decimal(one.Metrics[metric].Value), decimal(other.Metrics[metric].Value)}
	}
	title := func(m v1alpha1.EvaluatedResult) string {
		if m.Model != nil {
			return or(known(m.Model.Digest), m.Model.Name)
		}
		return or(or(m.Service, m.Route), m.Name)
	}
	return &advice.Pair{
		Evaluation: e.Name, Specialist: title(one), General: title(other), Metric: cmp.Metric, Quality: both(cmp.Metric),
		Difference: decimal(cmp.Difference.Value), Low: decimal(cmp.Difference.Low), High: decimal(cmp.Difference.High), Verdict: cmp.Verdict,
		Seconds: both("latency_p50_seconds"), Cost: both("cost_per_1000"), Margins: e.Spec.Task == v1alpha1.TaskClassification,
	}
}

// learnedFrom reports whether a route's threshold comes from e.
func learnedFrom(r *v1alpha1.ModelRoute, e *v1alpha1.Evaluation) bool {
	s := r.Status.Cascade
	return s != nil && s.Expected != nil && s.Split != nil && e.Status.Report != nil && s.Evaluation == e.Status.Report.Digest
}

func routeOf(r *v1alpha1.ModelRoute) *advice.Route {
	s := r.Status.Cascade
	out := &advice.Route{
		Name: r.Name, Quality: decimal(s.Expected.Quality), Escalation: decimal(s.Expected.Escalation), Mix: decimal(s.Split.Quality), Verdict: "none",
	}
	if decimal(s.Expected.Low) > out.Mix { // beyond what chance explains
		out.Verdict = "better"
	}
	return out
}

// decimal is a number of a status; Unknown if it has none.
func decimal(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return advice.Unknown
	}
	return v
}

func printAdvice(w io.Writer, a advice.Advice) {
	fmt.Fprintf(w, "%s: %s\n", strings.ToUpper(string(a.Choice[:1]))+string(a.Choice[1:]), a.Summary)
	for _, r := range a.Reasons {
		fmt.Fprintf(w, "  Because %s.\n", r)
	}
	for _, u := range a.Unknown {
		fmt.Fprintf(w, "  Not known: %s.\n", u)
	}
	if a.Next != "" {
		fmt.Fprintf(w, "Next: %s\n", a.Next)
	}
}
