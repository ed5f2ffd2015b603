package eval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// measuredMetrics are told of every model, whatever its task.
var measuredMetrics = []string{LatencyP50, LatencyP99, Throughput, CostPer1K, EnergyPer1K}

// Metrics that an evaluation of the task tells, quality first.
func Metrics(task string, scored bool) []string {
	var out []string
	if scored {
		out = append(out, Score)
	}
	switch task {
	case TaskClassification:
		out = append(out, Accuracy, F1, AUC)
	case TaskRegression, TaskForecast:
		out = append(out, MAE, RMSE)
	case TaskGeneration:
		out = append(out, ExactMatch, TokenF1, RougeL)
	}
	out = append(out, measuredMetrics...)
	if task == TaskGeneration {
		out = append(out, TokenRate)
	}
	return out
}

// Check says what is wrong with a requirement of an evaluation of the task, whose models
// are named, the candidate first.
func (q *Requirement) Check(task string, models []string, scored bool) error {
	known := Metrics(task, scored)
	if !slices.Contains(known, q.Metric) {
		return fmt.Errorf("metric: there is no %q for the task %s; there are %s", cut(q.Metric), task, strings.Join(known, ", "))
	}
	if q.Min == nil && q.Max == nil && q.NotWorseThan == "" {
		return fmt.Errorf("%s: it asks for nothing; give min, max or notWorseThan", q.Metric)
	}
	if q.Min != nil && q.Max != nil && *q.Min > *q.Max {
		return fmt.Errorf("min: %g is above max, %g", *q.Min, *q.Max)
	}
	if q.NotWorseThan == "" {
		return nil
	}
	if slices.Contains(measuredMetrics, q.Metric) || q.Metric == TokenRate {
		return fmt.Errorf("notWorseThan: %s is not compared row by row; give it a max or min", q.Metric)
	}
	if len(models) < 2 {
		return errors.New("notWorseThan: there is no model to compare the candidate with; add it to spec.models")
	}
	if !slices.Contains(models[1:], q.NotWorseThan) {
		return fmt.Errorf("notWorseThan: there is no model %q to compare the candidate with; there are %s", cut(q.NotWorseThan), strings.Join(models[1:], ", "))
	}
	return nil
}

// require judges the candidate by what is asked of it.
func (in *Input) require(r *Report) {
	r.Passed = true
	for _, q := range in.Requirements {
		j := Judgement{Requirement: q}
		j.Met, j.Reason = r.meets(q)
		r.Requirements = append(r.Requirements, j)
		r.Passed = r.Passed && j.Met
	}
}

func (r *Report) meets(q Requirement) (bool, string) {
	m, ok := r.Models[0].Metrics[q.Metric]
	name := r.Models[0].Name
	if !ok {
		return false, fmt.Sprintf("%s of %s could not be measured%s.", q.Metric, name, hint(q.Metric))
	}
	said := fmt.Sprintf("%s of %s is %s", q.Metric, name, number4(m.Value))
	if m.Low != nil {
		said += fmt.Sprintf(" (%s to %s)", number4(*m.Low), number4(*m.High))
	}
	if q.Min != nil && m.Value < *q.Min {
		return false, fmt.Sprintf("%s; at least %g is required.", said, *q.Min)
	}
	if q.Max != nil && m.Value > *q.Max {
		return false, fmt.Sprintf("%s; at most %g is required.", said, *q.Max)
	}
	if q.NotWorseThan != "" {
		i := slices.IndexFunc(r.Comparisons, func(c Comparison) bool { return c.With == q.NotWorseThan && c.Metric == q.Metric })
		if i < 0 {
			return false, fmt.Sprintf("%s of %s could not be compared with that of %s.", q.Metric, name, q.NotWorseThan)
		}
		if c := &r.Comparisons[i]; c.Verdict == Worse {
			return false, c.Sentence
		}
		said += fmt.Sprintf(", not significantly worse than %s", q.NotWorseThan)
	}
	return true, said + "."
}

// hint says why a metric may be missing.
func hint(metric string) string {
	switch metric {
	case CostPer1K:
		return "; give spec.costPerHour"
	case EnergyPer1K:
		return "; this machine does not tell its energy"
	case TokenRate:
		return "; the service does not count its tokens"
	case AUC:
		return "; it needs probabilities and rows of two classes"
	}
	return ""
}
