package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/infer"
)

// echo answers with the last word of the prompt.
type echo struct {
	wrong bool
	asked int
}

func (e *echo) Write(_ context.Context, prompt string) (Written, error) {
	e.asked++
	words := strings.Fields(prompt)
	out := Written{Text: "The " + words[len(words)-1] + "!", Tokens: 2, Sent: Sent{Took: 50 * time.Millisecond, Cost: 0.001, By: []eval.Origin{{Revision: "e-1", Rows: 1}}}}
	if e.wrong {
		out.Text, out.Tokens, out.Sent.Again = "nothing", 0, 1
	}
	if prompt == "fail now" {
		return out, &Trouble{errors.New("it is away")}
	}
	return out, nil
}

func near(m eval.Metric, want float64) bool { return math.Abs(m.Value-want) < 1e-6 }

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "{\"q\":\"say w%d\",\"kind\":\"k\",\"a\":\"w%d\"}\n", i, i)
	}
	write(t, filepath.Join(dir, "q.jsonl"), b.String())
	right, wrong := &echo{}, &echo{wrong: true}
	p := &Plan{
		Task: eval.TaskGeneration, Seed: 1, Data: Data{Dir: dir, Slices: []string{"kind"}}, Program: false,
		Models: []Entrant{{Name: "right", Service: "r"}, {Name: "wrong", Route: "w"}},
	}
	told := int64(0)
	d := Deps{
		Writer: func(_ context.Context, e Entrant) (Writer, error) {
			if e.Name == "right" {
				return right, nil
			}
			return wrong, nil
		},
		Now: time.Now, Tell: func(done, total int64) { told = done * 1000 / total },
	}
	in, err := Ask(t.Context(), p, d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := eval.Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Models[0]
	if v := m.Metrics; v[eval.ExactMatch].Value != 1 || !near(v[eval.TokenRate], 40) || !near(v[eval.Throughput], 20) || !near(v[eval.CostPer1K], 1) || v[eval.LatencyP50].Value != 0.05 {
		t.Errorf("metrics %+v", v)
	}
	if _, told := r.Models[1].Metrics[eval.TokenRate]; told || r.Models[1].Metrics[eval.ExactMatch].Value != 0 {
		t.Errorf("of the other one %+v", r.Models[1].Metrics)
	}
	if d := cmp.Diff([]eval.Origin{{Revision: "e-1", Rows: 60}}, m.By); d != "" || told != 1000 || right.asked != 61 {
		t.Errorf("told %d, asked %d: %s", told, right.asked, d)
	}
	if notes := strings.Join(r.Notes, " "); !strings.Contains(notes, "wrong were asked again 60 times") || !strings.Contains(notes, "through the gateway") {
		t.Errorf("notes %q", notes)
	}
	var out bytes.Buffer
	if err := WriteAnswers(&out, in); err != nil || !strings.HasPrefix(out.String(), `{"row":0,"model":"right","prompt":"say w0","expected":"w0","answer":"The w0!"}`+"\n") {
		t.Errorf("a program reads %.100q, %v", out.String(), err)
	}
	write(t, filepath.Join(dir, "q.jsonl"), "{\"q\":\"say\",\"a\":\"b\"}\n{\"q\":\"fail now\",\"a\":\"b\"}\n")
	p.Data.Slices = nil
	if _, err := Ask(t.Context(), p, d); !errors.As(err, new(*Trouble)) || !strings.Contains(err.Error(), "model right: answering row 1: it is away") {
		t.Errorf("a service that is away: %v", err)
	}
	p.Trained = &Data{Dir: dir}
	if _, err := Ask(t.Context(), p, d); err == nil || errors.As(err, new(*Trouble)) {
		t.Errorf("training data: %v", err)
	}
}

// talker is a service that names classes, and tells no probabilities.
type talker struct {
	*nearest
	say func(x float32) infer.Tensor
}

func (k talker) Width() (int, error) { return 0, nil }
func (k talker) Batch(int) int       { return 7 }
func (k talker) Sent() Sent {
	return Sent{Took: time.Millisecond, By: []eval.Origin{{Target: "t", Rows: 1}}}
}

func (k talker) Rows(_ context.Context, rows []float32, width, _ int) ([]infer.Tensor, error) {
	if len(rows)/width > 7 {
		return nil, errors.New("more rows than a request may have")
	}
	var ints []int64
	var words [][]byte
	for at := 0; at < len(rows); at += width {
		switch d := k.say(rows[at]).Data.(type) {
		case []int64:
			ints = append(ints, d...)
		case [][]byte:
			words = append(words, d...)
		}
	}
	n := int64(len(rows) / width)
	if len(words) > 0 {
		return []infer.Tensor{{Name: "label", Datatype: infer.Bytes, Shape: []int64{n}, Data: words}}, nil
	}
	return []infer.Tensor{{Name: "label", Datatype: infer.Int64, Shape: []int64{n}, Data: ints}}, nil
}

func TestClassesInWords(t *testing.T) {
	for name, say := range map[string]func(x float32) infer.Tensor{
		"words": func(x float32) infer.Tensor {
			return infer.Tensor{Data: [][]byte{[]byte(map[bool]string{true: "plus", false: "minus"}[x > 0.2001])}}
		},
		"numbers": func(x float32) infer.Tensor {
			return infer.Tensor{Data: []int64{map[bool]int64{true: 1}[x > 0.2001]}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.plan.Models = []Entrant{{Name: "small", Service: "svc"}, {Name: "large", Dir: "/large"}}
			d := s.deps()
			open := d.Open
			d.Open = func(ctx context.Context, e Entrant) (Model, error) {
				m, err := open(ctx, e)
				if e.Service != "" {
					return talker{m.(*nearest), say}, err
				}
				return m, err
			}
			r, err := Run(t.Context(), &s.plan, d)
			if err != nil {
				t.Fatal(err)
			}
			m := r.Models[0]
			if m.Metrics[eval.Accuracy].Value != 1 || len(m.Answers.Margin) != 0 || len(m.Calibration) != 0 || len(r.Models[1].Answers.Margin) != 300 {
				t.Errorf("metrics %+v, %d margins", m.Metrics, len(m.Answers.Margin))
			}
			if _, ok := m.Metrics[eval.AUC]; ok || len(m.By) != 1 {
				t.Errorf("by %+v, metrics %+v", m.By, m.Metrics)
			}
		})
	}
}
