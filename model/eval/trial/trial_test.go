package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/infer"
)

// nearest is a model in memory: a row's class is its first feature, rounded, and it is
// wrong where the second one says so.
type nearest struct {
	serving *infer.Serving
	width   int
	output  func(row []float32) []float32
	name    string
	columns int64
	closed  bool
}

func (m *nearest) Width() (int, error)     { return m.width, nil }
func (m *nearest) Serving() *infer.Serving { return m.serving }
func (m *nearest) Close()                  { m.closed = true }

func (m *nearest) Rows(_ context.Context, rows []float32, _, _ int) ([]infer.Tensor, error) {
	var out []float32
	for at := 0; at < len(rows); at += m.width {
		out = append(out, m.output(rows[at:at+m.width])...)
	}
	n := int64(len(rows) / m.width)
	return []infer.Tensor{infer.New(m.name, out, n, m.columns)}, nil
}

// pair is the classifier of two classes by the sign of the first feature.
func pair(serving *infer.Serving) *nearest {
	return &nearest{serving: serving, width: 2, name: infer.OutputProbabilities, columns: 2, output: func(row []float32) []float32 {
		p := float32(1 / (1 + math.Exp(-4*float64(row[0]))))
		return []float32{1 - p, p}
	}}
}

// scene is a directory with tables, and models.
type scene struct {
	plan   Plan
	models map[string]*nearest
	clock  time.Time
	told   [][2]int64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("b,a,side,kind\n")
	for i := range 300 {
		x, kind, side := float64(i)/100-1.5, "minus", "left"
		if x > 0.2 {
			kind = "plus"
		}
		if i%2 == 0 {
			side = "right"
		}
		fmt.Fprintf(&b, "7,%.2f,%s,%s\n", x, side, kind)
	}
	write(t, filepath.Join(dir, "held.csv"), b.String())
	s := &scene{models: map[string]*nearest{}, clock: time.Unix(1e9, 0)}
	s.plan = Plan{
		Task: eval.TaskClassification, Seed: 3, Data: Data{Dir: dir, Slices: []string{"side"}},
		Models: []Entrant{{Name: "small", Dir: "/small"}, {Name: "large", Dir: "/large"}},
	}
	labels := []string{"minus", "plus"}
	s.models["small"] = pair(&infer.Serving{Task: eval.TaskClassification, Features: []string{"a", "b"}, Labels: labels})
	large := pair(&infer.Serving{Task: eval.TaskClassification, Features: []string{"a", "b"}, Labels: []string{"plus", "minus"}})
	large.output = func(row []float32) []float32 { // its classes are the other way round, and it knows better
		p := float32(1 / (1 + math.Exp(-4*(float64(row[0])-0.2))))
		return []float32{p, 1 - p}
	}
	s.models["large"] = large
	return s
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) deps() Deps {
	return Deps{
		Open: func(_ context.Context, e Entrant) (Model, error) {
			if m := s.models[e.Name]; m != nil {
				return m, nil
			}
			return nil, errors.New("there is no such model")
		},
		Now:  func() time.Time { s.clock = s.clock.Add(time.Millisecond); return s.clock },
		Tell: func(done, total int64) { s.told = append(s.told, [2]int64{done, total}) },
	}
}

func (s *scene) run(t *testing.T) (*eval.Report, error) {
	t.Helper()
	return Run(t.Context(), &s.plan, s.deps())
}

func TestRun(t *testing.T) {
	s := newScene(t)
	r, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"minus", "plus"}, r.Data.Classes); d != "" {
		t.Errorf("classes (-want +got):\n%s", d)
	}
	// The rows from 0.01 to 0.20 are what the small one has wrong; at 0 both classes are equally likely.
	if got := r.Models[0].Metrics[eval.Accuracy].Value; math.Abs(got-280./300) > 1e-9 {
		t.Errorf("accuracy of the small one is %g", got)
	}
	if got := r.Models[1].Metrics[eval.Accuracy].Value; got < 0.99 {
		t.Errorf("accuracy of the large one, whose classes are the other way round, is %g", got)
	}
	if c := r.Comparisons[0]; c.Verdict != eval.Worse || c.Lost < 19 {
		t.Errorf("comparison %+v", c)
	}
	if got := r.Models[0].Metrics[eval.LatencyP50].Value; math.Abs(got-0.001) > 1e-9 || r.Models[0].Latency.Requests != timed {
		t.Errorf("latency %g of %d requests", got, r.Models[0].Latency.Requests)
	}
	if last := s.told[len(s.told)-1]; last != [2]int64{600, 600} {
		t.Errorf("progress ends with %v", last)
	}
	if len(r.Models[0].Slices) != 2 || r.Data.File != "held.csv" || !strings.HasPrefix(r.Data.Digest, "sha256:") {
		t.Errorf("slices %+v, data %+v", r.Models[0].Slices, r.Data)
	}
	if !s.models["small"].closed || !s.models["large"].closed {
		t.Error("a model was left open")
	}
}

func TestRunContaminated(t *testing.T) {
	s := newScene(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "train.csv"), "b,a,side,kind\n7,-1.5,x,minus\n7,1,x,minus\n8,8,x,plus\n")
	s.plan.Trained = &Data{Dir: dir, Slices: []string{"side"}}
	r, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Contamination; c == nil || c.Exact != 2 || c.Labels != 1 || c.TrainRows != 3 {
		t.Errorf("contamination %+v", c)
	}
	write(t, filepath.Join(dir, "train.csv"), "a,b,side,kind\n7,-1.5,x,minus\n")
	if _, err := s.run(t); err == nil || !strings.Contains(err.Error(), "its columns have other names, or another order") {
		t.Errorf("columns in another order: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	broken := func(v float32) func(*scene) {
		return func(s *scene) { s.models["large"].output = func([]float32) []float32 { return []float32{v, v} } }
	}
	for name, c := range map[string]struct {
		change func(*scene)
		want   string
	}{
		"no data":                   {func(s *scene) { s.plan.Data.Dir = "/nowhere" }, "data: "},
		"no such file":              {func(s *scene) { s.plan.Data.File = "x.csv" }, `there is no file "x.csv"`},
		"a file outside":            {func(s *scene) { s.plan.Data.File = "../x.csv" }, "data: "},
		"a file of another form":    {func(s *scene) { s.plan.Data.File = "x.parquet" }, "must be .csv or .jsonl"},
		"no such label":             {func(s *scene) { s.plan.Data.Label = "colour" }, `no column "colour"`},
		"a model that is not there": {func(s *scene) { delete(s.models, "large") }, "model large: there is no such model"},
		"NaN":                       {broken(float32(math.NaN())), "model large: answering rows 0 to 255: output probabilities holds NaN"},
		"no probabilities":          {broken(3), "output probabilities is not of probabilities: row 0 holds 3"},
		"a model of another width":  {func(s *scene) { s.models["small"].width = 3 }, "model small: it takes 3 features, the table has 2"},
		"a feature that is not there": {func(s *scene) { s.models["small"].serving.Features = []string{"a", "c"} },
			`model small: it takes the feature "c"`},
		"a model for another task": {func(s *scene) { s.models["small"].serving.Task = eval.TaskRegression }, "made for the task regression"},
		"labels of another world":  {func(s *scene) { s.models["small"].serving.Labels = []string{"x", "y"} }, "none of its labels (x, y) is in the data, which has minus, plus"},
		"numbered classes":         {func(s *scene) { s.models["small"].serving = nil }, "its classes are numbered 0 to 1, and the data has minus, plus"},
		"three classes": {func(s *scene) {
			s.models["small"].columns = 3
			s.models["small"].output = func([]float32) []float32 { return []float32{0, 0, 1} }
		}, "it has 3 classes, but serving.labels in its model.json has 2"},
		"the wrong task": {func(s *scene) {
			s.plan.Task = eval.TaskRegression
			s.models["small"].serving, s.models["large"].serving = nil, nil
		}, "is the task classification?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c.change(s)
			_, err := s.run(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func TestRunRegression(t *testing.T) {
	s := newScene(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "t.jsonl"), "{\"x\":[1,2],\"y\":3}\n{\"x\":[2,2],\"y\":5}\n")
	s.plan.Task, s.plan.Data = eval.TaskRegression, Data{Dir: dir}
	for _, m := range s.models {
		m.serving, m.columns, m.name = nil, 1, infer.OutputValues
		m.output = func(row []float32) []float32 { return []float32{row[0] + row[1]} }
	}
	r, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Models[0].Metrics[eval.MAE].Value; got != 0.5 {
		t.Errorf("mae is %g, want 0.5", got)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, &s.plan, s.deps()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOutput(t *testing.T) {
	s := newScene(t)
	r, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	now := time.Unix(0, 0)
	tell := Teller(&out, func() time.Time { return now })
	tell(1, 1000)
	now = now.Add(3 * time.Second)
	tell(2, 1000)
	tell(3, 1000)
	if got := out.String(); got != "polder-progress 2 1000\n" {
		t.Errorf("progress %q", got)
	}
	out.WriteString("some library's words\n")
	if err := Say(&out, r); err != nil {
		t.Fatal(err)
	}
	text := out.Bytes()
	if d, n, ok := Progress(text); !ok || d != 2 || n != 1000 {
		t.Errorf("progress %d of %d, %v", d, n, ok)
	}
	got, _, err := ReadReport(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Errorf("the report came back otherwise:\n%s", d)
	}
	if _, _, err := ReadReport(bytes.NewReader(text[:len(text)-10])); !errors.Is(err, ErrNoReport) {
		t.Errorf("half a report: %v", err)
	}
	if _, _, err := ReadReport(strings.NewReader("polder-report {}\n")); err == nil {
		t.Error("an empty report passes")
	}
}

func FuzzReadReport(f *testing.F) {
	f.Add([]byte("polder-progress 1 2\npolder-report {\"version\":1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, n, ok := Progress(b); ok && (d < 0 || d > n) {
			t.Errorf("progress %d of %d", d, n)
		}
		if r, _, err := ReadReport(bytes.NewReader(b)); err == nil && r.Version != eval.Version {
			t.Error("a report of another version passes")
		}
	})
}

func TestMeter(t *testing.T) {
	root := t.TempDir()
	if m := NewMeter(root); m != nil || m.Joules() != 0 {
		t.Error("a machine without counters tells energy")
	}
	dir := filepath.Join(root, "sys/class/powercap/intel-rapl:0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	set := func(v string) { write(t, filepath.Join(dir, "energy_uj"), v+"\n") }
	write(t, filepath.Join(dir, "max_energy_range_uj"), "10000000\n")
	set("9000000")
	m := NewMeter(root)
	set("9500000")
	if got := m.Joules(); got != 0.5 {
		t.Errorf("%g J, want 0.5", got)
	}
	set("250000") // begun anew
	if got := m.Joules(); got != 1.25 {
		t.Errorf("%g J, want 1.25", got)
	}
}

func TestPlanRoundTrip(t *testing.T) {
	s := newScene(t)
	text, err := s.plan.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&s.plan, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{"", "{}", `{"models":[{"name":"a"}]}`} {
		if _, err := Decode(bad); err == nil {
			t.Errorf("%q passes for a plan", bad)
		}
	}
}
