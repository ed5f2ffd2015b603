package route

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/model/infer"
)

// A row goes on if and only if its margin is below the threshold, and only rows that went
// on are answered by the general model.
func TestCascadeRows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		n, classes := 1+rng.IntN(20), 2+rng.IntN(4)
		c := &Cascade{General: 1, Threshold: rng.Float64()}
		small, margins := answer(rng, n, classes)
		j := c.JudgeTensors(small, n)
		if j.Reason != "" || j.Rows != n {
			t.Fatalf("%+v", j)
		}
		for i, m := range margins {
			if slices.Contains(j.Unsure, i) != (m < c.Threshold) {
				t.Fatalf("row %d has margin %v, the threshold is %v; unsure are %v", i, m, c.Threshold, j.Unsure)
			}
		}
		if len(j.Unsure) == 0 {
			continue
		}
		ask := &infer.Request{Inputs: []infer.Tensor{infer.New("x", numbered(2*n), int64(n), 2)}}
		part, err := Part(ask, j.Unsure)
		if err != nil {
			t.Fatal(err)
		}
		for k, row := range j.Unsure {
			if d := part.Inputs[0].Data.([]float32); d[2*k] != float32(2*row) || d[2*k+1] != float32(2*row+1) {
				t.Fatalf("rows %v became %v", j.Unsure, d)
			}
		}
		large, _ := answer(rng, len(j.Unsure), classes)
		both, err := Merge(small, large, j.Unsure, n)
		if err != nil {
			t.Fatal(err)
		}
		row := func(r *infer.Response, i int) []float32 {
			return r.Outputs[0].Data.([]float32)[i*classes : (i+1)*classes]
		}
		for i := range n {
			want := row(small, i)
			if k := slices.Index(j.Unsure, i); k >= 0 {
				want = row(large, k)
			}
			if !slices.Equal(row(both, i), want) {
				t.Fatalf("row %d is %v, want %v", i, row(both, i), want)
			}
		}
	}
}

func numbered(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i)
	}
	return out
}

// answer draws probabilities, and tells the margins.
func answer(rng *rand.Rand, rows, classes int) (*infer.Response, []float64) {
	var data []float32
	var margins []float64
	for range rows {
		p := make([]float64, classes)
		sum := 0.0
		for i := range p {
			p[i] = rng.ExpFloat64()
			sum += p[i]
		}
		f := make([]float64, classes)
		for i := range p {
			data = append(data, float32(p[i]/sum))
			f[i] = float64(float32(p[i] / sum))
		}
		slices.Sort(f)
		margins = append(margins, f[classes-1]-f[classes-2])
	}
	return &infer.Response{Outputs: []infer.Tensor{infer.New(infer.OutputProbabilities, data, int64(rows), int64(classes))}}, margins
}

func TestJudgeTensorsUnknown(t *testing.T) {
	values := &infer.Response{Outputs: []infer.Tensor{infer.New("values", []float32{1, 2}, 2)}}
	short := &infer.Response{Outputs: []infer.Tensor{infer.New("probabilities", []float32{1, 0}, 1, 2)}}
	for name, c := range map[string]struct {
		c    Cascade
		resp *infer.Response
		want string
	}{
		"no output":      {Cascade{Output: "sure"}, values, `no output "sure"`},
		"no scores":      {Cascade{}, values, "no output"},
		"fewer rows":     {Cascade{}, short, "answered 1 rows of 2"},
		"one of one row": {Cascade{Output: "values"}, values, "scores have [rows, classes]"},
	} {
		if j := c.c.JudgeTensors(c.resp, 2); !strings.Contains(j.Reason, c.want) || len(j.Unsure) != 2 {
			t.Errorf("%s: %+v", name, j)
		}
	}
}

func TestRowsOf(t *testing.T) {
	x := infer.New("x", []float32{1, 2}, 2, 1)
	for name, c := range map[string]struct {
		inputs []infer.Tensor
		rows   int
		ok     bool
	}{
		"none":        {nil, 1, false},
		"two":         {[]infer.Tensor{x}, 2, true},
		"of two":      {[]infer.Tensor{x, infer.New("y", []float32{1, 2}, 2)}, 2, true},
		"that differ": {[]infer.Tensor{x, infer.New("y", []float32{1}, 1)}, 1, false},
		"a scalar":    {[]infer.Tensor{infer.New("y", []float32{1})}, 1, false},
	} {
		if rows, ok := RowsOf(&infer.Request{Inputs: c.inputs}); rows != c.rows || ok != c.ok {
			t.Errorf("%s: %d, %v", name, rows, ok)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	of := func(ts ...infer.Tensor) *infer.Response { return &infer.Response{Outputs: ts} }
	all := of(infer.New("p", []float32{1, 2, 3, 4}, 2, 2))
	for want, some := range map[string]*infer.Response{
		"1 outputs, the general model 0": of(),
		"has no output p":                of(infer.New("q", []float32{1, 2}, 1, 2)),
		"is FP32 of the specialist":      of(infer.Tensor{Name: "p", Datatype: infer.FP64, Shape: []int64{1, 2}, Data: []float64{1, 2}}),
		"has shape":                      of(infer.New("p", []float32{1}, 1, 1)),
		"not the same form":              of(infer.New("p", []float32{1}, 1, 2)),
	} {
		if _, err := Merge(all, some, []int{1}, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}

func TestJudgeText(t *testing.T) {
	c := &Cascade{Threshold: 0.9}
	for name, o := range map[string]struct {
		body   string
		sure   bool
		reason string
	}{
		"sure":           {`{"choices":[{"logprobs":{"content":[{"logprob":-0.01},{"logprob":-0.1}]}}]}`, true, ""},
		"not sure":       {`{"choices":[{"logprobs":{"content":[{"logprob":-0.01},{"logprob":-1}]}}]}`, false, ""},
		"one of two":     {`{"choices":[{"logprobs":{"content":[{"logprob":0}]}},{"logprobs":{"content":[{"logprob":-1}]}}]}`, false, ""},
		"completion":     {`{"choices":[{"logprobs":{"token_logprobs":[null,-0.01]}}]}`, true, ""},
		"none":           {`{"choices":[{"logprobs":null}]}`, false, "no logprobs"},
		"one without":    {`{"choices":[{"logprobs":{"content":[{"logprob":0}]}},{}]}`, false, "no logprobs"},
		"no choice":      {`{"choices":[]}`, false, "no choices"},
		"not JSON":       {`hello`, false, "no JSON"},
		"no probability": {`{"choices":[{"logprobs":{"content":[{"logprob":5}]}}]}`, true, ""},
	} {
		j := c.JudgeText([]byte(o.body))
		if (len(j.Unsure) == 0) != o.sure || !strings.Contains(j.Reason, o.reason) || (o.reason == "") != (j.Reason == "") {
			t.Errorf("%s: %+v", name, j)
		}
	}
}

func TestAskHow(t *testing.T) {
	for in, want := range map[string]struct {
		chat  bool
		out   string
		asked bool
	}{
		`{"model":"m"}`:                  {true, `{"logprobs":true,"model":"m"}`, false},
		`{"model":"m","logprobs":false}`: {true, `{"logprobs":true,"model":"m"}`, false},
		`{"model":"m","logprobs":true}`:  {true, `{"model":"m","logprobs":true}`, true},
		`{"model":"c"}`:                  {false, `{"logprobs":1,"model":"c"}`, false},
		`{"model":"c","logprobs":0}`:     {false, `{"logprobs":1,"model":"c"}`, true},
		`{"model":"c","logprobs":3}`:     {false, `{"model":"c","logprobs":3}`, true},
	} {
		out, asked, err := AskHow([]byte(in), want.chat)
		if err != nil || string(out) != want.out || asked != want.asked {
			t.Errorf("%s: %s, %v, %v", in, out, asked, err)
		}
	}
	out, err := Unasked([]byte(`{"choices":[{"index":0,"logprobs":{"content":[]}}],"id":"7"}`))
	if err != nil || string(out) != `{"choices":[{"index":0,"logprobs":null}],"id":"7"}` {
		t.Errorf("%s, %v", out, err)
	}
	if !Streams([]byte(`{"stream":true}`)) || Streams([]byte(`{"stream":false}`)) || Streams([]byte(`x`)) {
		t.Error("streams")
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte(`{"choices":[{"logprobs":{"content":[{"logprob":-0.01}]}}]}`))
	f.Add([]byte(`{"model":"m","stream":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		j := (&Cascade{Threshold: 0.5}).JudgeText(body)
		if j.Reason != "" && len(j.Unsure) != 1 {
			t.Errorf("what cannot be judged is believed: %+v", j)
		}
		if out, _, err := AskHow(body, true); err == nil && len(out) == 0 {
			t.Error("nothing is asked")
		}
		_, _ = Unasked(body)
		_ = Streams(body)
	})
}
