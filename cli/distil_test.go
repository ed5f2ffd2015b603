package cli

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/distil"
)

// command runs a verb that needs no cloud; code is its exit code.
func command(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := root(func(*string) Engine { return Engine{} })
	var b bytes.Buffer
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SetArgs(args)
	code = run(t.Context(), cmd)
	return b.String(), code
}

func wants(t *testing.T, want string, code int, args ...string) {
	t.Helper()
	out, got := command(t, args...)
	if got != code || !strings.Contains(out, want) {
		t.Errorf("polder %s: exit code %d, want %d, and %q:\n%s", strings.Join(args, " "), got, code, want, out)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const sound = `apiVersion: polder.dev/v1alpha1
kind: Distillation
metadata: {name: d}
spec:
  method: logits
  teacher: {model: big}
  student: {recipe: logits}
  data: {dataset: x}
`

func TestADistillationsFileIsJudgedFirst(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"kind":      {"kind: Distillation", "kind: TrainJob", "kind: Distillation"},
		"fields":    {"kind: Distillation", "kind: Evaluation\nmodels: []", "it is polder.dev/v1alpha1 Evaluation; write"},
		"field":     {"recipe: logits", "recipe: logits, recipes: x", "recipes"},
		"recipe":    {"recipe: logits", "recipe: magic", "spec.student.recipe"},
		"name":      {"metadata: {name: d}", "metadata: {}", "metadata.name is missing"},
		"parameter": {"recipe: logits", `recipe: logits, parameters: {labels: "3"}`, "spec.student.parameters.labels"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(sound, tc.from, tc.to, 1)
			if text == sound {
				t.Fatal("the test changes nothing")
			}
			wants(t, tc.want, 2, "distil", "run", write(t, "d.yaml", text))
		})
	}
	wants(t, "spec.budget.acceleratorHours", 2, "distil", "run", write(t, "d.yaml", sound), "--budget", "none")
	wants(t, "name a file of kind Distillation", 2, "distil", "run", "/nowhere")
	wants(t, "there is no recipe magic", 2, "distil", "recipes", "magic")
	wants(t, "def main()", 0, "distil", "recipes", "logits")
}

// TestInitRisk: what is written can be read by what it is for.
func TestInitRisk(t *testing.T) {
	var b strings.Builder
	b.WriteString("age,city,income,constant,bad\n")
	for i := range 300 {
		income := fmt.Sprint(1000 + 7*i%900)
		if i%20 == 0 {
			income = ""
		}
		fmt.Fprintf(&b, "%d,%s,%s,x,%s\n", 20+i%50, []string{"Oslo", "Bonn", "Rome"}[i%3], income, []string{"no", "yes"}[i%4/3])
	}
	file, dir := write(t, "claims.csv", b.String()), filepath.Join(t.TempDir(), "claims")
	wants(t, "always answering no is right in 0.7500", 0, "init", "risk", dir, "--data", file)
	wants(t, "is there already", 2, "init", "risk", dir, "--data", file)
	checkInit(t, dir, 240, 60, "age,city=Bonn,city=Oslo,city=Rome,income,income missing,label\n")
	again := filepath.Join(t.TempDir(), "new")
	later := write(t, "new.csv", "age,city,income,constant,bad\n33,Paris,,x,no\n")
	wants(t, "1 rows", 0, "init", "risk", again, "--encode", filepath.Join(dir, "data/columns.json"), "--data", later)
	got, err := os.ReadFile(filepath.Join(again, "encoded.csv"))
	if err != nil || !strings.Contains(string(got), "\n33,0,0,0,1367,1,no") {
		t.Errorf("%s, %v", got, err)
	}
	later = write(t, "new.csv", "age,city,income,constant\n33,Paris,,x\n")
	again = filepath.Join(t.TempDir(), "new")
	wants(t, "1 rows, without labels", 0, "init", "risk", again, "--encode", filepath.Join(dir, "data/columns.json"), "--data", later)
	if got, err = os.ReadFile(filepath.Join(again, "encoded.csv")); err != nil || !strings.Contains(string(got), "income missing\n33,0,0,0,1367,1\n") {
		t.Errorf("%s, %v", got, err)
	}
	wants(t, "is not between 0 and 1", 2, "init", "risk", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--held", "NaN")
	wants(t, "column income has no value in 15 rows", 2, "init", "risk", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--label", "income")
	wants(t, "different values; an outcome has two", 2, "init", "risk", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--label", "city")
	wants(t, "3 to 31 lower-case letters", 2, "init", "risk", filepath.Join(t.TempDir(), "No_Name"))
	wants(t, "no such file", 2, "init", "risk", filepath.Join(t.TempDir(), "xyz"), "--data", "/nowhere.csv")
}

func TestInitForecast(t *testing.T) {
	var b strings.Builder
	b.WriteString("time,load\n")
	for i := range 600 {
		fmt.Fprintf(&b, "2026-01-%02dT00:00,%.3f\n", 1+i/24, 50+20*math.Sin(2*math.Pi*float64(i%24)/24))
	}
	file, dir := write(t, "load.csv", b.String()), filepath.Join(t.TempDir(), "load")
	wants(t, "the value a season ago (season_ago): 0\n", 0, "init", "forecast", dir, "--data", file, "--season", "24", "--horizon", "3", "--lags", "4")
	checkInit(t, dir, 600-120-3-21, 120-3, "lag_0,lag_1,lag_2,lag_3,season_ago,season_mean,label\n")
	wants(t, "beyond the season", 2, "init", "forecast", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--season", "4", "--horizon", "5")
	wants(t, "0 lags", 2, "init", "forecast", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--lags", "0")
	wants(t, "column time", 2, "init", "forecast", filepath.Join(t.TempDir(), "xyz"), "--data", file, "--column", "time")
	again := filepath.Join(t.TempDir(), "new")
	series := filepath.Join(dir, "data/series.json")
	wants(t, "after 600 steps", 0, "init", "forecast", again, "--encode", series, "--data", file)
	got, err := os.ReadFile(filepath.Join(again, "encoded.csv"))
	if err != nil || !strings.HasPrefix(string(got), "lag_0,lag_1,lag_2,lag_3,season_ago,season_mean\n44.824,40,35.858,32.679,60,60\n") {
		t.Errorf("%s, %v", got, err)
	}
	wants(t, "--data is missing", 2, "init", "forecast", again, "--encode", series)
	wants(t, "did not write it", 2, "init", "forecast", again, "--encode", file, "--data", file)
	wants(t, "it has no lags", 2, "init", "forecast", again, "--encode", write(t, "e.json", "{}"), "--data", file)
	wants(t, "it has no columns", 2, "init", "risk", again, "--encode", write(t, "e.json", "{}"), "--data", file)
	empty := filepath.Join(t.TempDir(), "empty")
	wants(t, "README.md", 0, "init", "forecast", empty)
}

// checkInit reads what `polder init` wrote.
func checkInit(t *testing.T, dir string, train, held int, head string) {
	t.Helper()
	for name, rows := range map[string]int{"train": train, "held": held} {
		text, err := os.ReadFile(filepath.Join(dir, "data", name, name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n") - 1; n != rows || !strings.HasPrefix(string(text), head) {
			t.Errorf("%s has %d rows, want %d, of\n%s", name, n, rows, text[:min(len(text), 200)])
		}
	}
	for _, name := range []string{"teacher.yaml", "distillation.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var d v1alpha1.Distillation
		if err := yaml.UnmarshalStrict(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := distil.Check(&d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "evaluation.yaml"))
	var e v1alpha1.Evaluation
	if err != nil || yaml.UnmarshalStrict(text, &e) != nil || e.Kind != "Evaluation" {
		t.Errorf("evaluation.yaml: %v\n%s", err, text)
	}
	if text, err = os.ReadFile(filepath.Join(dir, "README.md")); err != nil || strings.Contains(string(text), "{{") || strings.Contains(string(text), "no data yet") {
		t.Errorf("README.md: %v\n%s", err, text)
	}
}

func TestDatasetSplit(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "%d,%d\n", i, i%2)
	}
	file, dir := write(t, "d.csv", b.String()), filepath.Join(t.TempDir(), "split")
	wants(t, "held.csv: 20 rows", 0, "dataset", "split", file, dir, "--validation", "0.1")
	wants(t, "is there already", 2, "dataset", "split", file, dir)
	wants(t, "not between 0 and 1", 2, "dataset", "split", file, filepath.Join(t.TempDir(), "x"), "--held", "1.5")
	for _, part := range []string{"NaN", "-0.1", "0"} {
		wants(t, "not between 0 and 1", 2, "dataset", "split", file, filepath.Join(t.TempDir(), "x"), "--validation="+part)
	}
	wants(t, "the table is empty", 2, "dataset", "split", write(t, "e.csv", ""), filepath.Join(t.TempDir(), "x"))
}

// TestAdviceIsAboutWhatIsKnown: by any name that an evaluation can be asked for.
func TestAdviceIsAboutWhatIsKnown(t *testing.T) {
	const digest, other = "sha256:aaaa", "sha256:bbbb"
	e := v1alpha1.Evaluation{}
	e.Name = "small-e1"
	e.Spec.Task, e.Spec.Data.Dataset = v1alpha1.TaskClassification, "held"
	e.Spec.Models = []v1alpha1.EvaluatedModel{{Name: "student", Model: "small-candidate@" + digest}, {Name: "teacher", Model: "big@" + other}}
	e.Status.State = v1alpha1.StateSucceeded
	e.Status.Models = []v1alpha1.EvaluatedResult{
		{Name: "student", Model: &v1alpha1.ModelReference{Name: "small-candidate", Digest: digest}, Metrics: map[string]v1alpha1.MetricValue{"accuracy": {Value: "0.97"}}},
		{Name: "teacher", Model: &v1alpha1.ModelReference{Name: "big", Digest: other}, Metrics: map[string]v1alpha1.MetricValue{"accuracy": {Value: "0.98"}}},
	}
	e.Status.Comparisons = []v1alpha1.EvaluationComparison{{With: "teacher", Metric: "accuracy", Difference: v1alpha1.MetricValue{Value: "-0.01"}, Verdict: "none"}}
	small := v1alpha1.Model{}
	small.Name, small.Spec.Digest = "small", digest
	models := []v1alpha1.Model{small}
	for name, want := range map[string]bool{"small": true, "small-e1": true, "held": true, "classification": true, "big": false, "regression": false} {
		if got := latest([]v1alpha1.Evaluation{e}, about(name, models)) != nil; got != want {
			t.Errorf("%s: an advice is %v, want %v", name, got, want)
		}
	}
	p := pairOf(&e, func(string) string { return "" })
	if p.Specialist != "small-candidate" || p.General != "big" || p.Quality != [2]float64{0.97, 0.98} || p.Cost[0] != -1 || !p.Margins {
		t.Errorf("it says %+v", p)
	}
}

func TestAdviseByData(t *testing.T) {
	wants(t, "you have all labels", 0, "advise", "--rows", "1797", "--labels", "1797", "--classes", "10", "--teacher")
	wants(t, "too few labels", 0, "advise", "--rows", "1000", "--labels", "50")
	wants(t, `"choice": "evaluate"`, 0, "advise", "-o", "json")
	wants(t, "no more rows can have labels than there are", 2, "advise", "--rows", "10", "--labels", "20")
	wants(t, "--held is 30, and only 20 rows have labels", 2, "advise", "--rows", "50", "--labels", "20", "--held", "30")
	wants(t, "--classes is 1", 2, "advise", "--rows", "50", "--labels", "20", "--classes", "1")
	wants(t, "--per-day is NaN", 2, "advise", "--rows", "50", "--labels", "20", "--per-day", "NaN")
	wants(t, "must be 0 or more", 2, "advise", "--rows", "-5")
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "%d,%d\n", i, i%2)
	}
	wants(t, "2400 rows have labels", 0, "advise", "--data", write(t, "d.csv", strings.Replace(b.String(), ",0\n", ",\n", 600)))
}

// TestExamplesAreWhatInitWrites: the directories in examples are kept up to date.
func TestExamplesAreWhatInitWrites(t *testing.T) {
	for kind, more := range map[string][]string{"risk": nil, "forecast": {"--season", "24"}} {
		dir := filepath.Join(t.TempDir(), kind)
		wants(t, "README.md", 0, append([]string{"init", kind, dir}, more...)...)
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 4 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, f := range files {
			have, err := os.ReadFile(filepath.Join("../examples", kind, filepath.Base(f)))
			if want, _ := os.ReadFile(f); err != nil || !bytes.Equal(have, want) {
				t.Errorf("examples/%s/%s is not what `polder init %s` writes: %v; write it anew", kind, filepath.Base(f), kind, err)
			}
		}
	}
}
