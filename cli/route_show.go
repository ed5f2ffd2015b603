package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/pack"
	rules "polder.dev/polder/model/route"
)

// shownRoute is what `polder route show -o json` writes.
type shownRoute struct {
	*v1alpha1.ModelRoute
	// Curve of quality by escalation, where the threshold was learned.
	Curve []rules.Point `json:"curve,omitempty"`
}

func (o *options) routeShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ROUTE", Short: "Show a route, what its cascade is expected to give, and what became of requests",
		Long: `Show a route. Of a cascade that has learned its threshold it shows what is expected
beside three controls: the specialist alone, the general model alone, and the best fixed
mix of both at the cascade's cost; and it draws quality against escalation.`,
		Args: exactly("ROUTE"), ValidArgsFunction: o.completeRoutes,
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
		lesson, err := lessonOf(cmd.Context(), c, r)
		if o.json() {
			out := shownRoute{ModelRoute: kube.Whole(r).(*v1alpha1.ModelRoute)}
			if lesson != nil {
				out.Curve = lesson.Curve
			}
			return printJSON(cmd.OutOrStdout(), out)
		}
		if perr := printRoute(cmd.OutOrStdout(), r, lesson); perr != nil {
			return perr
		}
		if err != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "\nThe curve cannot be drawn: %v.\n", err)
		}
		return nil
	}
	return o.flags(cmd, "json")
}

func printRoute(w io.Writer, r *v1alpha1.ModelRoute, lesson *rules.Learned) error {
	ready, message := routeState(r)
	if message != "" {
		ready += ": " + message
	}
	rows := [][]string{{"route", r.Namespace + "/" + r.Name}, {"ready", ready}, {"url", dash(r.Status.URL)}}
	for i, t := range r.Spec.Targets {
		rows = append(rows, []string{head("targets", i), fmt.Sprintf("%s: service %s, cost of a thousand %s", t.Name, t.Service, dash(t.Cost))})
	}
	for i := range r.Spec.Rules {
		rows = append(rows, []string{head("rules", i), ruleText(&r.Spec.Rules[i])})
	}
	rows = append(rows, extras(&r.Spec)...)
	if s := r.Status.Observed; s != nil {
		text := fmt.Sprintf("%d requests, %d went on", s.Requests, s.Escalated)
		if s.RecentEscalation != "" {
			text += fmt.Sprintf(" (%s of the latest)", percent(s.RecentEscalation))
		}
		if s.Compared > 0 {
			text += fmt.Sprintf("; of %d compared answers %d differ", s.Compared, s.Disagreed)
		}
		rows = append(rows, []string{"observed", text})
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	if err := printControls(w, r); err != nil {
		return err
	}
	if lesson != nil {
		fmt.Fprintf(w, "\nQuality against the share that goes on, on the %d rows it was learned from\n%s", lesson.Rows, drawCurve(lesson.Curve, min(term.Width(w)-12, 72)))
	}
	return nil
}

// head is written beside the first of several lines.
func head(text string, i int) string {
	if i > 0 {
		return ""
	}
	return text
}

// extras are rows of what a route does beside routing.
func extras(s *v1alpha1.ModelRouteSpec) [][]string {
	var rows [][]string
	if len(s.Fallback) > 0 {
		rows = append(rows, []string{"fallback", strings.Join(s.Fallback, ", ")})
	}
	if s.Shadow != nil {
		rows = append(rows, []string{"shadow", fmt.Sprintf("%s, %d%%", s.Shadow.Target, s.Shadow.Percent)})
	}
	if l := s.Limits; l != nil {
		var words []string
		if l.RequestsPerSecond > 0 {
			words = append(words, fmt.Sprintf("%d requests a second of each client", l.RequestsPerSecond))
		}
		if l.BudgetPerDay != "" {
			words = append(words, fmt.Sprintf("%s a day of each tenant", l.BudgetPerDay))
		}
		rows = append(rows, []string{"limits", strings.Join(words, ", ")})
	}
	if s.Cache != nil {
		rows = append(rows, []string{"cache", fmt.Sprintf("%d s", s.Cache.Seconds)})
	}
	if l := s.Log; l != nil {
		rows = append(rows, []string{"log", fmt.Sprintf("%d%% to s3://%s/%s, %d patterns taken out", max(l.Percent, 1), l.Bucket.Name, l.Bucket.Prefix, len(l.Redact))})
	}
	return rows
}

// ruleText is a rule in a line.
func ruleText(r *v1alpha1.RouteRule) string {
	to := ""
	switch c := r.Cascade; {
	case c == nil:
		var words []string
		for _, s := range r.Split {
			words = append(words, fmt.Sprintf("%s %d", s.Target, s.Weight))
		}
		to = "split " + strings.Join(words, ", ")
	case c.Learn == nil:
		to = fmt.Sprintf("%s, and %s below a margin of %s", c.Specialist, c.General, c.Threshold)
	case c.Learn.EscalationMax != "":
		to = fmt.Sprintf("%s, and %s for at most %s; learns from evaluation %s", c.Specialist, c.General, percent(c.Learn.EscalationMax), c.Learn.Evaluation)
	default:
		to = fmt.Sprintf("%s, and %s for a quality of %s; learns from evaluation %s", c.Specialist, c.General, c.Learn.QualityMin, c.Learn.Evaluation)
	}
	return r.Name + ": " + matchText(&r.Match) + to
}

func matchText(m *v1alpha1.RouteMatch) string {
	var words []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			words = append(words, what+" "+strings.Join(list, "|"))
		}
	}
	add("task", m.Tasks)
	add("language", m.Languages)
	add("tenant", m.Tenants)
	add("classification", m.Classifications)
	if len(m.Headers) > 0 {
		words = append(words, fmt.Sprintf("%d headers", len(m.Headers)))
	}
	if m.BytesMin > 0 || m.BytesMax > 0 {
		words = append(words, fmt.Sprintf("%d to %d bytes", m.BytesMin, m.BytesMax))
	}
	if len(words) == 0 {
		return ""
	}
	return "if " + strings.Join(words, " and ") + ", "
}

// printControls writes what a learned threshold gives, beside the controls.
func printControls(w io.Writer, r *v1alpha1.ModelRoute) error {
	c := r.Status.Cascade
	if c == nil || c.Expected == nil {
		return nil
	}
	fmt.Fprintf(w, "\nThreshold %s, learned from %d rows:\n", c.Threshold, c.Rows)
	rows := [][]string{{"", "QUALITY", "95 %", "GOES ON", "COST OF 1000"}}
	for _, one := range []struct {
		name string
		q    *v1alpha1.RouteQuality
	}{{"cascade, expected", c.Expected}, {"specialist alone", c.Cheapest}, {"general model alone", c.Strongest}, {"best mix at equal cost", c.Split}} {
		if one.q != nil {
			rows = append(rows, []string{one.name, decimals(one.q.Quality), decimals(one.q.Low) + " to " + decimals(one.q.High), percent(one.q.Escalation), dash(decimals(one.q.Cost))})
		}
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	fmt.Fprintln(w, c.Verdict)
	return nil
}

// percent is a share as people read it.
func percent(share string) string {
	v, err := strconv.ParseFloat(share, 64)
	if err != nil {
		return "-"
	}
	return strconv.FormatFloat(100*v, 'f', 1, 64) + "%"
}

// decimals is a number with at most four of them.
func decimals(text string) string {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// drawCurve draws quality by the share that goes on, from none to all.
func drawCurve(points []rules.Point, width int) string {
	if len(points) == 0 {
		return ""
	}
	const steps, height = 200, 10
	values := make([]float64, steps+1)
	at := 0
	for i := range values {
		for at+1 < len(points) && points[at+1].Escalation <= float64(i)/steps {
			at++
		}
		values[i] = points[at].Quality
	}
	return term.CurveOver(values, width, height, "0%", "100%")
}

// lessonOf learns again what the route's cascade has learned; nil when it learns nothing.
func lessonOf(ctx context.Context, c *kube.Client, r *v1alpha1.ModelRoute) (*rules.Learned, error) {
	cascade, status := learningOf(r), r.Status.Cascade
	if cascade == nil || status == nil || status.Evaluation == "" {
		return nil, nil
	}
	e, err := routeEvaluation(ctx, c, cascade.Learn.Evaluation)
	if err != nil {
		return nil, err
	}
	return learnFrom(ctx, c, e, r)
}

// reportOf reads an evaluation's report from the registry.
func reportOf(ctx context.Context, c *kube.Client, e *v1alpha1.Evaluation) (*eval.Report, error) {
	at := e.Status.Report
	if at == nil {
		return nil, fmt.Errorf("evaluation %s has no report yet", e.Name)
	}
	d, err := digest.Parse(at.Digest)
	if err != nil {
		return nil, fmt.Errorf("digest of the report: %w", err)
	}
	s, err := store(ctx, c)
	if err != nil {
		return nil, err
	}
	repository, _, _ := strings.Cut(at.Reference, "@")
	text, err := pack.ReadReferrer(ctx, s, repository, d, eval.BytesMax)
	if err != nil {
		return nil, err
	}
	return eval.Decode(text)
}
