package eval

import (
	"fmt"
	"math"
	"strings"
)

// shares are metrics between 0 and 1, whose differences are told in points.
func isShare(metric string) bool {
	switch metric {
	case Accuracy, F1, AUC, ExactMatch, TokenF1, RougeL:
		return true
	}
	return false
}

// number4 is v with as many digits as a reader can use.
func number4(v float64) string { return fmt.Sprintf("%.4g", v) }

// amount is a difference of a metric, without sign, in words.
func amount(metric string, v float64) string {
	if isShare(metric) {
		return fmt.Sprintf("%.1f points", 100*math.Abs(v))
	}
	return number4(math.Abs(v))
}

// between is a difference's interval and p, in words.
func between(c *Comparison) string {
	p := fmt.Sprintf("p = %.3f", c.Adjusted)
	if c.Adjusted < 0.001 {
		p = "p < 0.001"
	}
	if c.Difference.Low == nil {
		return "(" + p + ")"
	}
	low, high := *c.Difference.Low, *c.Difference.High
	if isShare(c.Metric) {
		return fmt.Sprintf("(95 %% interval %+.1f to %+.1f, %s)", 100*low, 100*high, p)
	}
	return fmt.Sprintf("(95 %% interval %+.4g to %+.4g, %s)", low, high, p)
}

// sentence of a comparison of the candidate.
func (c *Comparison) sentence(candidate string) string {
	way := "above"
	if c.Difference.Value < 0 {
		way = "below"
	}
	switch c.Verdict {
	case None:
		if c.Difference.Value == 0 {
			return fmt.Sprintf("No significant difference between %s and %s: their %s is the same %s.", candidate, c.With, c.Metric, between(c))
		}
		return fmt.Sprintf("No significant difference between %s and %s: %s is %s %s %s.", candidate, c.With, c.Metric, amount(c.Metric, c.Difference.Value), way, between(c))
	default:
		return fmt.Sprintf("%s is %s than %s: %s is %s %s %s.", candidate, c.Verdict, c.With, c.Metric, amount(c.Metric, c.Difference.Value), way, between(c))
	}
}

// commonest says that the candidate is right no more often than whoever always gives the
// commonest class; "" where it is, or where that cannot be told.
func (r *Report) commonest() string {
	m := r.Models[0]
	accuracy, ok := m.Metrics[Accuracy]
	most, all, class := int64(0), int64(0), 0
	for i, row := range m.Confusion {
		n := int64(0)
		for _, c := range row {
			n += c
		}
		if all += n; n > most {
			most, class = n, i
		}
	}
	share := float64(most) / float64(r.Data.Rows)
	if !ok || all != r.Data.Rows || most == all || accuracy.Value > share {
		return ""
	}
	return fmt.Sprintf("Always answering %s is right in %s of the rows, and %s in no more.", r.Data.Classes[class], number4(share), m.Name)
}

// sentence of the whole report: comparisons on its metric, the simplest answer, regressions,
// contamination, requirements.
func (r *Report) sentence() string {
	var out []string
	for i := range r.Comparisons {
		if c := &r.Comparisons[i]; c.Metric == r.Metric {
			out = append(out, c.Sentence)
		}
	}
	if m := r.Models[0]; len(out) == 0 {
		v := m.Metrics[r.Metric]
		s := fmt.Sprintf("%s of %s is %s", r.Metric, m.Name, number4(v.Value))
		if v.Low != nil {
			s += fmt.Sprintf(" (95 %% interval %s to %s)", number4(*v.Low), number4(*v.High))
		}
		out = append(out, s+".")
	}
	if s := r.commonest(); s != "" {
		out = append(out, s)
	}
	if n := len(r.Regressions); n == 1 {
		g := r.Regressions[0]
		out = append(out, fmt.Sprintf("It is worse than %s where %s is %s.", g.With, g.Column, g.Value))
	} else if n > 1 {
		out = append(out, fmt.Sprintf("It is worse in %d slices.", n))
	}
	if c := r.Contamination; c != nil && c.Exact+c.Near > 0 {
		near := ""
		if c.Near > 0 {
			near = fmt.Sprintf(", and %d but for one feature", c.Near)
		}
		out = append(out, fmt.Sprintf("%d of %d rows are in the training data, too%s: quality is told too well.", c.Exact, r.Data.Rows, near))
	}
	unmet := 0
	for _, j := range r.Requirements {
		if !j.Met {
			unmet++
			out = append(out, "Not met: "+j.Reason)
		}
	}
	if len(r.Requirements) > 0 && unmet == 0 {
		out = append(out, "All requirements are met.")
	}
	return strings.Join(out, " ")
}
