//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

const distilLimit = 5 * time.Minute

var digitsSplit sync.Once

// splitDigits puts the digits into the store of the shared cloud, once, as the example's
// page says: rows to learn from, and rows to judge by. The former lie beside a program
// that rewards, too.
func (c *cloud) splitDigits(t testing.TB) {
	t.Helper()
	digitsSplit.Do(func() {
		dir := filepath.Join(t.TempDir(), "digits")
		c.must(t, "dataset", "split", "../../examples/data/digits/digits.csv", dir)
		c.must(t, "bucket", "create", "digits-split")
		for _, part := range []string{"train", "held"} {
			c.must(t, "cp", filepath.Join(dir, part+".csv"), "s3://digits-split/"+part+"/"+part+".csv")
			c.must(t, "dataset", "freeze", "digits-"+part, "s3://digits-split/"+part+"/")
		}
		write(t, filepath.Join(dir, "parity.py"), parity)
		c.must(t, "cp", filepath.Join(dir, "train.csv"), "s3://digits-split/parity/train.csv")
		c.must(t, "cp", filepath.Join(dir, "parity.py"), "s3://digits-split/parity/parity.py")
		c.must(t, "dataset", "freeze", "digits-parity", "s3://digits-split/parity/")
	})
}

func (c *cloud) distillation(ctx context.Context, t testing.TB, name string) (*v1alpha1.Distillation, error) {
	var d v1alpha1.Distillation
	err := c.api(t).Get(ctx, kube.Key("default", name), &d)
	return &d, err
}

// distilled waits until a distillation has ended in a state, whose reason has these words.
func (c *cloud) distilled(t testing.TB, name string, state v1alpha1.State, says string) *v1alpha1.Distillation {
	t.Helper()
	var last *v1alpha1.Distillation
	waitFor(t, distilLimit, "the end of distillation "+name, func(ctx context.Context) error {
		d, err := c.distillation(ctx, t, name)
		if err != nil {
			return err
		}
		if last = d; !d.Status.State.Done() {
			return fmt.Errorf("it is %s in stage %s: %s", d.Status.State, d.Status.Stage, d.Status.Message)
		}
		return nil
	})
	if last.Status.State != state || !strings.Contains(last.Status.Message, says) {
		t.Fatalf("distillation %s is %s: %s; want %s, %q", name, last.Status.State, last.Status.Message, state, says)
	}
	return last
}

// TestDistil makes a specialist of the digits as a stranger would: a teacher, a student
// that sees no label, an evaluation of both, and a model. The controllers are killed on
// the way.
func TestDistil(t *testing.T) {
	c := shared(t)
	c.pytorch(t)
	t.Log(strings.TrimSpace(c.must(t, "runtime", "build", "onnx-cpu")))
	c.splitDigits(t)
	c.must(t, "distil", "run", filepath.Join(example, "teacher.yaml"), "--follow")
	var plan struct {
		Stages []struct {
			Stage string
			What  string
			Hours *float64 `json:"acceleratorHours"`
		}
	}
	planned := func(want string) {
		t.Helper()
		if err := json.Unmarshal([]byte(c.must(t, "distil", "run", example, "--plan", "-o", "json")), &plan); err != nil {
			t.Fatal(err)
		}
		if len(plan.Stages) != 3 || !strings.Contains(plan.Stages[0].What, want) {
			t.Errorf("the plan is %+v, want %q first", plan.Stages, want)
		}
	}
	planned("digits-large answers")
	c.must(t, "distil", "run", example)
	c.killedWhile(t, "digits-small", "student")
	d := c.distilled(t, "digits-small", v1alpha1.StateSucceeded, "")
	c.checkStudent(t, d)
	planned("its answers are there")
	t.Run("again", func(t *testing.T) {
		c.must(t, "distil", "run", example, "--name", "digits-again", "--param", "epochs=20")
		d := c.distilled(t, "digits-again", v1alpha1.StateSucceeded, "")
		if s := d.Status.Stages[0]; s.Name != "teacher" || s.Job != "" || !strings.Contains(s.Message, "there already") {
			t.Errorf("the teacher answered again: %+v", s)
		}
	})
	t.Run("does not learn", func(t *testing.T) { // a step so small that nothing moves
		c.must(t, "distil", "run", example, "--name", "digits-dull", "--param", "epochs=1", "--param", "lr=0.0000001")
		d := c.distilled(t, "digits-dull", v1alpha1.StateFailed, "")
		if m := d.Status.Message; !strings.Contains(m, "did not learn") && !strings.Contains(m, "at least 0.95 is required") {
			t.Errorf("it says %s", m)
		}
		c.stillRegistered(t, d)
	})
	t.Run("budget", func(t *testing.T) {
		c.must(t, "distil", "run", example, "--name", "digits-dear", "--param", "epochs=100000", "--budget", "0.002")
		d := c.distilled(t, "digits-dear", v1alpha1.StateFailed, "budget of 0.002 accelerator-hours is used up")
		j := c.awaitJob(t, d.Status.Stages[1].Job, "its end", time.Minute, func(j *v1alpha1.TrainJob) bool { return j.Status.State.Done() })
		if j.Status.State != v1alpha1.StateCancelled {
			t.Errorf("the job that used it up is %s", j.Status.State)
		}
		var used float64
		ran := j.Status.CompletionTime.Sub(j.Status.StartTime.Time) + time.Second // these are whole seconds
		if _, err := fmt.Sscan(d.Status.Used.AcceleratorHours, &used); err != nil || used < 0.002 || used > ran.Hours() {
			t.Errorf("used are %s hours, and the job was ended after %v: %v", d.Status.Used.AcceleratorHours, ran, err)
		}
		c.stillRegistered(t, d)
	})
	t.Run("advise", func(t *testing.T) { // by the version that was registered last
		if out := c.must(t, "advise", "digits-small"); !strings.Contains(out, "Because digits-again-e") || !strings.Contains(out, "of digits-small is 0.9") {
			t.Errorf("it advises:\n%s", out)
		}
	})
	for _, args := range [][]string{{"distil", "ls"}, {"distil", "show", "digits-small"}} {
		if out := c.must(t, args...); !strings.Contains(out, "digits-small") || !strings.Contains(out, "Succeeded") {
			t.Errorf("polder %s:\n%s", strings.Join(args, " "), out)
		}
	}
}

// killedWhile kills the controllers with SIGKILL while a distillation is in a stage.
func (c *cloud) killedWhile(t *testing.T, name, stage string) {
	t.Helper()
	waitFor(t, distilLimit, "stage "+stage, func(ctx context.Context) error {
		d, err := c.distillation(ctx, t, name)
		if err != nil {
			return err
		}
		if d.Status.Stage != stage {
			return fmt.Errorf("it is %s in stage %q: %s", d.Status.State, d.Status.Stage, d.Status.Message)
		}
		return nil
	})
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.component("controllers")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// checkStudent looks at what came out.
func (c *cloud) checkStudent(t *testing.T, d *v1alpha1.Distillation) {
	t.Helper()
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", "digits-small"), &m); err != nil {
		t.Fatal(err)
	}
	if d.Status.Model == nil || m.Spec.Digest != d.Status.Model.Digest || !strings.HasPrefix(m.Spec.Reference, "models/default/digits-small@") {
		t.Errorf("the distillation made %+v, the model is %s", d.Status.Model, m.Spec.Reference)
	}
	if err := atLeast(m.Spec.Metrics["test_accuracy"], 0.95); err != nil || m.Spec.Metrics["parameters"] != "2410" || m.Spec.Metrics["labels"] != "0" {
		t.Errorf("its figures are %v: %v", m.Spec.Metrics, err)
	}
	if p := m.Spec.Lineage.Parents; p["teacher"] != d.Status.Teacher.Digest || p["answers"] == "" {
		t.Errorf("its parents are %v", p)
	}
	var e v1alpha1.Evaluation
	if err := c.api(t).Get(brief(t), kube.Key("default", d.Status.Evaluation), &e); err != nil {
		t.Fatal(err)
	}
	if !e.Status.Passed || len(e.Status.Models) != 2 || len(e.Status.Comparisons) != 1 || d.Status.Verdict == "" {
		t.Errorf("the evaluation is %+v", e.Status)
	}
	dir := filepath.Join(t.TempDir(), "model")
	c.must(t, "model", "pull", "digits-small@"+m.Spec.Digest, dir)
	for _, s := range d.Status.Stages {
		if s.State != v1alpha1.StateSucceeded || s.AcceleratorHours == "" {
			t.Errorf("a stage is %+v", s)
		}
	}
}

// stillRegistered: what did not pass has not replaced the model.
func (c *cloud) stillRegistered(t *testing.T, d *v1alpha1.Distillation) {
	t.Helper()
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", "digits-small"), &m); err != nil {
		t.Fatal(err)
	}
	if d.Status.Model != nil || m.Labels[v1alpha1.LabelDistillation] == d.Name {
		t.Errorf("%s was registered: %+v", d.Name, m.Spec)
	}
}

// TestInit makes specialists of tables that this test makes up: one of a risk that can be
// told, and one of a series that its season tells all about, where the control wins.
func TestInit(t *testing.T) {
	c := shared(t)
	c.pytorch(t)
	c.must(t, "runtime", "build", "onnx-cpu")
	t.Run("risk", func(t *testing.T) {
		chance := rand.New(rand.NewPCG(1, 1))
		var b strings.Builder
		b.WriteString("age,city,income,bad\n")
		for range 1200 {
			age, city, income := 18+chance.IntN(60), []string{"Oslo", "Bonn", "Rome"}[chance.IntN(3)], fmt.Sprint(500+chance.IntN(4500))
			risk := -0.5 + 0.05*float64(age-48)
			if city == "Rome" {
				risk += 1.5
			}
			if chance.IntN(20) == 0 {
				income = ""
			}
			fmt.Fprintf(&b, "%d,%s,%s,%s\n", age, city, income, []string{"no", "yes"}[flip(chance, risk)])
		}
		dir := c.initialised(t, "risk", "claims", b.String(), "--label", "bad")
		c.must(t, "distil", "run", filepath.Join(dir, "teacher.yaml"), "--follow")
		c.must(t, "distil", "run", dir, "--follow")
		if out := c.must(t, "advise", "claims"); !strings.HasPrefix(out, "Specialist: ") {
			t.Errorf("it advises:\n%s", out)
		}
	})
	t.Run("forecast", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("step,load\n")
		for i := range 900 {
			fmt.Fprintf(&b, "s%d,%d\n", i, []int{3, 90, 14, 41, 7, 66, 25}[i%7])
		}
		dir := c.initialised(t, "forecast", "load", b.String(), "--season", "7", "--lags", "2")
		_, errs, code := c.run("distil", "run", filepath.Join(dir, "teacher.yaml"), "--follow")
		if code != 1 || !strings.Contains(errs, "did not learn") || !strings.Contains(errs, "use the control") {
			t.Errorf("exit code %d: %s", code, errs)
		}
	})
}

func flip(chance *rand.Rand, odds float64) int {
	if chance.Float64() < 1/(1+math.Exp(-odds)) {
		return 1
	}
	return 0
}

// initialised has `polder init` write a directory of a table, and puts its data into the
// store as its page says.
func (c *cloud) initialised(t *testing.T, kind, name, table string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), name)
	c.must(t, append([]string{"init", kind, dir, "--data", file}, args...)...)
	c.must(t, "bucket", "create", name)
	c.must(t, "sync", filepath.Join(dir, "data"), "s3://"+name+"/")
	for _, part := range []string{"train", "held"} {
		c.must(t, "dataset", "freeze", name+"-"+part, "s3://"+name+"/"+part+"/")
	}
	return dir
}
