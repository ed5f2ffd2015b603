package evaluate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
	"polder.dev/polder/tools/onnx/session"
)

// TestMain finds the library that `make build` has brought, if it is not named.
func TestMain(m *testing.M) {
	if os.Getenv(session.LibraryVariable) == "" {
		os.Setenv(session.LibraryVariable, filepath.Join("..", "..", "..", "bin", "libexec", "polder", session.LibraryName))
	}
	if err := session.Start(); err != nil {
		os.Stderr.WriteString(err.Error() + "; `make build` brings it\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func place(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// scene is two models, one of which the labels are by, and data.
func scene(t *testing.T) *trial.Plan {
	t.Helper()
	p := &trial.Plan{Task: eval.TaskClassification, Seed: 1, Threads: 1, Data: trial.Data{Dir: t.TempDir()}}
	var right *session.Session
	for i, name := range []string{"other", "right"} {
		dir := t.TempDir()
		net := infertest.Random(uint64(i+1), 4, 8, 3)
		net.Output = infer.OutputLogits
		place(t, dir, infer.ModelFile, net.Bytes())
		place(t, dir, infer.DescriptionFile, []byte(`{"serving":{"task":"classification","labels":["a","b","c"]}}`))
		p.Models = append(p.Models, trial.Entrant{Name: name, Dir: dir})
		s, err := session.Open(dir, session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		right = s
	}
	var b strings.Builder
	for i := range 300 {
		row := []float32{float32(i%7) - 3, float32(i%11) - 5, float32(i%13) - 6, float32(i%5) - 2}
		out, err := right.Rows(row, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := infer.Rows(&out[0])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%g,%g,%g,%g,%s\n", row[0], row[1], row[2], row[3], []string{"a", "b", "c"}[rows[0].Class])
	}
	place(t, p.Data.Dir, "rows.csv", []byte(b.String()))
	return p
}

func run(t *testing.T, p *trial.Plan) (*eval.Report, error) {
	t.Helper()
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Run(t.Context(), &out, func(string) string { return text }); err != nil {
		return nil, err
	}
	r, _, err := trial.ReadReport(&out)
	if err != nil {
		t.Fatal(err)
	}
	return r, nil
}

func TestRun(t *testing.T) {
	r, err := run(t, scene(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Models[1].Metrics[eval.Accuracy].Value; got != 1 {
		t.Errorf("the model that the labels are by is right in %g of the rows", got)
	}
	if got := r.Models[0].Metrics[eval.Accuracy].Value; got > 0.9 {
		t.Errorf("another one is right in %g of the rows", got)
	}
	if c := r.Comparisons[0]; c.Verdict != eval.Worse {
		t.Errorf("comparison %+v", c)
	}
	for i := range r.Models {
		if v := r.Models[i].Metrics[eval.LatencyP50].Value; v <= 0 || v > 1 {
			t.Errorf("a row takes %g s", v)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*trial.Plan)
		want   string
	}{
		"a model that is not whole": {func(p *trial.Plan) {
			file := filepath.Join(p.Models[1].Dir, infer.ModelFile)
			b, err := os.ReadFile(file)
			if err != nil {
				panic(err)
			}
			if err := os.WriteFile(file, b[:len(b)/2], 0o600); err != nil {
				panic(err)
			}
		}, "model right: "},
		"no model":     {func(p *trial.Plan) { p.Models[0].Dir = p.Data.Dir }, "model other: "},
		"a service":    {func(p *trial.Plan) { p.Models[0].Dir = "" }, "no model in ONNX"},
		"another file": {func(p *trial.Plan) { p.Data.File = "x.csv" }, `no file "x.csv"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := scene(t)
			c.change(p)
			if _, err := run(t, p); err == nil || !strings.Contains(err.Error(), c.want) || !Final(err) {
				t.Errorf("got %v, want a final error about %q", err, c.want)
			}
		})
	}
	if err := Run(t.Context(), &bytes.Buffer{}, func(string) string { return "" }); err == nil || !Final(err) {
		t.Errorf("without a plan: %v", err)
	}
	if Final(&trial.Trouble{Err: os.ErrClosed}) {
		t.Error("trouble is final")
	}
}

// The two parts, with a program between them.
func TestProgram(t *testing.T) {
	p := scene(t)
	p.Program = true
	in, err := trial.Ask(t.Context(), p, trial.Deps{
		Open: func(_ context.Context, e trial.Entrant) (trial.Model, error) {
			s, err := session.Open(e.Dir, session.Options{})
			return local{s}, err
		},
		Now: time.Now, Tell: func(int64, int64) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	state, answers, scores := t.TempDir(), t.TempDir(), t.TempDir()
	if err := leave(in, state, answers); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(answers, trial.FileAnswers))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		var l struct {
			Row              int64
			Model            string
			Expected, Answer string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		score := 0.0
		if l.Expected == l.Answer {
			score = 2
		}
		fmt.Fprintf(&b, "{\"row\":%d,\"model\":%q,\"score\":%g}\n", l.Row, l.Model, score)
	}
	place(t, scores, trial.FileScores, []byte(b.String()))
	var out bytes.Buffer
	if err := judge(&out, state, scores); err != nil {
		t.Fatal(err)
	}
	r, _, err := trial.ReadReport(&out)
	if err != nil {
		t.Fatal(err)
	}
	if r.Metric != eval.Score || r.Models[1].Metrics[eval.Score].Value != 2 || r.Comparisons[0].Verdict != eval.Worse || r.Models[1].Metrics[eval.Accuracy].Value != 1 {
		t.Errorf("metric %s, models %+v, comparison %+v", r.Metric, r.Models[1].Metrics, r.Comparisons[0])
	}
	if err := judge(&out, state, t.TempDir()); err == nil || !Final(err) {
		t.Errorf("without scores: %v", err)
	}
}
