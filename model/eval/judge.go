package eval

import (
	"fmt"
	"math"
	"slices"
)

// Judge turns answers into a report.
func Judge(in *Input) (*Report, error) {
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("judging: %w", err)
	}
	for i := range in.Requirements {
		if err := in.Requirements[i].Check(in.Task, in.names(), in.Scored); err != nil {
			return nil, fmt.Errorf("judging: requirement %d: %w", i+1, err)
		}
	}
	r := &Report{
		Version: Version, Task: in.Task, Seed: in.Seed, Data: in.Data, Metric: in.primary(),
		Contamination: in.Contamination, Machine: in.Machine, Notes: slices.Clone(in.Notes),
	}
	r.Data.Rows, r.Data.From = int64(len(in.Rows)), in.Rows[0]
	all := make([][]measure, len(in.Models))
	for i := range in.Models {
		m := &in.Models[i]
		all[i] = in.measures(m, nil)
		r.Models = append(r.Models, in.model(r, m, all[i]))
	}
	in.compare(r, all)
	in.slice(r)
	in.sample(r)
	in.require(r)
	if s := r.commonest(); s != "" {
		r.note("%s", s)
	}
	r.Verdict = r.sentence()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("judging: %w", err)
	}
	return r, nil
}

// primary is the metric that verdicts are about.
func (in *Input) primary() string {
	switch {
	case in.Scored:
		return Score
	case in.Task == TaskClassification:
		return Accuracy
	case in.Task == TaskGeneration:
		return ExactMatch
	}
	return MAE
}

func (in *Input) names() []string {
	out := make([]string, len(in.Models))
	for i := range in.Models {
		out[i] = in.Models[i].Name
	}
	return out
}

// model is one model's numbers on all rows.
func (in *Input) model(r *Report, m *Answered, ms []measure) Model {
	out := Model{Name: m.Name, Reference: m.Reference, Digest: m.Digest, Service: m.Service, Route: m.Route, By: m.By, Metrics: map[string]Metric{}}
	for i := range ms {
		v, ok := in.metricOf(&ms[i], m.Name)
		if !ok {
			r.note("The %s of %s cannot be told of these rows: all have the same class.", ms[i].metric, m.Name)
			continue
		}
		out.Metrics[ms[i].metric] = v
	}
	if in.Task == TaskClassification {
		out.Confusion = in.confusion(m)
		out.Calibration = in.calibration(m)
	}
	in.measured(&out, m)
	if len(m.By) > 1 && m.Service != "" {
		r.note("Rows of %s were answered by %d revisions of the service: it changed while it was judged, or has a canary.", m.Name, len(m.By))
	}
	if len(out.By) > OriginsMax {
		out.By = out.By[:OriginsMax]
	}
	return out
}

// confusionClassesMax is up to where a table of classes is worth keeping.
const confusionClassesMax = 64

func (in *Input) confusion(m *Answered) [][]int64 {
	k := len(in.Data.Classes)
	if k > confusionClassesMax {
		return nil
	}
	out := make([][]int64, k)
	for i := range out {
		out[i] = make([]int64, k)
	}
	for i, e := range in.Expected {
		if p := m.Predicted[i]; p >= 0 {
			out[e][p]++
		}
	}
	return out
}

// calibration is how often answers of a confidence are right, in ten bins.
func (in *Input) calibration(m *Answered) []Bin {
	const bins = 10
	if len(m.Probability) == 0 {
		return nil
	}
	out := make([]Bin, bins)
	for i := range out {
		out[i].From, out[i].To = float64(i)/bins, float64(i+1)/bins
	}
	for i, e := range in.Expected {
		first, _ := m.top(i, len(in.Data.Classes))
		b := &out[min(max(int(first*bins), 0), bins-1)]
		b.Rows++
		b.Confidence += first
		if m.Predicted[i] == e {
			b.Accuracy++
		}
	}
	out = slices.DeleteFunc(out, func(b Bin) bool { return b.Rows == 0 })
	for i := range out {
		out[i].Confidence /= float64(out[i].Rows)
		out[i].Accuracy /= float64(out[i].Rows)
	}
	return out
}

// top is the two largest of a row's k probabilities.
func (m *Answered) top(row, k int) (first, second float64) {
	for _, p := range m.Probability[row*k : (row+1)*k] {
		if v := float64(p); v > first {
			first, second = v, first
		} else if v > second {
			second = v
		}
	}
	return min(first, 1), second
}

// margin between the two likeliest classes of a row, rounded to 1e-6.
func (m *Answered) margin(row, k int) float64 {
	first, second := m.top(row, k)
	return math.Round(max(first-second, 0)*1e6) / 1e6
}

// measured adds what clocks and counters said.
func (in *Input) measured(out *Model, m *Answered) {
	if len(m.Seconds) > 0 {
		sorted := slices.Sorted(slices.Values(m.Seconds))
		for name, q := range map[string]float64{LatencyP50: 0.5, LatencyP99: 0.99} {
			v := Metric{Value: quantile(sorted, q)}
			if low, high, ok := order(sorted, q); ok {
				v.Low, v.High, v.Method = &low, &high, "order"
			}
			out.Metrics[name] = v
		}
		out.Latency = histogram(sorted)
		if v := in.cost(m); v > 0 {
			out.Metrics[CostPer1K] = Metric{Value: v}
		}
	}
	if m.RowsPerSecond > 0 {
		out.Metrics[Throughput] = Metric{Value: m.RowsPerSecond}
	}
	if m.TokensPerSecond > 0 {
		out.Metrics[TokenRate] = Metric{Value: m.TokensPerSecond}
	}
	if m.JoulesPerRow > 0 {
		out.Metrics[EnergyPer1K] = Metric{Value: m.JoulesPerRow * 1000}
	}
}

// cost of a thousand requests with one row: what the gateway has told, else that of the
// time that they took.
func (in *Input) cost(m *Answered) float64 {
	n := float64(len(m.Seconds))
	if m.Cost > 0 {
		return m.Cost / n * 1000
	}
	hour := m.CostPerHour
	if m.Service == "" && m.Route == "" {
		hour = in.CostPerHour
	}
	sum := 0.0
	for _, s := range m.Seconds {
		sum += s
	}
	return hour / 3600 * sum / n * 1000
}

// histogram of sorted seconds, ten buckets to a power of ten.
func histogram(sorted []float64) *Latency {
	const least, most = -70, 30 // 100 ns to 1000 s
	exponent := func(s float64) int { return int(math.Ceil(10*math.Log10(max(s, 1e-9)) - 1e-9)) }
	from := min(max(exponent(sorted[0]), least), most)
	to := min(max(exponent(sorted[len(sorted)-1]), from), most)
	out := &Latency{Requests: int64(len(sorted))}
	for e := from; e <= to; e++ {
		out.Bounds = append(out.Bounds, math.Pow(10, float64(e)/10))
	}
	out.Counts = make([]int64, len(out.Bounds)+1)
	for _, s := range sorted {
		i, _ := slices.BinarySearch(out.Bounds, s)
		out.Counts[i]++
	}
	return out
}

// compare the candidate with each other model: on the metric that verdicts are about, and
// on those that a requirement names.
func (in *Input) compare(r *Report, all [][]measure) {
	for i := 1; i < len(in.Models); i++ {
		for j := range all[0] {
			a := &all[0][j]
			asked := a.metric == r.Metric || slices.ContainsFunc(in.Requirements, func(q Requirement) bool {
				return q.Metric == a.metric && q.NotWorseThan == in.Models[i].Name
			})
			k := slices.IndexFunc(all[i], func(b measure) bool { return b.metric == a.metric })
			if !asked || k < 0 || r.Models[0].Metrics[a.metric] == (Metric{}) || r.Models[i].Metrics[a.metric] == (Metric{}) {
				continue
			}
			c := in.difference(a, &all[i][k], in.Models[0].Name, in.Models[i].Name)
			c.With = in.Models[i].Name
			r.Comparisons = append(r.Comparisons, c)
		}
	}
	p := make([]float64, len(r.Comparisons))
	for i := range r.Comparisons {
		p[i] = r.Comparisons[i].P
	}
	for i, v := range Holm(p) {
		c := &r.Comparisons[i]
		c.Adjusted, c.Verdict = v, judged(c.Metric, c.Difference.Value, v)
		c.Sentence = c.sentence(in.Models[0].Name)
	}
}

// sample keeps answers row by row: of all rows, or of as many as are kept at most, which
// are drawn evenly.
func (in *Input) sample(r *Report) {
	n := len(in.Rows)
	at := make([]int, 0, min(n, AnswersMax))
	draw := chance(in.Seed, "sample")
	for i := range n {
		if left := AnswersMax - len(at); n-i <= left || draw.IntN(n-i) < left {
			at = append(at, i)
		}
	}
	if len(at) < n {
		r.note("Answers row by row are kept of %d rows of %d, drawn by the seed.", len(at), n)
	}
	one := in.horizon() == 1 && (in.Task == TaskRegression || in.Task == TaskForecast)
	r.Sample = &Sample{Rows: pick(in.Rows, at)}
	if in.Task == TaskClassification {
		r.Sample.Expected = pick(in.Expected, at)
	}
	if one {
		r.Sample.Values = pick(in.ExpectedValues, at)
	}
	for i := range in.Models {
		m := &in.Models[i]
		a := &Answers{}
		if in.Scored {
			a.Scores = pick(m.Scores, at)
		}
		if in.Task == TaskClassification {
			a.Predicted = pick(m.Predicted, at)
			for j, row := range at {
				a.Correct = append(a.Correct, a.Predicted[j] == in.Expected[row])
				if len(m.Probability) > 0 {
					a.Margin = append(a.Margin, m.margin(row, len(in.Data.Classes)))
				}
			}
		}
		if one {
			a.Values = pick(m.Values, at)
		}
		if in.Task == TaskGeneration && len(m.Text) > 0 && len(in.ExpectedText) > 0 {
			a.Correct, _, _ = texts(pick(in.ExpectedText, at), pick(m.Text, at))
		}
		r.Models[i].Answers = a
	}
}

func (r *Report) note(format string, v ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, v...)) }
