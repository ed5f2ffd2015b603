package eval

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// FewRows is below how many rows a slice says nothing.
const FewRows = 30

const (
	sliceValuesMax   = 32 // of one column
	sliceNumbersMax  = 12 // different numbers, above which they are cut into quarters
	sliceHorizonsMax = 32
)

// A part of the rows.
type part struct {
	column, value string
	at            []int
}

// slice judges each part of the rows, and tells of those where the candidate is worse.
func (in *Input) slice(r *Report) {
	var parts []part
	for i := range in.Slices {
		parts = append(parts, in.Slices[i].parts(r)...)
	}
	if over := len(parts) - SlicesMax; over > 0 {
		r.note("%d slices are left out; a report has at most %d.", over, SlicesMax)
		parts = parts[:SlicesMax]
	}
	type found struct {
		Regression
		p float64
	}
	var all []found
	take := func(p part, ms []measure) {
		few := len(p.at) < FewRows
		for i := range ms {
			r.Models[i].Slices = append(r.Models[i].Slices, in.sliceOf(p, &ms[i], in.Models[i].Name, few))
			if i == 0 || few {
				continue
			}
			c := in.difference(&ms[0], &ms[i], in.Models[0].Name, in.Models[i].Name, p.column, p.value)
			all = append(all, found{Regression{Column: p.column, Value: p.value, Rows: int64(len(p.at)), With: in.Models[i].Name, Metric: c.Metric, Difference: c.Difference.Value}, c.P})
		}
	}
	for _, p := range parts {
		ms := make([]measure, len(in.Models))
		for i := range in.Models {
			ms[i] = first(in.measures(&in.Models[i], p.at), r.Metric)
		}
		take(p, ms)
	}
	in.horizons(r, take)
	ps := make([]float64, len(all))
	for i := range all {
		ps[i] = all[i].p
	}
	for i, v := range Holm(ps) {
		if judged(all[i].Metric, all[i].Difference, v) == Worse {
			all[i].Adjusted = v
			r.Regressions = append(r.Regressions, all[i].Regression)
		}
	}
}

// horizons are slices of a forecast: how far ahead.
func (in *Input) horizons(r *Report, take func(part, []measure)) {
	h := in.horizon()
	if in.Task != TaskForecast || h == 1 || r.Metric != MAE {
		return
	}
	if h > sliceHorizonsMax {
		r.note("Horizons are not told apart: there are %d, the limit is %d.", h, sliceHorizonsMax)
		return
	}
	every := make([]int, len(in.Rows))
	for j := range h {
		ms := make([]measure, len(in.Models))
		for i := range in.Models {
			abs, _ := in.errors(&in.Models[i], j, j+1)
			ms[i] = measure{metric: MAE, rows: abs, stat: meanOf(abs), steps: len(abs)}
		}
		take(part{"horizon", strconv.Itoa(j + 1), every}, ms)
	}
}

func (in *Input) sliceOf(p part, m *measure, name string, few bool) Slice {
	s := Slice{Column: p.column, Value: p.value, Rows: int64(len(p.at)), Few: few, Metrics: map[string]Metric{}}
	if v, ok := in.metricOf(m, name, p.column, p.value); ok {
		if few {
			v = Metric{Value: v.Value}
		}
		s.Metrics[m.metric] = v
	}
	return s
}

func first(ms []measure, metric string) measure {
	return ms[slices.IndexFunc(ms, func(m measure) bool { return m.metric == metric })]
}

// parts of a column: one for each value, quarters where it has many numbers, and the rest
// together where it has many words.
func (c *Column) parts(r *Report) []part {
	at := map[string][]int{}
	for i, v := range c.Values {
		at[v] = append(at[v], i)
	}
	if len(at) > sliceNumbersMax {
		if out, ok := c.quarters(); ok {
			return out
		}
	}
	values := make([]string, 0, len(at))
	for v := range at {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b string) int {
		if d := len(at[b]) - len(at[a]); d != 0 {
			return d
		}
		return Natural(a, b)
	})
	if len(values) > sliceValuesMax {
		r.note("Column %s has %d values; slices are told of the %d with the most rows.", c.Name, len(values), sliceValuesMax)
		values = values[:sliceValuesMax]
	}
	slices.SortFunc(values, Natural)
	out := make([]part, len(values))
	for i, v := range values {
		out[i] = part{c.Name, v, at[v]}
	}
	return out
}

// quarters cuts a column of numbers at its quartiles; ok is false when it has others.
func (c *Column) quarters() ([]part, bool) {
	v := make([]float64, len(c.Values))
	for i, s := range c.Values {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || !finite(x) {
			return nil, false
		}
		v[i] = x
	}
	sorted := slices.Sorted(slices.Values(v))
	cuts := slices.Compact([]float64{quantile(sorted, .25), quantile(sorted, .5), quantile(sorted, .75), sorted[len(sorted)-1]})
	out := make([]part, len(cuts))
	from := sorted[0]
	for i, to := range cuts {
		out[i] = part{column: c.Name, value: fmt.Sprintf("%.4g to %.4g", from, to)}
		from = to
	}
	for i, x := range v {
		j, _ := slices.BinarySearch(cuts, x)
		out[j].at = append(out[j].at, i)
	}
	return out, true
}

// Natural orders numbers by value, before words.
func Natural(a, b string) int {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	switch {
	case errA == nil && errB == nil && x != y:
		return cmp.Compare(x, y)
	case errA == nil && errB != nil:
		return -1
	case errA != nil && errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}
