//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

const (
	tinyRuntime = "tiny" // of the probe's trainer
	example     = "../../examples/ocr-digits"
	jobLimit    = 4 * time.Minute
)

// digits puts the example's data where its job reads it.
func (c *cloud) digits(t testing.TB) {
	t.Helper()
	if _, _, code := c.run("bucket", "show", "digits"); code != 0 {
		c.must(t, "bucket", "create", "digits")
	}
	c.must(t, "cp", "-r", "../../examples/data/digits", "s3://digits/")
}

// tiny sees to it that the cloud has a runtime that takes no time to build: the
// probe, whose trainer keeps to the contract as any other.
func (c *cloud) tiny(t testing.TB) {
	t.Helper()
	r := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: tinyRuntime}, Spec: v1alpha1.RuntimeSpec{
		Framework: "probe", Version: "1", Variants: []v1alpha1.RuntimeVariant{{Software: "cpu", Image: probeRepository, Digest: c.probe(t)}},
	}}
	if err := c.api(t).Create(brief(t), r); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// tinyJob is a job of the probe's trainer.
func tinyJob(name string, workers int32, parameters map[string]string) *v1alpha1.TrainJob {
	j := &v1alpha1.TrainJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TrainJob"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TrainJobSpec{
			Runtime: tinyRuntime, Command: []string{"/probe", "train"}, Workers: workers, Parameters: parameters,
		},
	}
	j.Spec.Resources.CPU.SetMilli(500) // a sandbox with less takes long to start
	j.Spec.Resources.Memory.Set(128 << 20)
	j.Spec.Checkpoints.Size.Set(64 << 20)
	return j
}

// file writes the job to a directory of its own and returns the directory.
func file(t testing.TB, j *v1alpha1.TrainJob) string {
	t.Helper()
	b, err := yaml.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	// What a person would not write: an empty status and zero time.
	var m map[string]any
	if err := yaml.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "status")
	delete(m["metadata"].(map[string]any), "creationTimestamp")
	delete(m["spec"].(map[string]any), "code")
	if b, err = yaml.Marshal(m); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "job.yaml"), string(b))
	return dir
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// submit starts a job with `polder train` and removes it at the end of t.
func (c *cloud) submit(t testing.TB, j *v1alpha1.TrainJob, args ...string) {
	t.Helper()
	c.must(t, append([]string{"train", file(t, j)}, args...)...)
	c.forget(t, j.Name)
}

// forget removes a job at the end of t.
func (c *cloud) forget(t testing.TB, name string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		if err := c.api(t).Delete(ctx, j); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("removing job %s: %v", name, err)
		}
	})
}

func (c *cloud) job(ctx context.Context, t testing.TB, name string) (*v1alpha1.TrainJob, error) {
	var j v1alpha1.TrainJob
	err := c.api(t).Get(ctx, kube.Key("default", name), &j)
	return &j, err
}

// awaitJob returns the job when done says so; it must not end badly before.
func (c *cloud) awaitJob(t testing.TB, name, what string, limit time.Duration, done func(*v1alpha1.TrainJob) bool) *v1alpha1.TrainJob {
	t.Helper()
	var j *v1alpha1.TrainJob
	waitFor(t, limit, fmt.Sprintf("job %s: %s", name, what), func(ctx context.Context) error {
		var err error
		if j, err = c.job(ctx, t, name); err != nil {
			return err
		}
		if done(j) {
			return nil
		}
		err = errors.New(told(j))
		if j.Status.State.Done() {
			return hopeless{err}
		}
		return err
	})
	return j
}

// told is what a job says of itself.
func told(j *v1alpha1.TrainJob) string {
	text := fmt.Sprintf("%s: %q, %d workers ready, %d restarts", j.Status.State, j.Status.Message, j.Status.Ready, j.Status.Restarts)
	if p := j.Status.Progress; p != nil {
		text += fmt.Sprintf(", epoch %d of %d", p.Epoch, p.Epochs)
	}
	return text
}

func inState(s v1alpha1.State) func(*v1alpha1.TrainJob) bool {
	return func(j *v1alpha1.TrainJob) bool { return j.Status.State == s }
}

// says is true of a job whose message has all of words.
func says(words ...string) func(*v1alpha1.TrainJob) bool {
	return func(j *v1alpha1.TrainJob) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(j.Status.Message, w) })
	}
}

func pastEpoch(n int64) func(*v1alpha1.TrainJob) bool {
	return func(j *v1alpha1.TrainJob) bool { return j.Status.Progress != nil && j.Status.Progress.Epoch >= n }
}

// volume is the directory on this machine of a job's volume.
func (c *cloud) volume(t testing.TB, job string) string {
	t.Helper()
	var claim corev1.PersistentVolumeClaim
	if err := c.api(t).Get(brief(t), kube.Key("default", "train-"+job), &claim); err != nil {
		t.Fatal(err)
	}
	var pv corev1.PersistentVolume
	if err := c.api(t).Get(brief(t), kube.Key("", claim.Spec.VolumeName), &pv); err != nil {
		t.Fatal(err)
	}
	if pv.Spec.Local == nil {
		t.Fatalf("volume %s of job %s is not local", pv.Name, job)
	}
	return pv.Spec.Local.Path
}

// finish lets the probe's trainer end after its present epoch.
func (c *cloud) finish(t testing.TB, job string) {
	t.Helper()
	write(t, filepath.Join(c.volume(t, job), "checkpoints", "finish"), "")
}

// workers are the pods of a job, by rank.
func (c *cloud) workers(ctx context.Context, t testing.TB, job string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := c.api(t).List(ctx, &pods, kube.InNamespace("default"), kube.Labelled(map[string]string{v1alpha1.LabelTrainJob: job}))
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return strings.Compare(a.Annotations[kube.IndexAnnotation], b.Annotations[kube.IndexAnnotation])
	})
	return pods.Items, err
}

// metricLine is a line of a metrics file; docs/formats/training.md.
type metricLine struct {
	Event       string
	Epoch       int64
	Epochs      int64
	Loss        json.Number
	ResumedFrom int64 `json:"resumed_from"`
	WorldSize   int   `json:"world_size"`
	File        string
	Metrics     map[string]json.Number
}

// metricLines reads a metrics file; each of its lines must be one. What has no end yet is
// being written.
func metricLines(t testing.TB, path string) []metricLine {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []metricLine
	for line := range strings.Lines(string(b[:bytes.LastIndexByte(b, '\n')+1])) {
		var m metricLine
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v in line %q", path, err, line)
		}
		out = append(out, m)
	}
	return out
}

func events(lines []metricLine, event string) []metricLine {
	return slices.DeleteFunc(slices.Clone(lines), func(l metricLine) bool { return l.Event != event })
}
