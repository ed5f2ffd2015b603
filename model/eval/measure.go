package eval

import "math"

// aucClassesMax bounds what is worked out for each class apart.
const aucClassesMax = 64

// A measure is one metric of one model on some rows, ready to be resampled and compared.
type measure struct {
	metric string
	// hits of a share; nil for others.
	hits []bool
	// of the rows as they are.
	stat statistic
	// rows of a mean, or of the root of one.
	rows []float64
	root bool
	// steps of one round.
	steps int
	// expected, answers and probabilities, where the metric is made of them.
	expected, predicted []int
	probability         []float32
	classes             int
}

// measures of model m on the rows at, or on all when it is nil.
func (in *Input) measures(m *Answered, at []int) []measure {
	var out []measure
	if in.Scored {
		v := pick(m.Scores, at)
		out = append(out, measure{metric: Score, rows: v, stat: meanOf(v), steps: len(v)})
	}
	switch in.Task {
	case TaskClassification:
		e, p, k := pick(in.Expected, at), pick(m.Predicted, at), len(in.Data.Classes)
		hits := make([]bool, len(e))
		for i := range e {
			hits[i] = e[i] == p[i]
		}
		out = append(out, share(Accuracy, hits), measure{metric: F1, stat: f1Of(e, p, k), steps: len(e) + k, expected: e, predicted: p, classes: k})
		if at == nil && len(m.Probability) > 0 && k <= aucClassesMax {
			out = append(out, measure{metric: AUC, stat: aucOf(e, m.Probability, k), steps: 4 * len(e) * k, expected: e, probability: m.Probability, classes: k})
		}
	case TaskRegression, TaskForecast:
		abs, square := in.errors(m, 0, in.horizon())
		abs, square = pick(abs, at), pick(square, at)
		out = append(out, measure{metric: MAE, rows: abs, stat: meanOf(abs), steps: len(abs)},
			measure{metric: RMSE, rows: square, root: true, stat: rootOf(square), steps: len(abs)})
	case TaskGeneration:
		if len(m.Text) == 0 || len(in.ExpectedText) == 0 {
			break
		}
		exact, f1, rouge := texts(pick(in.ExpectedText, at), pick(m.Text, at))
		out = append(out, share(ExactMatch, exact),
			measure{metric: TokenF1, rows: f1, stat: meanOf(f1), steps: len(f1)}, measure{metric: RougeL, rows: rouge, stat: meanOf(rouge), steps: len(rouge)})
	}
	return out
}

// share is the measure of hits.
func share(metric string, hits []bool) measure {
	v := make([]float64, len(hits))
	for i, h := range hits {
		if h {
			v[i] = 1
		}
	}
	return measure{metric: metric, hits: hits, rows: v, stat: meanOf(v), steps: len(v)}
}

// errors of each row: the mean over its values number from up to, without, to, of how far
// they are off, and of the square of it.
func (in *Input) errors(m *Answered, from, to int) (abs, square []float64) {
	n, h := len(in.Rows), in.horizon()
	abs, square = make([]float64, n), make([]float64, n)
	for i := range n {
		for j := from; j < to; j++ {
			d := m.Values[i*h+j] - in.ExpectedValues[i*h+j]
			abs[i] += math.Abs(d) / float64(to-from)
			square[i] += d * d / float64(to-from)
		}
	}
	return abs, square
}

// pick is the values at some places, or all when at is nil.
func pick[T any](v []T, at []int) []T {
	if at == nil {
		return v
	}
	out := make([]T, len(at))
	for i, j := range at {
		out[i] = v[j]
	}
	return out
}

// metricOf is a measure's number with its interval; ok is false where it has none.
func (in *Input) metricOf(x *measure, what ...string) (Metric, bool) {
	n := x.len()
	if x.hits != nil {
		hits := int64(0)
		for _, h := range x.hits {
			if h {
				hits++
			}
		}
		low, high := Wilson(hits, int64(n))
		return Metric{Value: float64(hits) / float64(n), Low: &low, High: &high, Method: "wilson"}, true
	}
	out := Metric{Value: x.stat(ones(n))}
	if !finite(out.Value) {
		return Metric{}, false
	}
	if low, high, ok := bootstrap(chance(in.Seed, append(what, "interval", x.metric)...), n, x.steps, x.stat); ok {
		out.Low, out.High, out.Method = &low, &high, "bootstrap"
	}
	return out, true
}

func (x *measure) len() int {
	if x.rows != nil {
		return len(x.rows)
	}
	return len(x.expected)
}

// difference of two models' measures of the same metric, on the same rows: with its
// interval, the test and its p.
func (in *Input) difference(a, b *measure, what ...string) Comparison {
	n := a.len()
	c := Comparison{Metric: a.metric}
	if a.hits != nil {
		for i := range a.hits {
			switch {
			case a.hits[i] && !b.hits[i]:
				c.Gained++
			case b.hits[i] && !a.hits[i]:
				c.Lost++
			}
		}
		low, high := paired(c.Gained, c.Lost, int64(n))
		c.Difference = Metric{Value: float64(c.Gained-c.Lost) / float64(n), Low: &low, High: &high, Method: "tango"}
		c.Test, c.P = "mcnemar", McNemar(c.Gained, c.Lost)
		return c
	}
	both := func(w []int32) float64 { return a.stat(w) - b.stat(w) }
	c.Difference.Value = both(ones(n))
	if low, high, ok := bootstrap(chance(in.Seed, append(what, "difference", a.metric)...), n, 2*a.steps, both); ok {
		c.Difference.Low, c.Difference.High, c.Difference.Method = &low, &high, "bootstrap"
	}
	c.Test, c.P = "permutation", permutation(chance(in.Seed, append(what, "permutation", a.metric)...), n, 2*a.steps, a.swapped(b))
	return c
}

// swapped is how the difference to b changes when answers are changed.
func (x *measure) swapped(b *measure) swapped {
	switch {
	case x.probability != nil:
		return aucSwapped(x.expected, x.probability, b.probability, x.classes)
	case x.predicted != nil:
		return f1Swapped(x.expected, x.predicted, b.predicted, x.classes)
	case x.root:
		return rootsSwapped(x.rows, b.rows)
	}
	return meansSwapped(x.rows, b.rows)
}

// lessIsBetter reports whether a smaller value of the metric is the better one.
func lessIsBetter(metric string) bool {
	switch metric {
	case MAE, RMSE, LatencyP50, LatencyP99, CostPer1K, EnergyPer1K:
		return true
	}
	return false
}

// judged is the verdict on a difference.
func judged(metric string, difference, adjusted float64) string {
	switch {
	case adjusted >= 0.05 || difference == 0:
		return None
	case difference > 0 != lessIsBetter(metric):
		return Better
	}
	return Worse
}
