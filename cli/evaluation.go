package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/eval"
)

func (o *options) evaluation() *cobra.Command {
	cmd := &cobra.Command{Use: "evaluation", Short: "List and show evaluations of models, and make pages of their reports"}
	cmd.AddCommand(o.evaluationList(), o.evaluationShow(), o.evaluationReport(), o.evaluationRemove())
	return cmd
}

func (o *options) evaluationList() *cobra.Command {
	var l v1alpha1.EvaluationList
	return list(o, &l, &l.Items, listing[v1alpha1.Evaluation]{
		use: "ls", what: "evaluations", none: "make one with `polder evaluate`", newest: true,
		head: []string{"NAMESPACE", "NAME", "STATE", "CANDIDATE", "AGAINST", "PASSED", "AGE", "VERDICT"}, row: evaluationRow,
	})
}

func evaluationRow(e *v1alpha1.Evaluation, now time.Time) []string {
	var names []string
	for _, m := range e.Spec.Models {
		names = append(names, judgedName(&m))
	}
	passed := "-"
	if e.Status.State == v1alpha1.StateSucceeded {
		passed = map[bool]string{true: "yes", false: "no"}[e.Status.Passed]
	}
	said := or(e.Status.Verdict, e.Status.Message)
	if i := strings.Index(said, ". "); i >= 0 {
		said = said[:i+1]
	}
	return []string{
		e.Namespace, e.Name, or(string(e.Status.State), string(v1alpha1.StatePending)), names[0], or(strings.Join(names[1:], ", "), "-"),
		passed, term.Age(e.CreationTimestamp.Time, now), or(said, "-"),
	}
}

// judgedName is what is judged, as `polder evaluate` is told it.
func judgedName(m *v1alpha1.EvaluatedModel) string {
	switch {
	case m.Service != "":
		return asService + m.Service
	case m.Route != "":
		return asRoute + m.Route
	}
	return m.Model
}

func (o *options) evaluationShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show what an evaluation says of its models",
		Args: exactly("NAME"), ValidArgsFunction: o.completeEvaluations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, e, err := o.findEvaluation(cmd, args[0])
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), e)
		}
		return printEvaluation(cmd.OutOrStdout(), e)
	}
	return o.flags(cmd, "json")
}

func printEvaluation(w io.Writer, e *v1alpha1.Evaluation) error {
	s := &e.Status
	rows := [][]string{{"Evaluation", e.Namespace + "/" + e.Name}, {"State", or(string(s.State), string(v1alpha1.StatePending))}}
	add := func(head, text string) {
		if text != "" {
			rows = append(rows, []string{head, text})
		}
	}
	add("Message", s.Message)
	if s.State == v1alpha1.StateRunning && s.Total > 0 {
		add("Progress", fmt.Sprintf("%d of %d answers", s.Done, s.Total))
	}
	add("Task", string(e.Spec.Task))
	add("Data", dataOf(&e.Spec.Data)+rowsOf(s))
	if s.State == v1alpha1.StateSucceeded && len(e.Spec.Requirements) > 0 {
		add("Passed", map[bool]string{true: "yes", false: "no"}[s.Passed])
	}
	if s.Report != nil {
		add("Report", s.Report.Reference)
	}
	if err := term.Table(w, rows); err != nil || s.State != v1alpha1.StateSucceeded {
		return err
	}
	fmt.Fprintf(w, "\n%s\n\n", strings.ReplaceAll(s.Verdict, ". ", ".\n"))
	if err := term.Table(w, metricRows(e)); err != nil {
		return err
	}
	if by := originRows(e); len(by) > 1 {
		fmt.Fprintln(w)
		if err := term.Table(w, by); err != nil {
			return err
		}
	}
	if len(s.Comparisons) > 0 {
		fmt.Fprintln(w)
		rows = [][]string{{"AGAINST", "METRIC", "DIFFERENCE", "P", "TEST", "VERDICT"}}
		for _, c := range s.Comparisons {
			verdict := c.Verdict
			if verdict == eval.None {
				verdict = "no significant difference"
			}
			rows = append(rows, []string{c.With, c.Metric, interval(c.Difference), fewDigits(c.P), c.Test, verdict})
		}
		if err := term.Table(w, rows); err != nil {
			return err
		}
	}
	if s.Report != nil {
		fmt.Fprintf(w, "\n`polder evaluation report %s -o %s.html` makes a page of it, with slices and plots.\n", e.Name, e.Name)
	}
	return nil
}

// metricRows are models and metrics, quality first.
func metricRows(e *v1alpha1.Evaluation) [][]string {
	var known []string
	for _, name := range eval.Metrics(or(string(e.Spec.Task), eval.TaskClassification), e.Spec.Program != nil) {
		if slices.ContainsFunc(e.Status.Models, func(m v1alpha1.EvaluatedResult) bool { _, ok := m.Metrics[name]; return ok }) {
			known = append(known, name)
		}
	}
	head := []string{"METRIC"}
	for _, m := range e.Status.Models {
		head = append(head, m.Name)
	}
	rows := [][]string{head}
	for _, name := range known {
		row := []string{name}
		for _, m := range e.Status.Models {
			v, ok := m.Metrics[name]
			if !ok {
				row = append(row, "-")
				continue
			}
			row = append(row, interval(v))
		}
		rows = append(rows, row)
	}
	return rows
}

// originRows are services and routes, and who has answered for them.
func originRows(e *v1alpha1.Evaluation) [][]string {
	rows := [][]string{{"NAME", "ASKED", "ROWS", "TARGET", "REVISION", "VERSION"}}
	for i, m := range e.Status.Models {
		for _, o := range m.By {
			rows = append(rows, []string{
				m.Name, judgedName(&e.Spec.Models[i]), strconv.FormatInt(o.Rows, 10), or(o.Target, "-"), or(o.Revision, "-"), or(o.Digest, "-"),
			})
		}
	}
	return rows
}

func interval(v v1alpha1.MetricValue) string {
	if v.Low == "" {
		return fewDigits(v.Value)
	}
	return fmt.Sprintf("%s (%s to %s)", fewDigits(v.Value), fewDigits(v.Low), fewDigits(v.High))
}

// fewDigits is a decimal number with four digits that count.
func fewDigits(s string) string {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

func rowsOf(s *v1alpha1.EvaluationStatus) string {
	if s.Rows == 0 {
		return ""
	}
	return fmt.Sprintf(", %d rows", s.Rows)
}

func dataOf(d *v1alpha1.EvaluationData) string {
	out := or(d.Dataset, d.Image)
	if d.Bucket != nil {
		out = "s3://" + d.Bucket.Name + "/" + d.Bucket.Prefix
	}
	if d.File != "" {
		out += " " + d.File
	}
	if d.Label != "" {
		out += ", label " + d.Label
	}
	return out
}

func (o *options) evaluationRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove an evaluation, and end it if it runs; its report stays in the registry",
		Args: exactly("NAME"), ValidArgsFunction: o.completeEvaluations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, e, err := o.findEvaluation(cmd, args[0])
		if err != nil {
			return err
		}
		if err := removeEvaluation(cmd.Context(), c, e); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Evaluation %s is removed.\n", e.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) findEvaluation(cmd *cobra.Command, name string) (*kube.Client, *v1alpha1.Evaluation, error) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, nil, err
	}
	var found v1alpha1.Evaluation
	return c, &found, read(cmd.Context(), c, name, &found, "evaluation", "evaluation ls -A")
}

func (o *options) completeEvaluations(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.EvaluationList
	return completeNames(o, cmd, args, &l, &l.Items)
}

// errUnmet ends `polder evaluate --follow` when the model does not pass.
var errUnmet = errors.New("the model does not pass")

// followEvaluation shows how far e is until it ends, and then what it says.
func (o *options) followEvaluation(cmd *cobra.Command, c *kube.Client, e *v1alpha1.Evaluation) error {
	out := cmd.OutOrStdout()
	person := term.Is(out) && !o.json()
	line := term.NewLine(out)
	said := ""
	var silent time.Time
	for {
		var now v1alpha1.Evaluation
		err := c.Get(cmd.Context(), kube.Key(e.Namespace, e.Name), &now)
		switch {
		case err == nil && now.UID != e.UID, apierrors.IsNotFound(err):
			return fmt.Errorf("evaluation %s was deleted", e.Name)
		case err == nil && now.Status.State.Done():
			if person {
				line.Clear()
			}
			return o.endEvaluation(out, &now)
		case err == nil:
			silent = time.Time{}
			text := evaluationLine(&now)
			if person {
				line.Set(text)
			} else if !o.json() && text != said {
				fmt.Fprintln(out, text)
			}
			said = text
		case cmd.Context().Err() != nil:
			return cmd.Context().Err()
		case silent.IsZero():
			silent = time.Now()
		case time.Since(silent) > silenceMax:
			return fmt.Errorf("reading evaluation %s: %w; it goes on, and `polder evaluation ls` shows it when the cloud answers again", e.Name, err)
		}
		if err := pause(cmd.Context(), lookEvery); err != nil {
			return err
		}
	}
}

func evaluationLine(e *v1alpha1.Evaluation) string {
	s := &e.Status
	text := e.Name + "  " + or(string(s.State), string(v1alpha1.StatePending))
	switch {
	case s.State == v1alpha1.StateRunning && s.Total > 0:
		return text + fmt.Sprintf("  %s  %d of %d answers", term.Bar(float64(s.Done)/float64(s.Total), 30), s.Done, s.Total)
	case s.Message != "":
		return text + "  " + s.Message
	}
	return text
}

func (o *options) endEvaluation(w io.Writer, e *v1alpha1.Evaluation) error {
	var err error
	if o.json() {
		err = printJSON(w, e)
	} else {
		err = printEvaluation(w, e)
	}
	switch {
	case err != nil:
		return err
	case e.Status.State == v1alpha1.StateFailed:
		return fmt.Errorf("evaluation %s failed: %s", e.Name, e.Status.Message)
	case !e.Status.Passed:
		return fmt.Errorf("%w: %s", errUnmet, strings.Join(e.Status.Unmet, " "))
	}
	return nil
}
