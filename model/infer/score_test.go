package infer

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"polder.dev/polder/api/v1alpha1"
)

func TestRows(t *testing.T) {
	e := math.Exp(1)
	for _, c := range []struct {
		name string
		in   Tensor
		want []Row
	}{
		{"probabilities", New(OutputProbabilities, []float32{0.1, 0.7, 0.2, 0.5, 0.5, 0}, 2, 3),
			[]Row{{1, 0.7, 0.5}, {0, 0.5, 0}}},
		{"logits", New(OutputLogits, []float32{1, 0}, 1, 2), []Row{{0, e / (e + 1), (e - 1) / (e + 1)}}},
		{"logits that look like probabilities", New(OutputLogits, []float32{1, 0}, 1, 2), []Row{{0, e / (e + 1), (e - 1) / (e + 1)}}},
		{"of another name, probabilities", New("y", []float32{0.25, 0.75, 1, 0}, 2, 2), []Row{{1, 0.75, 0.5}, {0, 1, 1}}},
		{"of another name, one row is of logits, so all are", New("y", []float32{1, 0, 3, 2}, 2, 2),
			[]Row{{0, e / (e + 1), (e - 1) / (e + 1)}, {0, e / (e + 1), (e - 1) / (e + 1)}}},
		{"large logits", New(OutputLogits, []float32{10000, -10000}, 1, 2), []Row{{0, 1, 1}}},
		{"one column of probabilities", New(OutputProbabilities, []float32{0.9, 0.2}, 2, 1), []Row{{1, 0.9, 0.8}, {0, 0.8, 0.6}}},
		{"one column of logits", New(OutputLogits, []float32{0, 1}, 2, 1), []Row{{0, 0.5, 0}, {1, e / (e + 1), (e - 1) / (e + 1)}}},
		{"masked logits", New(OutputLogits, []float32{float32(math.Inf(-1)), 0}, 1, 2), []Row{{1, 1, 1}}},
		{"integers", Tensor{Name: "y", Datatype: Int64, Shape: []int64{1, 2}, Data: []int64{0, 1}}, []Row{{1, 1, 1}}},
		{"no rows", New(OutputProbabilities, nil, 0, 3), []Row{}},
	} {
		got, err := Rows(&c.in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRowsRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		in   Tensor
		want string
	}{
		{New(OutputProbabilities, []float32{1, 0, nan, 1}, 2, 2), "output probabilities holds NaN in row 1"},
		{New(OutputProbabilities, []float32{0.5, 0.4}, 1, 2), "row 0 adds up to 0.9, not to 1"},
		{New(OutputProbabilities, []float32{1.5, -0.5}, 1, 2), "row 0 holds 1.5"},
		{New(OutputValues, []float32{1}, 1), "has shape [1]; scores have [rows, classes]"},
		{New("y", []float32{}, 1, 0), "has shape [1 0]"},
		{New("y", []float32{1}, 1, 2), "holds 1 elements"},
		{Tensor{Name: "y", Datatype: Bytes, Shape: []int64{1, 1}, Data: [][]byte{{}}}, "holds no numbers"},
	} {
		_, err := Rows(&c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want an error with %q", c.in, err, c.want)
		}
	}
}

func TestScores(t *testing.T) {
	two := New("a", []float32{1, 0}, 1, 2)
	other := New("b", []float32{1, 0}, 1, 2)
	label := Tensor{Name: "label", Datatype: Int64, Shape: []int64{1, 1}, Data: []int64{0}}
	for _, c := range []struct {
		outputs []Tensor
		want    string
	}{
		{[]Tensor{two, New(OutputLogits, nil), New(OutputProbabilities, nil)}, OutputProbabilities},
		{[]Tensor{two, New(OutputLogits, nil)}, OutputLogits},
		{[]Tensor{label, two}, "a"},
		{[]Tensor{two, other}, ""},
		{[]Tensor{New("v", []float32{1}, 1)}, ""},
		{nil, ""},
	} {
		got := ""
		if s := (&Response{Outputs: c.outputs}).Scores(); s != nil {
			got = s.Name
		}
		if got != c.want {
			t.Errorf("scores of %v: %q, want %q", c.outputs, got, c.want)
		}
	}
}

func TestLeast(t *testing.T) {
	if _, ok := Least(nil); ok {
		t.Error("no rows have a least one")
	}
	if got, ok := Least([]Row{{0, 1, 1}, {1, 0.5, 0.25}, {2, 0.9, 0.5}}); !ok || got.Class != 1 {
		t.Errorf("least is %+v, %v", got, ok)
	}
	if got := Margin([]float64{0.25, 0.5, 0.25}); got != 0.25 {
		t.Errorf("margin %v", got)
	}
}

func TestParseServing(t *testing.T) {
	for _, c := range []struct {
		text string
		want *Serving
		err  string
	}{
		{"", nil, ""},
		{`{"framework":"pytorch","metrics":{"f1":0.97}}`, nil, ""},
		{`{"serving":null}`, nil, ""},
		{`{"serving":{"task":"classification","features":["a","b"],"labels":["no","yes"]}}`,
			&Serving{Task: "classification", Features: []string{"a", "b"}, Labels: []string{"no", "yes"}}, ""},
		{`{"serving":{"task":"forecast","horizon":12}}`, &Serving{Task: "forecast", Horizon: 12}, ""},
		{`[]`, nil, "reading model.json"},
		{`{"serving":{"task":"regression","lables":["a"]}}`, nil, `unknown field "lables"`},
		{`{"serving":{}}`, nil, `serving.task is ""; it must be one of classification, regression, forecast`},
		{`{"serving":{"task":"regression","labels":["a","b"]}}`, nil, "serving.labels are for task classification"},
		{`{"serving":{"task":"classification","labels":["a"]}}`, nil, "at least two classes"},
		{`{"serving":{"task":"classification","labels":["a","b","a"]}}`, nil, `serving.labels[2] is "a", like serving.labels[0]`},
		{`{"serving":{"task":"classification","features":[""]}}`, nil, "serving.features[0] must be of 1 to 256 bytes"},
		{`{"serving":{"task":"regression","horizon":1}}`, nil, "serving.horizon is for task forecast"},
		{`{"serving":{"task":"forecast","horizon":-1}}`, nil, "must be at least 1"},
	} {
		got, err := ParseServing([]byte(c.text))
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.err)
		}
		if diff := cmp.Diff(c.want, got); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestLabel(t *testing.T) {
	named := &Serving{Task: TaskClassification, Labels: []string{"no", "yes"}}
	var none *Serving
	for _, c := range []struct {
		s     *Serving
		class int
		label string
	}{{named, 1, "yes"}, {none, 7, "7"}} {
		if got := c.s.Label(c.class); got != c.label {
			t.Errorf("label of %d is %q, want %q", c.class, got, c.label)
		}
		if got := c.s.Class(c.label); got != c.class {
			t.Errorf("class of %q is %d, want %d", c.label, got, c.class)
		}
	}
	for _, l := range []string{"maybe", "1"} {
		if got := named.Class(l); got != -1 {
			t.Errorf("class of %q is %d", l, got)
		}
	}
	for _, l := range []string{"-1", "07", "1x", ""} {
		if got := none.Class(l); got != -1 {
			t.Errorf("class of %q is %d", l, got)
		}
	}
}

// The API and the models' own words are the same.
func TestTask(t *testing.T) {
	for ours, api := range map[string]v1alpha1.Task{TaskClassification: v1alpha1.TaskClassification, TaskRegression: v1alpha1.TaskRegression, TaskForecast: v1alpha1.TaskForecast} {
		if ours != string(api) {
			t.Errorf("%q is %q in the API", ours, api)
		}
	}
}

func FuzzParseServing(f *testing.F) {
	f.Add([]byte(`{"serving":{"task":"classification","features":["a"],"labels":["x","y"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := ParseServing(text); err == nil && s != nil {
			if err := s.Validate(); err != nil {
				t.Fatalf("read, but not valid: %v", err)
			}
		}
	})
}
