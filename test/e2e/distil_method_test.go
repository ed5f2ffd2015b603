//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// parity rewards who tells whether a digit is odd, which is no label of it.
const parity = `def reward(row, label, action):
    return 1.0 if (int(label) % 2 == 1) == (action == "odd") else -0.5
`

// begunFile is a model that has seen few labels, for others to begin from.
const begunFile = `apiVersion: polder.dev/v1alpha1
kind: Distillation
metadata: {name: digits-begun}
spec:
  method: finetune
  student:
    recipe: teacher
    parameters: {hidden: "32", epochs: "3"}
    resources: {cpu: 900m, memory: 1Gi}
  data: {dataset: digits-train}
  labels: 100
  held: {dataset: digits-held}
  budget: {acceleratorHours: "0.1"}
`

// goesOnFile is a model that goes on learning: by a method, under its name, which is the
// recipe's too.
const goesOnFile = `apiVersion: polder.dev/v1alpha1
kind: Distillation
metadata: {name: digits-%[1]s}
spec:
  method: %[1]s
  student:
    recipe: %[1]s
    from: digits-begun
    parameters: {epochs: "%[2]d", lr: "0.002"}
    resources: {cpu: 900m, memory: 1Gi}
  data: {dataset: digits-train}
  held: {dataset: digits-held}
  requirements:
  - {metric: accuracy, min: "0.8"}
  budget: {acceleratorHours: "0.2"}
`

// parityFile is a policy that learns from rewards alone.
const parityFile = `apiVersion: polder.dev/v1alpha1
kind: Distillation
metadata: {name: digits-parity}
spec:
  method: reinforce
  student:
    recipe: reinforce
    parameters: {reward: parity.py, actions: "odd,even", epochs: "12"}
    resources: {cpu: 900m, memory: 1Gi}
  data: {dataset: digits-parity}
  held: {dataset: digits-held}
  requirements:
  - {metric: reward, min: "0.6"}
  budget: {acceleratorHours: "0.2"}
`

// TestDistilMethods: models that go on learning from labels, in all weights and in few, and
// one that learns from rewards. Each is registered with what it was made of if it is better
// than what it began as, and else not.
func TestDistilMethods(t *testing.T) {
	c := shared(t)
	c.pytorch(t)
	c.must(t, "runtime", "build", "onnx-cpu")
	c.splitDigits(t)
	dir := t.TempDir()
	c.must(t, "distil", "run", write(t, filepath.Join(dir, "begun.yaml"), begunFile), "--follow")
	begun := c.model(t, "digits-begun")
	t.Run("finetune", func(t *testing.T) {
		c.must(t, "distil", "run", write(t, filepath.Join(dir, "finetune.yaml"), fmt.Sprintf(goesOnFile, "finetune", 200)))
		c.killedOnTheWay(t, "digits-finetune")
		m := c.improved(t, "digits-finetune", "accuracy", begun)
		if m.Spec.Metrics["parameters_learned"] != m.Spec.Metrics["parameters"] || m.Spec.Lineage.Restarts != 1 {
			t.Errorf("of %s parameters %s have learned, after %d restarts; want all, after 1", m.Spec.Metrics["parameters"], m.Spec.Metrics["parameters_learned"], m.Spec.Lineage.Restarts)
		}
		c.resumed(t, m)
	})
	t.Run("lora", func(t *testing.T) {
		file := write(t, filepath.Join(dir, "lora.yaml"), fmt.Sprintf(goesOnFile, "lora", 20))
		c.must(t, "distil", "run", file)
		m := c.improved(t, "digits-lora", "accuracy", begun)
		if all, few := number(t, m, "parameters"), number(t, m, "parameters_learned"); few <= 0 || few > all/2 {
			t.Errorf("of %v parameters %v have learned", all, few)
		}
		t.Run("does not learn", func(t *testing.T) { // a step so small that nothing moves
			c.must(t, "distil", "run", file, "--name", "digits-still", "--param", "epochs=1", "--param", "lr=0.0000001")
			d := c.distilled(t, "digits-still", v1alpha1.StateFailed, "the student did not learn: it is right in")
			if !strings.Contains(d.Status.Message, "before") || d.Status.Model != nil {
				t.Errorf("it is registered as %+v, and says %s", d.Status.Model, d.Status.Message)
			}
			var models v1alpha1.ModelList
			if err := c.api(t).List(brief(t), &models, kube.InNamespace("default")); err != nil {
				t.Fatal(err)
			}
			if all := names(&models); slices.Contains(all, "model digits-still") || !slices.Contains(all, "model digits-still-candidate") {
				t.Errorf("the models are %v", all)
			}
		})
	})
	t.Run("reinforce", func(t *testing.T) {
		c.must(t, "distil", "run", write(t, filepath.Join(dir, "parity.yaml"), parityFile))
		m := c.improved(t, "digits-parity", "reward", nil)
		if reward, constant := number(t, m, "test_reward"), number(t, m, "test_constant_reward"); reward < 0.6 || constant > 0.5 {
			t.Errorf("it is rewarded by %v, and one action by %v", reward, constant)
		}
	})
}

// killedOnTheWay kills the worker of a student after a few of its epochs.
func (c *cloud) killedOnTheWay(t *testing.T, name string) {
	t.Helper()
	var job string
	waitFor(t, distilLimit, "the student of "+name, func(ctx context.Context) error {
		d, err := c.distillation(ctx, t, name)
		if err != nil {
			return err
		}
		if d.Status.State.Done() {
			return hopeless{fmt.Errorf("it ended, %s: %s", d.Status.State, d.Status.Message)}
		}
		if len(d.Status.Stages) == 0 {
			return fmt.Errorf("it is %s: %s", d.Status.State, d.Status.Message)
		}
		job = d.Status.Stages[0].Job
		return nil
	})
	c.checkpointed(t, job, 5)
	kill(t, c, job, 0)
}

// resumed checks that the second attempt went on where the first had come to.
func (c *cloud) resumed(t *testing.T, m *v1alpha1.Model) {
	t.Helper()
	dir := t.TempDir()
	c.must(t, "model", "pull", m.Name, dir)
	starts := events(metricLines(t, filepath.Join(dir, "metrics.jsonl")), "start")
	if len(starts) != 2 || starts[0].ResumedFrom != 0 || starts[1].ResumedFrom < 5 {
		t.Errorf("attempts began %+v; want one from 0, and one from epoch 5 or later", starts)
	}
}

// improved waits until a distillation has registered a model, looks at its lineage, and
// checks that the figure has risen above what it was before.
func (c *cloud) improved(t *testing.T, name, figure string, from *v1alpha1.Model) *v1alpha1.Model {
	t.Helper()
	d := c.distilled(t, name, v1alpha1.StateSucceeded, "")
	m := c.model(t, name)
	if d.Status.Model == nil || m.Spec.Digest != d.Status.Model.Digest || m.Spec.Reference != "models/default/"+name+"@"+m.Spec.Digest {
		t.Errorf("the distillation made %+v, the model is %s", d.Status.Model, m.Spec.Reference)
	}
	t.Logf("%s: from %s to %s; %s", name, m.Spec.Metrics["before_"+figure], m.Spec.Metrics["test_"+figure], d.Status.Verdict)
	if was, is := number(t, m, "before_"+figure), number(t, m, "test_"+figure); is < was+0.05 {
		t.Errorf("its %s was %v and is %v", figure, was, is)
	}
	job, err := c.job(brief(t), t, d.Status.Stages[0].Job)
	if err != nil {
		t.Fatal(err)
	}
	l := m.Spec.Lineage
	_, recipe, _ := strings.Cut(job.Spec.Code.Image, "@")
	if l.Job != job.Name || l.JobUID != string(job.UID) || !strings.HasPrefix(recipe, "sha256:") || l.CodeDigest != recipe {
		t.Errorf("its lineage has job %s and code %s, the job is %s with %s", l.Job, l.CodeDigest, job.Name, recipe)
	}
	for source, set := range map[string]string{"data": d.Spec.Data.Dataset, "held": d.Spec.Held.Dataset} {
		var s v1alpha1.Dataset
		if err := c.api(t).Get(brief(t), kube.Key("default", set), &s); err != nil {
			t.Fatal(err)
		}
		if s.Status.Digest == "" || l.Data[source] != s.Status.Digest {
			t.Errorf("its lineage has %s %q, the manifest of %s is %q", source, l.Data[source], set, s.Status.Digest)
		}
	}
	want := map[string]string{}
	if from != nil {
		want["from"] = from.Spec.Digest
	}
	if !maps.Equal(l.Parents, want) {
		t.Errorf("its parents are %v, want %v", l.Parents, want)
	}
	return m
}

// model of the namespace default.
func (c *cloud) model(t *testing.T, name string) *v1alpha1.Model {
	t.Helper()
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", name), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// number is a figure of a model.
func number(t *testing.T, m *v1alpha1.Model, figure string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(m.Spec.Metrics[figure], 64)
	if err != nil {
		t.Fatalf("the figure %s of model %s is %q, of %v", figure, m.Name, m.Spec.Metrics[figure], m.Spec.Metrics)
	}
	return v
}
