package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudgeVerdicts(t *testing.T) {
	in := inputOf(dice(t), 600)
	in.Requirements = []Requirement{
		{Metric: Accuracy, Min: number(0.9)}, {Metric: F1, NotWorseThan: "large"}, {Metric: LatencyP99, Max: number(0.001)},
	}
	r, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range r.Comparisons {
		got[c.With+" "+c.Metric] = c.Verdict
	}
	if d := cmp.Diff(map[string]string{"large accuracy": None, "large f1": None, "old accuracy": Better}, got); d != "" {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
	for _, want := range []string{"No significant difference between small and large", "small is better than old", "latency_p99_seconds of small is 0.003; at most 0.001 is required"} {
		if !strings.Contains(r.Verdict, want) {
			t.Errorf("the verdict does not say %q: %s", want, r.Verdict)
		}
	}
	met := []bool{}
	for _, j := range r.Requirements {
		met = append(met, j.Met)
	}
	if d := cmp.Diff([]bool{true, true, false}, met); d != "" || r.Passed {
		t.Errorf("requirements (-want +got), passed %v:\n%s", r.Passed, d)
	}
	if b, err := Encode(r); err != nil {
		t.Error(err)
	} else if _, err := Decode(b); err != nil {
		t.Error(err)
	}
}

func TestJudgeSlices(t *testing.T) {
	in := inputOf(dice(t), 600)
	rare := make([]string, 600)
	for i := range rare {
		rare[i] = "often"
		if i < 10 {
			rare[i] = "rare"
		}
		if in.Slices[0].Values[i] == "south" && i%2 == 0 { // the candidate fails in the south
			e := (in.Expected[i] + 1) % 3
			in.Models[0].Predicted[i] = e
		}
	}
	in.Slices = append(in.Slices, Column{Name: "kind", Values: rare})
	r, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.Regressions {
		if g.Value == "north" || g.Value == "rare" {
			t.Errorf("regression where there is none: %+v", g)
		}
	}
	if len(r.Regressions) == 0 {
		t.Fatal("there are no regressions")
	}
	if g := r.Regressions[0]; g.Column != "region" || g.Value != "south" || g.With != "large" || g.Difference > -0.3 || g.Adjusted >= 0.05 {
		t.Errorf("regression %+v", g)
	}
	for _, s := range r.Models[0].Slices {
		m := s.Metrics[Accuracy]
		if few := s.Value == "rare"; s.Few != few || (m.Low == nil) != few {
			t.Errorf("slice %s=%s of %d rows: few %v, interval %v", s.Column, s.Value, s.Rows, s.Few, m.Low != nil)
		}
	}
	if !strings.Contains(r.Verdict, "worse") {
		t.Errorf("the verdict hides it: %s", r.Verdict)
	}
}

func TestSliceParts(t *testing.T) {
	var r Report
	numbers, words := Column{Name: "age"}, Column{Name: "city"}
	for i := range 100 {
		numbers.Values = append(numbers.Values, string(rune('0'+i/10))+string(rune('0'+i%10)))
		words.Values = append(words.Values, "city "+numbers.Values[i])
	}
	got := numbers.parts(&r)
	sizes := []int{}
	for _, p := range got {
		sizes = append(sizes, len(p.at))
	}
	if d := cmp.Diff([]int{25, 25, 25, 25}, sizes); d != "" || got[0].value != "0 to 24" {
		t.Errorf("quarters of a column of numbers: %q, sizes (-want +got):\n%s", got[0].value, d)
	}
	if n := len(words.parts(&r)); n != sliceValuesMax || len(r.Notes) != 1 {
		t.Errorf("%d slices of a column of 100 words, notes %q", n, r.Notes)
	}
}

func TestJudgeForecast(t *testing.T) {
	r := dice(t)
	in := &Input{Task: TaskForecast, Seed: 1, Horizon: 3, Models: []Answered{{Name: "new"}, {Name: "old"}}}
	for i := range 200 {
		in.Rows = append(in.Rows, int64(i))
		for h := range 3 {
			v := r.NormFloat64()
			in.ExpectedValues = append(in.ExpectedValues, v)
			in.Models[0].Values = append(in.Models[0].Values, v+0.5*r.NormFloat64())
			in.Models[1].Values = append(in.Models[1].Values, v+0.5*(1+float64(h))*r.NormFloat64())
		}
	}
	got, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Comparisons[0]; c.Metric != MAE || c.Verdict != Better || c.Difference.Value >= 0 || *c.Difference.High >= 0 {
		t.Errorf("comparison %+v", c)
	}
	if !strings.Contains(got.Verdict, "new is better than old: mae is") || !strings.Contains(got.Verdict, "below") {
		t.Errorf("verdict %q", got.Verdict)
	}
	if s := got.Models[1].Slices; len(s) != 3 || s[2].Column != "horizon" || s[2].Metrics[MAE].Value <= s[0].Metrics[MAE].Value {
		t.Errorf("horizons are not told apart: %+v", s)
	}
}

func TestSampleOfAnswers(t *testing.T) {
	n := AnswersMax + 5000
	in := &Input{Task: TaskRegression, Seed: 3, Models: []Answered{{Name: "m"}}}
	for i := range n {
		in.Rows = append(in.Rows, int64(i))
		in.ExpectedValues = append(in.ExpectedValues, float64(i))
	}
	in.Models[0].Values = in.ExpectedValues
	r := &Report{Models: make([]Model, 1)}
	in.sample(r)
	rows := r.Sample.Rows
	if len(rows) != AnswersMax || len(r.Notes) != 1 || len(r.Models[0].Answers.Values) != AnswersMax {
		t.Fatalf("%d rows are kept, notes %q", len(rows), r.Notes)
	}
	late := 0
	for i, row := range rows {
		if i > 0 && row <= rows[i-1] || r.Sample.Values[i] != float64(row) {
			t.Fatalf("row %d is out of order or has another's label", row)
		}
		if row >= int64(n/2) {
			late++
		}
	}
	if share := float64(late) / AnswersMax; math.Abs(share-0.5) > 0.02 {
		t.Errorf("%.3f of the sample is of the second half", share)
	}
}

func TestJudgeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		want   string
	}{
		"no rows":              {func(in *Input) { in.Rows = nil }, "no rows"},
		"no label":             {func(in *Input) { in.Expected[3] = -1 }, "row 3 has no label"},
		"too few labels":       {func(in *Input) { in.Expected = in.Expected[:9] }, "40 rows have 9 labels"},
		"answers missing":      {func(in *Input) { in.Models[1].Predicted = nil }, "model large: there are 0 answers"},
		"a NaN probability":    {func(in *Input) { in.Models[0].Probability[7] = float32(math.NaN()) }, "model small: the answer to row 2 is no probability"},
		"a class that is none": {func(in *Input) { in.Models[0].Predicted[2] = 9 }, "class 9 of 3"},
		"an unknown task":      {func(in *Input) { in.Task = "poetry" }, "no task"},
		"an unknown metric":    {func(in *Input) { in.Requirements = []Requirement{{Metric: "beauty", Min: number(1)}} }, "there are accuracy, f1, auc"},
		"a metric of others":   {func(in *Input) { in.Requirements = []Requirement{{Metric: MAE, Max: number(1)}} }, "no \"mae\""},
		"asks for nothing":     {func(in *Input) { in.Requirements = []Requirement{{Metric: Accuracy}} }, "asks for nothing"},
		"an unknown model":     {func(in *Input) { in.Requirements = []Requirement{{Metric: Accuracy, NotWorseThan: "x"}} }, "there are large, old"},
		"itself":               {func(in *Input) { in.Requirements = []Requirement{{Metric: Accuracy, NotWorseThan: "small"}} }, "there are large, old"},
		"a slice too short":    {func(in *Input) { in.Slices[0].Values = nil }, "slice column region"},
	} {
		t.Run(name, func(t *testing.T) {
			in := inputOf(dice(t), 40)
			c.change(in)
			if _, err := Judge(in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
	in := &Input{Task: TaskRegression, Rows: []int64{4, 5}, ExpectedValues: []float64{1, 2}, Models: []Answered{{Name: "m", Values: []float64{1, math.NaN()}}}}
	if _, err := Judge(in); err == nil || !strings.Contains(err.Error(), "answer of row 5 is not a number") {
		t.Errorf("a NaN among answers: %v", err)
	}
}

// One class is judged, but its area under the curve cannot be told.
func TestJudgeOneClass(t *testing.T) {
	in := &Input{Task: TaskClassification, Data: Data{Classes: []string{"a", "b"}}, Models: []Answered{{Name: "m"}}}
	for i := range 40 {
		in.Rows, in.Expected = append(in.Rows, int64(i)), append(in.Expected, 1)
		in.Models[0].Predicted = append(in.Models[0].Predicted, 1)
		in.Models[0].Probability = append(in.Models[0].Probability, .3, .7)
	}
	in.Requirements = []Requirement{{Metric: AUC, Min: number(.5)}}
	r, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Models[0].Metrics[AUC]; ok || len(r.Notes) != 1 || r.Passed || !strings.Contains(r.Verdict, "auc of m could not be measured") {
		t.Errorf("notes %q, passed %v, verdict %q", r.Notes, r.Passed, r.Verdict)
	}
}

func TestContamination(t *testing.T) {
	zero := float32(math.Copysign(0, -1))
	data := []float32{
		1, 2, 3, 4, // 0: in training, with its label
		1, 2, 3, 9, // 1: in training, labelled otherwise
		5, 6, 7, 8, // 2: all but one
		5, 6, 0, 0, // 3: two differ
		0, 0, 0, 0, // 4: the other zero
	}
	f := NewFinder([]int64{10, 11, 12, 13, 14}, []string{"a", "a", "a", "a", "a"}, data, 4)
	for _, row := range []struct {
		label string
		v     []float32
	}{
		{"b", []float32{1, 2, 3, 4}}, {"a", []float32{1, 2, 3, 4}}, {"b", []float32{1, 2, 3, 9}},
		{"a", []float32{5, 6, 7, 8.5}}, {"a", []float32{zero, 0, 0, 0}}, {"a", []float32{1, 2}},
	} {
		f.Train(row.v, row.label)
	}
	got, note := f.Found()
	want := &Contamination{TrainRows: 6, Exact: 3, Near: 1, Labels: 2, Rows: []int64{10, 11, 12, 14}}
	if d := cmp.Diff(want, got); d != "" || note != "" {
		t.Errorf("note %q, found (-want +got):\n%s", note, d)
	}
	few := NewFinder([]int64{0}, []string{"a"}, []float32{1, 2}, 2)
	few.Train([]float32{1, 3}, "a")
	if got, note := few.Found(); got.Near != 0 || note == "" {
		t.Errorf("two features: %+v, note %q", got, note)
	}
}

// TestTheVerdictTellsOfContamination: who reads only the sentence must hear of it.
func TestTheVerdictTellsOfContamination(t *testing.T) {
	r := &Report{Metric: Accuracy, Data: Data{Rows: 10}, Models: []Model{{Name: "m", Metrics: map[string]Metric{Accuracy: {Value: 0.9}}}}}
	for want, c := range map[string]*Contamination{
		"accuracy of m is 0.9.": {TrainRows: 40},
		"accuracy of m is 0.9. 10 of 10 rows are in the training data, too: quality is told too well.":                           {Exact: 10},
		"accuracy of m is 0.9. 0 of 10 rows are in the training data, too, and 2 but for one feature: quality is told too well.": {Near: 2},
	} {
		if r.Contamination = c; r.sentence() != want {
			t.Errorf("%q, want %q", r.sentence(), want)
		}
	}
}

// TestTheVerdictTellsOfTheSimplestAnswer: a model that is no better is told so, whatever it
// is compared with.
func TestTheVerdictTellsOfTheSimplestAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		accuracy  float64
		confusion [][]int64
		want      string
	}{
		"no better": {0.7, [][]int64{{7, 0}, {3, 0}}, " Always answering no is right in 0.7 of the rows, and m in no more."},
		"worse":     {0.6, [][]int64{{0, 2}, {2, 6}}, " Always answering yes is right in 0.8 of the rows, and m in no more."},
		"better":    {0.8, [][]int64{{7, 0}, {2, 1}}, ""},
		"not known": {0.5, [][]int64{{5, 0}, {2, 0}}, ""}, // some answers are of no class
		"too many":  {0.5, nil, ""},
		"one class": {1, [][]int64{{10, 0}, {0, 0}}, ""},
	} {
		r := &Report{Metric: Accuracy, Data: Data{Rows: 10, Classes: []string{"no", "yes"}}, Models: []Model{{Name: "m", Metrics: map[string]Metric{Accuracy: {Value: tc.accuracy}}, Confusion: tc.confusion}}}
		if got := r.sentence(); got != "accuracy of m is "+number4(tc.accuracy)+"."+tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
