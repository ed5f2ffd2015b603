package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func number(v float64) *float64 { return &v }

// small is a report of two models on three rows.
func small() *Report {
	return &Report{
		Version: Version, Task: TaskClassification, Seed: 7, Metric: Accuracy,
		Data: Data{Digest: "sha256:aa", Label: "digit", Rows: 3, Classes: []string{"no", "yes"}},
		Models: []Model{{
			Name: "small", Metrics: map[string]Metric{Accuracy: {Value: 2. / 3, Low: number(.2), High: number(.9), Method: "wilson"}},
			Latency: &Latency{Requests: 3, Bounds: []float64{.001, .002}, Counts: []int64{1, 2, 0}},
			Answers: &Answers{Predicted: []int{0, 1, 1}, Correct: Bits{true, true, false}, Margin: []float64{.5, .25, .125}},
		}, {
			Name: "large", Metrics: map[string]Metric{Accuracy: {Value: 1}},
			Answers: &Answers{Predicted: []int{0, 1, 0}, Correct: Bits{true, true, true}},
		}},
		Comparisons: []Comparison{{With: "large", Metric: Accuracy, Difference: Metric{Value: -1. / 3}, Lost: 1, Test: "mcnemar", P: 1, Adjusted: 1, Verdict: None, Sentence: "No significant difference."}},
		Verdict:     "No significant difference.", Passed: true,
		Sample: &Sample{Rows: []int64{0, 1, 2}, Expected: []int{0, 1, 0}},
	}
}

func TestReportRoundTrip(t *testing.T) {
	want := small()
	b, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(string(b), "\n") {
		t.Error("a report must be one line")
	}
	if !strings.Contains(string(b), `"correct":"110"`) {
		t.Errorf("correct is not a string of bits: %s", b)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a report came back otherwise (-wrote +read):\n%s", d)
	}
}

func TestReportRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Report)
		want   string
	}{
		"another version":          {func(r *Report) { r.Version = 2 }, "version: 2"},
		"unknown task":             {func(r *Report) { r.Task = "poetry" }, "task"},
		"no models":                {func(r *Report) { r.Models = nil }, "models: there are 0"},
		"a name twice":             {func(r *Report) { r.Models[1].Name = "small" }, "models[1].name"},
		"no rows":                  {func(r *Report) { r.Data.Rows = 0 }, "data.rows"},
		"a metric that is NaN":     {func(r *Report) { r.Models[0].Metrics[Accuracy] = Metric{Value: math.NaN()} }, "metrics.accuracy"},
		"an interval upside down":  {func(r *Report) { r.Models[0].Metrics[Accuracy] = Metric{Low: number(1), High: number(0)} }, "metrics.accuracy"},
		"half an interval":         {func(r *Report) { r.Models[0].Metrics[Accuracy] = Metric{Low: number(1)} }, "metrics.accuracy"},
		"answers without a sample": {func(r *Report) { r.Sample = nil }, "sample"},
		"too few answers":          {func(r *Report) { r.Models[0].Answers.Margin = []float64{1} }, "answers.margin"},
		"a margin above one":       {func(r *Report) { r.Models[0].Answers.Margin[0] = 1.5 }, "answers.margin[0]"},
		"a class that is none":     {func(r *Report) { r.Models[0].Answers.Predicted[0] = 2 }, "answers.predicted[0]"},
		"rows that do not rise":    {func(r *Report) { r.Sample.Rows[1] = 0 }, "sample.rows[1]"},
		"with an unknown model":    {func(r *Report) { r.Comparisons[0].With = "nobody" }, "comparisons[0].with"},
		"p above one":              {func(r *Report) { r.Comparisons[0].P = 2 }, "comparisons[0].p"},
		"counts for other bounds":  {func(r *Report) { r.Models[0].Latency.Counts = nil }, "latency.counts"},
	} {
		t.Run(name, func(t *testing.T) {
			r := small()
			c.change(r)
			if _, err := Encode(r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Encode(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
