package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// check says what is wrong with the form of a report, the field named.
func (r *Report) check() error {
	if r.Version != Version {
		return fmt.Errorf("version: %d is not %d, which this program reads", r.Version, Version)
	}
	if !slices.Contains([]string{TaskClassification, TaskRegression, TaskForecast, TaskGeneration}, r.Task) {
		return fmt.Errorf("task: %q is none of classification, regression, forecast, generation", cut(r.Task))
	}
	if n := len(r.Models); n < 1 || n > ModelsMax {
		return fmt.Errorf("models: there are %d, it must be 1 to %d", n, ModelsMax)
	}
	if r.Data.Rows < 1 {
		return errors.New("data.rows: no row was judged")
	}
	if n := len(r.Data.Classes); n > ClassesMax {
		return fmt.Errorf("data.classes: there are %d, the limit is %d", n, ClassesMax)
	}
	if err := r.checkSample(); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range r.Models {
		m := &r.Models[i]
		if m.Name == "" || names[m.Name] {
			return fmt.Errorf("models[%d].name: %q is empty or there twice", i, cut(m.Name))
		}
		names[m.Name] = true
		if err := r.checkModel(m); err != nil {
			return fmt.Errorf("models[%d].%w", i, err)
		}
	}
	return r.checkFindings(names)
}

func (r *Report) checkSample() error {
	s := r.Sample
	if s == nil {
		return nil
	}
	n := len(s.Rows)
	if n == 0 || n > AnswersMax {
		return fmt.Errorf("sample.rows: there are %d, it must be 1 to %d", n, AnswersMax)
	}
	for i, row := range s.Rows {
		if row < 0 || i > 0 && row <= s.Rows[i-1] {
			return fmt.Errorf("sample.rows[%d]: %d does not rise", i, row)
		}
	}
	if err := checkClasses("sample.expected", s.Expected, n, 0, len(r.Data.Classes)); err != nil {
		return err
	}
	return checkNumbers("sample.values", s.Values, n)
}

func (r *Report) checkModel(m *Model) error {
	if err := checkMetrics("metrics", m.Metrics); err != nil {
		return err
	}
	if n := len(m.By); n > OriginsMax {
		return fmt.Errorf("by: there are %d, the limit is %d", n, OriginsMax)
	}
	if n := len(m.Slices); n > SlicesMax {
		return fmt.Errorf("slices: there are %d, the limit is %d", n, SlicesMax)
	}
	for i := range m.Slices {
		if err := checkMetrics(fmt.Sprintf("slices[%d].metrics", i), m.Slices[i].Metrics); err != nil {
			return err
		}
	}
	for i, row := range m.Confusion {
		if len(m.Confusion) != len(r.Data.Classes) || len(row) != len(m.Confusion) {
			return fmt.Errorf("confusion[%d]: has %d columns, there are %d classes", i, len(row), len(r.Data.Classes))
		}
	}
	for i, b := range m.Calibration {
		if !finite(b.From, b.To, b.Confidence, b.Accuracy) || b.Rows < 0 || i >= 100 {
			return fmt.Errorf("calibration[%d]: is no bin", i)
		}
	}
	if err := m.Latency.check(); err != nil {
		return err
	}
	return r.checkAnswers(m.Answers)
}

func (r *Report) checkAnswers(a *Answers) error {
	if a == nil {
		return nil
	}
	if r.Sample == nil {
		return errors.New("answers: there is no sample that says of which rows")
	}
	n := len(r.Sample.Rows)
	if err := checkClasses("answers.predicted", a.Predicted, n, -1, len(r.Data.Classes)); err != nil {
		return err
	}
	if len(a.Correct) != 0 && len(a.Correct) != n {
		return fmt.Errorf("answers.correct: there are %d, the sample has %d rows", len(a.Correct), n)
	}
	if err := checkNumbers("answers.margin", a.Margin, n); err != nil {
		return err
	}
	for i, v := range a.Margin {
		if v < 0 || v > 1 {
			return fmt.Errorf("answers.margin[%d]: %g is not between 0 and 1", i, v)
		}
	}
	if err := checkNumbers("answers.values", a.Values, n); err != nil {
		return err
	}
	return checkNumbers("answers.scores", a.Scores, n)
}

func (r *Report) checkFindings(names map[string]bool) error {
	if n := len(r.Comparisons); n > ComparisonsMax {
		return fmt.Errorf("comparisons: there are %d, the limit is %d", n, ComparisonsMax)
	}
	for i, c := range r.Comparisons {
		if !names[c.With] {
			return fmt.Errorf("comparisons[%d].with: %q is no model of the report", i, cut(c.With))
		}
		if !slices.Contains([]string{Better, Worse, None}, c.Verdict) {
			return fmt.Errorf("comparisons[%d].verdict: %q is none of better, worse, none", i, cut(c.Verdict))
		}
		if !probability(c.P) || !probability(c.Adjusted) {
			return fmt.Errorf("comparisons[%d].p: %g is no probability", i, c.P)
		}
		if err := checkMetrics(fmt.Sprintf("comparisons[%d]", i), map[string]Metric{"difference": c.Difference}); err != nil {
			return err
		}
	}
	if n := len(r.Regressions); n > SlicesMax*ModelsMax {
		return fmt.Errorf("regressions: there are %d, the limit is %d", n, SlicesMax*ModelsMax)
	}
	for i, g := range r.Regressions {
		if !names[g.With] || !probability(g.Adjusted) || !finite(g.Difference) {
			return fmt.Errorf("regressions[%d]: is none", i)
		}
	}
	for i, j := range r.Requirements {
		if j.Metric == "" || i >= 64 {
			return fmt.Errorf("requirements[%d].metric: is empty, or there are too many requirements", i)
		}
	}
	return nil
}

func (l *Latency) check() error {
	if l == nil {
		return nil
	}
	if len(l.Counts) != len(l.Bounds)+1 || len(l.Bounds) > 256 {
		return fmt.Errorf("latency.counts: there are %d for %d bounds", len(l.Counts), len(l.Bounds))
	}
	for i, b := range l.Bounds {
		if !finite(b) || i > 0 && b <= l.Bounds[i-1] {
			return fmt.Errorf("latency.bounds[%d]: %g does not rise", i, b)
		}
	}
	for i, c := range l.Counts {
		if c < 0 {
			return fmt.Errorf("latency.counts[%d]: %d is negative", i, c)
		}
	}
	return nil
}

func checkMetrics(field string, ms map[string]Metric) error {
	if len(ms) > 64 {
		return fmt.Errorf("%s: there are %d, the limit is 64", field, len(ms))
	}
	for name, m := range ms {
		if !finite(m.Value) || (m.Low == nil) != (m.High == nil) || m.Low != nil && (!finite(*m.Low, *m.High) || *m.Low > *m.High) {
			return fmt.Errorf("%s.%s: is no number with an interval", field, cut(name))
		}
	}
	return nil
}

// checkClasses checks a list that may be absent: n numbers from low up to, without, high.
func checkClasses(field string, v []int, n, low, high int) error {
	if len(v) != 0 && len(v) != n {
		return fmt.Errorf("%s: there are %d, the sample has %d rows", field, len(v), n)
	}
	for i, c := range v {
		if c < low || c >= high {
			return fmt.Errorf("%s[%d]: %d is no class of data.classes", field, i, c)
		}
	}
	return nil
}

func checkNumbers(field string, v []float64, n int) error {
	if len(v) != 0 && len(v) != n {
		return fmt.Errorf("%s: there are %d, the sample has %d rows", field, len(v), n)
	}
	if i := slices.IndexFunc(v, func(x float64) bool { return !finite(x) }); i >= 0 {
		return fmt.Errorf("%s[%d]: %g is not a number", field, i, v[i])
	}
	return nil
}

func finite(v ...float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

func probability(p float64) bool { return p >= 0 && p <= 1 }

// cut keeps a foreign word short enough for a sentence.
func cut(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
