package trial

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/eval"
)

func scored() *eval.Input {
	return &eval.Input{
		Task: eval.TaskClassification, Scored: true, Rows: []int64{4, 5}, Data: eval.Data{Classes: []string{"a", "b"}}, Expected: []int{0, 1},
		Models: []eval.Answered{{Name: "m", Predicted: []int{0, -1}}, {Name: "n", Predicted: []int{1, 1}}},
	}
}

func TestAnswersAndScores(t *testing.T) {
	var out bytes.Buffer
	if err := WriteAnswers(&out, scored()); err != nil {
		t.Fatal(err)
	}
	want := `{"row":4,"model":"m","expected":"a","answer":"a"}
{"row":5,"model":"m","expected":"b","answer":null}
{"row":4,"model":"n","expected":"a","answer":"b"}
{"row":5,"model":"n","expected":"b","answer":"b"}
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("what a program reads (-want +got):\n%s", d)
	}
	forecast := &eval.Input{Task: eval.TaskForecast, Horizon: 2, Rows: []int64{0}, ExpectedValues: []float64{1, 2}, Models: []eval.Answered{{Name: "m", Values: []float64{3, 4}}}}
	out.Reset()
	if err := WriteAnswers(&out, forecast); err != nil || out.String() != `{"row":0,"model":"m","expected":[1,2],"answer":[3,4]}`+"\n" {
		t.Errorf("a forecast: %q, %v", out.String(), err)
	}
	in := scored()
	if err := ReadScores(strings.NewReader(scores(5, "n", 4, "n", 4, "m", 5, "m")), in); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]float64{{2, 3}, {1, 0}}, [][]float64{in.Models[0].Scores, in.Models[1].Scores}); d != "" {
		t.Errorf("scores (-want +got):\n%s", d)
	}
	out.Reset()
	if err := Save(&out, in); err != nil {
		t.Fatal(err)
	}
	got, err := Load(&out)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, got); d != "" {
		t.Errorf("what was kept came back otherwise:\n%s", d)
	}
}

// scores are lines of rows and models; the score is the line's number, from 0.
func scores(of ...any) string {
	var b strings.Builder
	for i := 0; i < len(of); i += 2 {
		fmt.Fprintf(&b, "{\"row\":%d,\"model\":%q,\"score\":%d}\n", of[i], of[i+1], i/2)
	}
	return b.String()
}

func TestScoresRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"none":          {"", "wrote 0 scores, 4 were asked"},
		"too few":       {scores(4, "m", 5, "m"), "wrote 2 scores"},
		"one twice":     {scores(4, "m", 4, "m"), "two scores of row 4 of model m"},
		"too many":      {scores(4, "m", 5, "m", 4, "n", 5, "n", 4, "m"), "more than the 4"},
		"another row":   {scores(9, "m"), "about row 9"},
		"another model": {scores(4, "x"), `of model "x"`},
		"no score":      {`{"row":4,"model":"m"}`, "is no object with row, model and score"},
		"NaN":           {`{"row":4,"model":"m","score":NaN}`, "is no object"},
		"words":         {"all is well\n", "is no object"},
		"a long line":   {strings.Repeat("x", scoreLineMax+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := ReadScores(strings.NewReader(c.text), scored()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func FuzzReadScores(f *testing.F) {
	f.Add([]byte(scores(4, "m", 5, "m", 4, "n", 5, "n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := scored()
		if ReadScores(bytes.NewReader(b), in) != nil {
			return
		}
		if _, err := eval.Judge(in); err != nil {
			t.Errorf("scores that were taken cannot be judged: %v", err)
		}
	})
}
