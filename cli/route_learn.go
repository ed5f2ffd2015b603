package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/eval"
	rules "polder.dev/polder/model/route"
)

func (o *options) routeLearn() *cobra.Command {
	var f routeFlags
	var dry bool
	cmd := &cobra.Command{
		Use: "learn ROUTE EVALUATION", Short: "Have a route's cascade learn its threshold from an evaluation",
		Long: `Have the cascade of a route learn its threshold from an evaluation that has judged the
models of both services on the same rows, and wait until it has. With --dry-run nothing is
changed: what would be learned is shown, beside the controls. What is to be reached stays
as the route says unless --escalation-max or --quality-min is given.`,
		Example: "  polder route learn digits both-again\n  polder route learn digits both --quality-min 0.97 --dry-run",
		Args:    exactly("ROUTE", "EVALUATION"), ValidArgsFunction: o.completeRoutes,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		r, err := findRoute(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		e, err := routeEvaluation(cmd.Context(), c, args[1])
		if err != nil {
			return err
		}
		if err := f.teach(r, e.Name); err != nil {
			return err
		}
		if dry {
			l, err := learnFrom(cmd.Context(), c, e, r)
			if err != nil {
				return err
			}
			return o.printLearned(cmd, l)
		}
		if err := c.Update(cmd.Context(), r); err != nil {
			if apierrors.IsInvalid(err) {
				return usage.Errorf("route %s: %w", r.Name, err)
			}
			return fmt.Errorf("writing route %s: %w", r.Name, err)
		}
		if err := awaitRoute(cmd.Context(), c, r, f.limit, cmd.ErrOrStderr()); err != nil {
			return err
		}
		if k := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionLearned); k != nil && k.Status != metav1.ConditionTrue && k.Reason != "ModelsChanged" {
			return usage.Errorf("route %s has learned nothing: %s", r.Name, k.Message)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), r)
		}
		return printWritten(cmd.OutOrStdout(), r)
	}
	f.learning(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be learned, and change nothing")
	cmd.Flags().DurationVar(&f.limit, "timeout", 5*time.Minute, "how long to wait until the evaluation has ended")
	_ = cmd.RegisterFlagCompletionFunc("timeout", cobra.NoFileCompletions)
	return o.flags(cmd, "json")
}

// teach has the route's cascade learn from an evaluation.
func (f *routeFlags) teach(r *v1alpha1.ModelRoute, evaluation string) error {
	c := learningOf(r)
	for i := range r.Spec.Rules {
		if c == nil && r.Spec.Rules[i].Cascade != nil {
			c = r.Spec.Rules[i].Cascade
		}
	}
	if c == nil {
		return usage.Errorf("route %s has no cascade, so there is no threshold to learn", r.Name)
	}
	if c.Learn == nil {
		c.Learn, c.Threshold = &v1alpha1.CascadeLearning{}, ""
	}
	c.Learn.Evaluation = evaluation
	if f.escalationMax+f.qualityMin != "" {
		c.Learn.EscalationMax, c.Learn.QualityMin = f.escalationMax, f.qualityMin
	}
	if _, err := rules.GoalOf(c.Learn); err != nil {
		return usage.Errorf("%w; say it with --escalation-max or --quality-min", err)
	}
	return nil
}

// printLearned shows what would be learned.
func (o *options) printLearned(cmd *cobra.Command, l *rules.Learned) error {
	w := cmd.OutOrStdout()
	if o.json() {
		return printJSON(w, l)
	}
	fmt.Fprintf(w, "Threshold %s, from %d rows:\n", rules.Decimal(l.Threshold), l.Rows)
	rows := [][]string{{"", "QUALITY", "95 %", "GOES ON", "95 %", "COST OF 1000"}}
	for _, one := range []struct {
		name string
		q    *rules.Quality
	}{{"cascade, expected", &l.Expected}, {"specialist alone", &l.Cheapest}, {"general model alone", &l.Strongest}, {"best mix at equal cost", &l.Split}} {
		between := "-"
		if e := one.q.Escalation; e.Low != e.High {
			between = fmt.Sprintf("%.1f%% to %.1f%%", 100*e.Low, 100*e.High)
		}
		cost := "-"
		if one.q.Cost > 0 {
			cost = fmt.Sprintf("%.4f", one.q.Cost)
		}
		rows = append(rows, []string{
			one.name, fmt.Sprintf("%.4f", one.q.Quality), fmt.Sprintf("%.4f to %.4f", one.q.Low, one.q.High), fmt.Sprintf("%.1f%%", 100*one.q.Escalation.Value), between, cost,
		})
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s\n\nQuality against the share that goes on, on these rows\n%s", l.Verdict, drawCurve(l.Curve, min(term.Width(w)-12, 72)))
	return nil
}

// routeEvaluation reads an evaluation.
func routeEvaluation(ctx context.Context, c *kube.Client, name string) (*v1alpha1.Evaluation, error) {
	var e v1alpha1.Evaluation
	err := c.Get(ctx, kube.Key(c.Namespace, name), &e)
	if apierrors.IsNotFound(err) {
		return nil, usage.Errorf("there is no evaluation %s in namespace %s; `polder evaluate` makes one", name, c.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading evaluation %s: %w", name, err)
	}
	return &e, nil
}

// learnFrom learns what the controller would for a route.
func learnFrom(ctx context.Context, c *kube.Client, e *v1alpha1.Evaluation, r *v1alpha1.ModelRoute) (*rules.Learned, error) {
	compiled, err := rules.Compile(&r.Spec, "")
	if err != nil {
		return nil, usage.Errorf("route %s: %w", r.Name, err)
	}
	cascade := learningOf(r)
	which, _ := compiled.Learning()
	services := [2]*v1alpha1.InferenceService{}
	for i, target := range []int{which.Specialist, which.General} {
		var s v1alpha1.InferenceService
		err := c.Get(ctx, kube.Key(r.Namespace, compiled.Targets[target].Service), &s)
		switch {
		case err == nil:
			services[i] = &s
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("reading service %s: %w", compiled.Targets[target].Service, err)
		}
	}
	pair, err := rules.PairOf(e, cascade, services[0], services[1])
	if err != nil {
		return nil, usage.Error(err)
	}
	report, err := reportOf(ctx, c, e)
	if err != nil {
		return nil, fmt.Errorf("reading the report of evaluation %s: %w", e.Name, err)
	}
	goal, err := rules.GoalOf(cascade.Learn)
	if err != nil {
		return nil, usage.Error(err)
	}
	return learnReport(report, pair.Specialist.Name, pair.General.Name, goal, compiled.CostsOf(which))
}

func learnReport(report *eval.Report, specialist, general string, goal rules.Goal, costs rules.Costs) (*rules.Learned, error) {
	samples, err := rules.Samples(report, specialist, general)
	if err != nil {
		return nil, usage.Error(err)
	}
	l, err := rules.Learn(samples, goal, costs, rules.Seed)
	if err != nil {
		return nil, usage.Error(err)
	}
	return l, nil
}
