package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/kubetest"
	"polder.dev/polder/internal/usage"
)

// asked builds what `polder evaluate` makes of a command line.
func asked(t *testing.T, candidate string, args ...string) (*v1alpha1.Evaluation, error) {
	t.Helper()
	var q judging
	cmd := &cobra.Command{Use: "x"}
	q.flags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return q.build(candidate)
}

func TestEvaluateBuilds(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	got, err := asked(t, "ocr", "--against=teacher@production", "--against=ocr@"+digest, "--data=s3://data/held/rows.csv", "--label=digit", "--slice=scanner",
		"--rows=10:20", "--trained=digits-v1", "--require=accuracy >= 0.95", "--require=f1>=teacher", "--require=latency_p99_seconds<=0.01",
		"--memory=2Gi", "--cost-per-hour=0.5", "--seed=7", "--deadline=1h", "--name=judge")
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.EvaluationSpec{
		Models: []v1alpha1.EvaluatedModel{{Name: "ocr", Model: "ocr"}, {Name: "teacher", Model: "teacher@production"}, {Name: "ocr-abababab", Model: "ocr@" + digest}},
		Task:   "classification",
		Data: v1alpha1.EvaluationData{Bucket: &v1alpha1.BucketSource{Name: "data", Prefix: "held/"}, File: "rows.csv", Label: "digit", Slices: []string{"scanner"},
			Rows: &v1alpha1.RowRange{From: 10, To: 20}},
		Trained:      &v1alpha1.EvaluationData{Dataset: "digits-v1", Label: "digit", Slices: []string{"scanner"}},
		Requirements: []v1alpha1.EvaluationRequirement{{Metric: "accuracy", Min: "0.95"}, {Metric: "f1", NotWorseThan: "teacher"}, {Metric: "latency_p99_seconds", Max: "0.01"}},
		CostPerHour:  "0.5", Seed: 7, DeadlineSeconds: 3600,
	}
	if got.Spec.Resources.Memory.String() != "2Gi" {
		t.Errorf("memory is %s", got.Spec.Resources.Memory.String())
	}
	got.Spec.Resources = v1alpha1.WorkerResources{}
	if d := cmp.Diff(want, got.Spec); d != "" || got.Name != "judge" || got.GenerateName != "" {
		t.Errorf("%s (-want +got):\n%s", got.Name, d)
	}
	if e, err := asked(t, "ocr@staging", "--data=d"); err != nil || e.GenerateName != "ocr-" || e.Spec.Data.Dataset != "d" || len(e.Spec.Requirements) != 0 {
		t.Errorf("the least: %+v, %v", e, err)
	}
	if e, err := asked(t, "m", "--data=d", "--program=python3 judge.py", "--require=score>=0.5"); err != nil || !cmp.Equal(e.Spec.Program, &v1alpha1.EvaluationProgram{Runtime: "pytorch-cpu", Command: []string{"python3", "judge.py"}}) {
		t.Errorf("a program: %+v, %v", e, err)
	}
	if e, err := asked(t, "m", "--data=data/lab/x@"+digest); err != nil || e.Spec.Data.Image != "data/lab/x@"+digest {
		t.Errorf("an image: %+v, %v", e, err)
	}
}

func TestEvaluateServices(t *testing.T) {
	got, err := asked(t, "route/digits", "--against=service/digits", "--against=digits@production", "--against=service/large", "--data=d",
		"--cost-per-hour=0.5", "--cost-per-hour=large=2.5", "--classes=no,yes", "--require=accuracy>=large")
	if err != nil {
		t.Fatal(err)
	}
	classes := []string{"no", "yes"}
	if d := cmp.Diff([]v1alpha1.EvaluatedModel{
		{Name: "digits", Route: "digits", Labels: classes}, {Name: "digits-service", Service: "digits", Labels: classes},
		{Name: "digits-production", Model: "digits@production"}, {Name: "large", Service: "large", Labels: classes, CostPerHour: "2.5"},
	}, got.Spec.Models); d != "" || got.Spec.CostPerHour != "0.5" || got.GenerateName != "digits-" {
		t.Errorf("%s, %s an hour (-want +got):\n%s", got.GenerateName, got.Spec.CostPerHour, d)
	}
	got, err = asked(t, "service/llama", "--task=generation", "--data=d", "--max-tokens=32", "--system=Be brief.", "--require=token_f1>=0.5")
	if err != nil || got.Spec.Generation == nil || *got.Spec.Generation != (v1alpha1.EvaluationGeneration{MaxTokens: 32, System: "Be brief."}) {
		t.Errorf("texts: %+v, %v", got, err)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		candidate string
		args      []string
		want      string
	}{
		"no model":          {"A B", nil, "names no model"},
		"no service":        {"service/A B", nil, "write service/NAME"},
		"a service's alias": {"service/a@b", nil, "write service/NAME"},
		"a text of a model": {"m", []string{"--task=generation"}, "write no text"},
		"tokens of classes": {"m", []string{"--max-tokens=5"}, "--task generation"},
		"cost of a model":   {"m", []string{"--cost-per-hour=m=5"}, "what models cost is the pod's"},
		"no data":           {"m", []string{"--data="}, "--data"},
		"no bucket":         {"m", []string{"--data=s3://"}, "s3://"},
		"another task":      {"m", []string{"--task=poetry"}, "--task"},
		"rows upside down":  {"m", []string{"--rows=5:5"}, "--rows"},
		"rows that are not": {"m", []string{"--rows=all"}, "--rows"},
		"an unknown metric": {"m", []string{"--require=beauty>=1"}, `there is no "beauty"`},
		"no program":        {"m", []string{"--program= "}, "--program"},
		"a score of nobody": {"m", []string{"--require=score>=1"}, `no "score"`},
		"no sign":           {"m", []string{"--require=accuracy"}, "METRIC>=NUMBER"},
		"no bound":          {"m", []string{"--require=accuracy>="}, "nothing after >="},
		"an unknown rival":  {"m", []string{"--require=accuracy>=teacher"}, "no model to compare"},
		"memory":            {"m", []string{"--memory=lots"}, "--memory"},
		"cost":              {"m", []string{"--cost-per-hour=free"}, "--cost-per-hour"},
		"a file of nothing": {"m", []string{"--trained-file=x.csv"}, "--trained-file"},
		"no time":           {"m", []string{"--deadline=1ms"}, "--deadline"},
		"too many models":   {"m", []string{"--against=a", "--against=b", "--against=c", "--against=d", "--against=e", "--against=f", "--against=g", "--against=h"}, "8 models"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := asked(t, c.candidate, append([]string{"--data=d"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func judgedEvaluation() *v1alpha1.Evaluation {
	e := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "judge"}}
	e.Spec = v1alpha1.EvaluationSpec{Task: "classification", Models: []v1alpha1.EvaluatedModel{{Name: "small", Model: "small"}, {Name: "large", Model: "large"}},
		Data: v1alpha1.EvaluationData{Dataset: "held", Label: "digit"}, Requirements: []v1alpha1.EvaluationRequirement{{Metric: "accuracy", Min: "0.95"}}}
	e.Status = v1alpha1.EvaluationStatus{
		State: v1alpha1.StateSucceeded, Rows: 360, Verdict: "No significant difference between small and large. Not met: x.", Unmet: []string{"accuracy of small is 0.9."},
		Models: []v1alpha1.EvaluatedResult{
			{Name: "small", Metrics: map[string]v1alpha1.MetricValue{"accuracy": {Value: "0.9", Low: "0.864", High: "0.927"}, "latency_p50_seconds": {Value: "0.0000041234"}}},
			{Name: "large", Metrics: map[string]v1alpha1.MetricValue{"accuracy": {Value: "0.95"}}},
		},
		Comparisons: []v1alpha1.EvaluationComparison{{With: "large", Metric: "accuracy", Difference: v1alpha1.MetricValue{Value: "-0.05"}, P: "0.07", Test: "mcnemar", Verdict: "none"}},
	}
	return e
}

func TestEvaluationShows(t *testing.T) {
	e := judgedEvaluation()
	var out bytes.Buffer
	if err := printEvaluation(&out, e); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lab/judge", "held, label digit, 360 rows", "0.9 (0.864 to 0.927)", "0.000004123", "no significant difference", "Passed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	e.Spec.Models[1] = v1alpha1.EvaluatedModel{Name: "large", Route: "both"}
	e.Status.Models[1].By = []v1alpha1.EvaluationOrigin{{Target: "teacher", Revision: "teacher-5d", Rows: 77}}
	out.Reset()
	if err := printEvaluation(&out, e); err != nil || !strings.Contains(out.String(), "large  route/both  77    teacher  teacher-5d  -") {
		t.Errorf("who has answered is not told (%v):\n%s", err, out.String())
	}
	want := []string{"lab", "judge", "Succeeded", "small", "route/both", "no", "5m", "No significant difference between small and large."}
	now := time.Unix(1e9, 0)
	e.CreationTimestamp = metav1.NewTime(now.Add(-5 * time.Minute))
	if d := cmp.Diff(want, evaluationRow(e, now)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := (&options{}).endEvaluation(io.Discard, e); !errors.Is(err, errUnmet) {
		t.Errorf("a model that does not pass: %v", err)
	}
	e.Status.State, e.Status.Message = v1alpha1.StateFailed, "data: no table"
	if err := (&options{}).endEvaluation(io.Discard, e); err == nil || !strings.Contains(err.Error(), "no table") {
		t.Errorf("one that failed: %v", err)
	}
}

func TestEvaluationIsReplaced(t *testing.T) {
	e := judgedEvaluation()
	c := &kube.Client{WithWatch: kubetest.New(t, nil, e.DeepCopy()), Namespace: "lab"}
	next := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "judge"}}
	if err := (&judging{}).create(t.Context(), c, next.DeepCopy()); !usage.Is(err) || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := (&judging{replace: true}).create(t.Context(), c, next.DeepCopy()); err != nil {
		t.Errorf("with --replace: %v", err)
	}
	if err := (&judging{replace: true}).create(t.Context(), c, next.DeepCopy()); !usage.Is(err) || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("one that runs: %v", err)
	}
}

func TestReportWriter(t *testing.T) {
	for _, c := range []struct{ file, lang, want string }{
		{"x.pdf", "en", ".html, .png or .json"}, {"x.png", "zh", "in English"}, {"x.html", "fr", "neither en nor zh"},
	} {
		if _, err := reportWriter(c.file, c.lang); !usage.Is(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in %s: %v", c.file, c.lang, err)
		}
	}
	for _, file := range []string{"x.html", "X.PNG", "a/x.json", "-"} {
		if _, err := reportWriter(file, "en"); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	name := filepath.Join(t.TempDir(), "x.html")
	if err := replaceFile(name, func(w io.Writer) error { _, err := io.WriteString(w, "one"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(name, func(io.Writer) error { return errors.New("no") }); err == nil {
		t.Error("half a file is no error")
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "one" {
		t.Errorf("after a failure: %q, %v", b, err)
	}
	if all, err := os.ReadDir(filepath.Dir(name)); err != nil || len(all) != 1 {
		t.Errorf("%d files are left, %v", len(all), err)
	}
}

// TestWhatAnEvaluationWaitsFor: a name that was mistyped is told at once, and not in a day.
func TestWhatAnEvaluationWaitsFor(t *testing.T) {
	there := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "ocr"}}
	c := &kube.Client{WithWatch: kubetest.New(t, nil, there), Namespace: "lab"}
	e, err := asked(t, "ocr", "--against=tutor@production", "--against=service/tutor", "--against=route/both", "--data=d", "--trained=d")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"model tutor", "service tutor", "route both", "data set d"}, absent(t.Context(), c, &e.Spec)); d != "" {
		t.Error(d)
	}
	if e, err = asked(t, "ocr", "--data=s3://b/d.csv"); err != nil || absent(t.Context(), c, &e.Spec) != nil {
		t.Errorf("%v", absent(t.Context(), c, &e.Spec))
	}
}
