package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTexts(t *testing.T) {
	for _, c := range []struct {
		expected, answer string
		exact            bool
		f1, rouge        float64
	}{
		{"The cat sat.", "cat  SAT!", true, 1, 0.8},
		{"Paris", "It is Paris, France", false, 2.0 / 5, 2.0 / 5},
		{"a b c d", "d c b a", false, 1, 2.0 / 8}, // of b c d and d c b, without the article; the order counts for ROUGE alone
		{"$5.00", "500", true, 1, 0},
		{"北京。", "北京", true, 1, 1},
		{"北京市", "北京", false, 4.0 / 5, 4.0 / 5},
		{"the", "an", true, 1, 0},
		{"yes", "", false, 0, 0},
	} {
		exact, f1, rouge := texts([]string{c.expected}, []string{c.answer})
		if exact[0] != c.exact || math.Abs(f1[0]-c.f1) > 1e-12 || math.Abs(rouge[0]-c.rouge) > 1e-12 {
			t.Errorf("%q answered %q: exact %v, F1 %g, ROUGE %g; want %v, %g, %g", c.expected, c.answer, exact[0], f1[0], rouge[0], c.exact, c.f1, c.rouge)
		}
	}
}

// The bits give what the table of all prefixes gives.
func TestCommon(t *testing.T) {
	table := func(a, b []string) int {
		row := make([]int, len(b)+1)
		for _, x := range a {
			before := 0
			for j, y := range b {
				above := row[j+1]
				if x == y {
					row[j+1] = before + 1
				} else {
					row[j+1] = max(row[j+1], row[j])
				}
				before = above
			}
		}
		return row[len(b)]
	}
	r := rand.New(rand.NewPCG(1, 2))
	words := func(n, of int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = string(rune('a' + r.IntN(of)))
		}
		return out
	}
	for range 500 {
		a, b := words(r.IntN(200), 1+r.IntN(20)), words(r.IntN(200), 1+r.IntN(20))
		if got, want := common(a, b), table(a, b); got != want {
			t.Fatalf("%v and %v have %d in common, got %d", a, b, want, got)
		}
	}
}

func TestJudgeTexts(t *testing.T) {
	in := &Input{
		Task: TaskGeneration, Seed: 1, Requirements: []Requirement{{Metric: TokenF1, NotWorseThan: "other"}},
		Models: []Answered{{Name: "best", TokensPerSecond: 30, Seconds: []float64{0.1}}, {Name: "other"}},
	}
	for i := range 60 {
		in.Rows = append(in.Rows, int64(i))
		in.ExpectedText = append(in.ExpectedText, "the answer is 42")
		in.Models[0].Text = append(in.Models[0].Text, "Answer is: 42")
		in.Models[1].Text = append(in.Models[1].Text, "it is perhaps 42")
	}
	in.Slices = []Column{{Name: "kind", Values: slices.Repeat([]string{"x"}, 60)}}
	r, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Models[0].Metrics
	if m[ExactMatch].Value != 1 || m[TokenF1].Value != 1 || m[RougeL].Value < 0.8 || m[TokenRate].Value != 30 {
		t.Errorf("metrics %+v", m)
	}
	if r.Metric != ExactMatch || len(r.Comparisons) != 2 || r.Comparisons[0].Test != "mcnemar" || r.Comparisons[1].Test != "permutation" || !r.Passed {
		t.Errorf("about %s: %+v", r.Metric, r.Comparisons)
	}
	if a := r.Models[1].Answers; len(a.Correct) != 60 || a.Correct[0] || len(r.Models[0].Slices) != 1 {
		t.Errorf("answers %+v, slices %+v", a, r.Models[0].Slices)
	}
}
