//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestWorkerKilledResumes kills a worker of the example in the middle: the job goes
// on from its latest whole checkpoint and ends where an undisturbed run ends.
func TestWorkerKilledResumes(t *testing.T) {
	c := shared(t)
	want := trainExample(t)
	t.Run("worker 1", func(t *testing.T) {
		d := disturb(t, c, "resume-one", 1, func(string, string) {})
		d.resumedAt(t, d.newest)
		d.same(t, want)
	})
	t.Run("worker 0 and its newest checkpoint is corrupt", func(t *testing.T) {
		d := disturb(t, c, "resume-two", 0, func(dir, newest string) { corrupt(t, filepath.Join(dir, newest)) })
		lines := events(d.lines, "checkpoint_corrupt")
		if len(lines) != 1 || lines[0].File != d.name {
			t.Errorf("the metrics tell of corrupt checkpoints %+v, want %s", lines, d.name)
		}
		d.resumedAt(t, d.newest-1)
		d.same(t, want)
	})
}

// disturbed is a run of the example in which a worker was killed.
type disturbed struct {
	job    *v1alpha1.TrainJob
	model  *v1alpha1.Model
	lines  []metricLine
	newest int64  // epoch of the newest checkpoint when all workers were dead
	name   string // its file
}

// disturb trains the example under another name and kills one worker's sandbox
// after a few epochs. then is called with the newest checkpoint as soon as its
// writer, worker 0, is dead for sure.
func disturb(t *testing.T, c *cloud, name string, rank int, then func(dir, newest string)) *disturbed {
	c.digits(t)
	c.must(t, "train", example, "--name", name)
	c.forget(t, name)
	dir := c.checkpointed(t, name, 5)
	d := &disturbed{}
	d.newest, d.name = latest(t, dir) // at the least; the restart may be quicker than our next look
	kill(t, c, name, rank)
	if rank == 0 {
		d.newest, d.name = latest(t, dir)
		then(dir, d.name)
	}
	d.job = c.awaitJob(t, name, "its end after worker "+strconv.Itoa(rank)+" was killed", jobLimit, func(j *v1alpha1.TrainJob) bool {
		if rank != 0 && j.Status.Restarts == 0 { // the writer lives: what it writes until it dies counts
			d.newest, d.name = latest(t, dir)
		}
		return j.Status.State == v1alpha1.StateSucceeded
	})
	d.model = &v1alpha1.Model{}
	if err := c.api(t).Get(brief(t), kube.Key("default", name), d.model); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	c.must(t, "model", "pull", name, out)
	d.lines = metricLines(t, filepath.Join(out, "metrics.jsonl"))
	if len(events(d.lines, "epoch")) == 0 || d.newest < 5 || d.newest >= 15 {
		t.Fatalf("worker %d was killed after epoch %d of 15, which shows nothing", rank, d.newest)
	}
	return d
}

// resumedAt checks that the second attempt began after epoch least at the
// earliest, and that no epoch is missing.
func (d *disturbed) resumedAt(t *testing.T, least int64) {
	t.Helper()
	if d.job.Status.Restarts != 1 {
		t.Errorf("the job counts %d restarts, want 1", d.job.Status.Restarts)
	}
	starts := events(d.lines, "start")
	if len(starts) != 2 || starts[0].ResumedFrom != 0 || starts[1].ResumedFrom < least {
		t.Errorf("attempts began %+v; want one from 0, and one from epoch %d or later", starts, least)
	}
	if len(events(d.lines, "checkpoint_corrupt")) > 0 && starts[1].ResumedFrom != least {
		t.Errorf("the second attempt resumed from epoch %d, want %d, the one before the corrupt", starts[1].ResumedFrom, least)
	}
	var epochs []int64
	for _, l := range events(d.lines, "epoch") {
		if !slices.Contains(epochs, l.Epoch) {
			epochs = append(epochs, l.Epoch)
		}
	}
	for e := int64(1); e <= 15; e++ {
		if !slices.Contains(epochs, e) {
			t.Errorf("epoch %d is missing: %v", e, epochs)
		}
	}
}

// same checks that the run ended as the undisturbed one did.
func (d *disturbed) same(t *testing.T, want *trained) {
	t.Helper()
	if have := d.model.Spec.Metrics["test_accuracy"]; have != want.accuracy {
		t.Errorf("test_accuracy is %s, that of the undisturbed run %s", have, want.accuracy)
	}
	if have, want := d.model.Spec.Metrics["loss"], want.model.Spec.Metrics["loss"]; have != want {
		t.Errorf("the last loss is %s, that of the undisturbed run %s", have, want)
	}
	if d.model.Spec.Lineage.Restarts != 1 {
		t.Errorf("the model's lineage has %d restarts", d.model.Spec.Lineage.Restarts)
	}
}

// checkpointed waits for a job's checkpoint of an epoch, with its hash, and returns the
// directory. Files tell earlier than the job's status, and small epochs are soon over.
func (c *cloud) checkpointed(t *testing.T, job string, epoch int) (dir string) {
	t.Helper()
	c.awaitJob(t, job, "running", jobLimit, inState(v1alpha1.StateRunning))
	dir = filepath.Join(c.volume(t, job), "checkpoints")
	waitFor(t, jobLimit, fmt.Sprintf("epoch %d of job %s", epoch, job), func(context.Context) error {
		found, err := filepath.Glob(filepath.Join(dir, "epoch-*.pt.sha256"))
		if newest := filepath.Join(dir, fmt.Sprintf("epoch-%05d", epoch)); err != nil || len(found) == 0 || slices.Max(found) < newest {
			return fmt.Errorf("its checkpoints are %q, %v", found, err)
		}
		return nil
	})
	return dir
}

// latest is the newest checkpoint.
func latest(t *testing.T, dir string) (epoch int64, name string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "epoch-*.pt"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no checkpoint in %s: %v", dir, err)
	}
	name = filepath.Base(slices.Max(found))
	if _, err := fmt.Sscanf(name, "epoch-%d.pt", &epoch); err != nil {
		t.Fatalf("checkpoint %s: %v", name, err)
	}
	return epoch, name
}

// corrupt turns over one byte in the middle of a file.
func corrupt(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

// kill kills everything that runs in the pod of one worker, from outside, and
// returns when it is dead.
func kill(t *testing.T, c *cloud, job string, rank int) {
	t.Helper()
	var pod corev1.Pod
	waitFor(t, podLimit, fmt.Sprintf("worker %d of %s", rank, job), func(ctx context.Context) error {
		pods, err := c.workers(ctx, t, job)
		if err != nil {
			return err
		}
		if len(pods) <= rank || pods[rank].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%d workers, of which it does not run", len(pods))
		}
		pod = pods[rank]
		return nil
	})
	inside := c.inPod(&pod)
	if len(inside) == 0 {
		t.Fatalf("no process of pod %s, uid %s, found in the cgroups of this machine", pod.Name, pod.UID)
	}
	for _, p := range inside {
		t.Logf("killing process %d of worker %d: %.120s", p.pid, rank, p.args)
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
	waitFor(t, time.Minute, "the death of worker "+strconv.Itoa(rank), func(context.Context) error {
		for _, p := range inside {
			if p.lives() {
				return fmt.Errorf("process %d is there: %.60s", p.pid, p.args)
			}
		}
		return nil
	})
}

// inPod lists the processes in a pod's cgroups.
func (c *cloud) inPod(pod *corev1.Pod) []process {
	uid := string(pod.UID)
	return slices.DeleteFunc(c.processes(), func(p process) bool {
		return !strings.Contains(p.group, uid) && !strings.Contains(p.group, strings.ReplaceAll(uid, "-", "_"))
	})
}
