//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestJobsThatFail runs jobs that cannot end well; each says why.
func TestJobsThatFail(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	t.Run("more workers than the cluster holds", func(t *testing.T) {
		const name = "crowd"
		j := tinyJob(name, 8, nil)
		j.Spec.Resources.CPU.Set(1000)
		c.submit(t, j)
		waitFor(t, time.Minute, "the job saying why it waits", func(ctx context.Context) error {
			j, err := c.job(ctx, t, name)
			if err != nil {
				return err
			}
			if j.Status.State != v1alpha1.StatePending || !strings.Contains(j.Status.Message, "it wants 8 workers") || !strings.Contains(j.Status.Message, "CPU") {
				return errors.New(told(j))
			}
			return nil
		})
		if out := c.must(t, "jobs"); !strings.Contains(out, "it wants 8 workers") {
			t.Errorf("polder jobs does not say it:\n%s", out)
		}
		c.must(t, "cancel", name)
		c.awaitJob(t, name, "its cancellation", jobLimit, inState(v1alpha1.StateCancelled))
		waitFor(t, 2*time.Minute, "the end of its workers", func(ctx context.Context) error {
			pods, err := c.workers(ctx, t, name)
			if err == nil && len(pods) > 0 {
				err = errors.New(string(pods[0].Status.Phase))
			}
			return err
		})
	})
	t.Run("a program that crashes", func(t *testing.T) {
		j := tinyJob("crash", 1, nil)
		j.Spec.Command, j.Spec.Retries = []string{"/probe", "crash"}, ptr.To[int32](0)
		message := c.fails(t, j, "WorkerDied")
		for _, w := range []string{"worker 0 of 1", "exit code 1", "its last lines", "line 19 before the end", "the flux capacitor is empty"} {
			if !strings.Contains(message, w) {
				t.Errorf("the message does not say %q: %s", w, message)
			}
		}
	})
	t.Run("a program that is not there", func(t *testing.T) {
		j := tinyJob("absent", 1, nil)
		j.Spec.Command, j.Spec.Retries = []string{"/no/such/program"}, ptr.To[int32](0)
		if message := c.fails(t, j, "WorkerDied"); !strings.Contains(message, "spec.command") {
			t.Errorf("the message does not name the field: %s", message)
		}
	})
	t.Run("an output without a model", func(t *testing.T) {
		j := tinyJob("empty", 1, nil)
		j.Spec.Command = []string{"/probe", "look"}
		c.fails(t, j, "EmptyOutput")
		if _, errs, code := c.run("model", "show", "empty"); code != 2 {
			t.Errorf("the model is there: %d, %s", code, errs)
		}
	})
	t.Run("a deadline", func(t *testing.T) {
		j := tinyJob("late", 1, map[string]string{"epochs": "1000000", "pace": "100ms"})
		j.Spec.DeadlineSeconds = 5
		c.fails(t, j, "DeadlineExceeded")
	})
	t.Run("a volume larger than the disk", func(t *testing.T) {
		const name = "greedy"
		j := tinyJob(name, 1, nil)
		j.Spec.Checkpoints.Size = resource.MustParse("900Ti")
		c.submit(t, j)
		waitFor(t, time.Minute, "the job saying why it waits", func(ctx context.Context) error {
			j, err := c.job(ctx, t, name)
			if err != nil {
				return err
			}
			for _, w := range []string{"GiB free", "spec.checkpoints.size"} {
				if !strings.Contains(j.Status.Message, w) {
					return errors.New(told(j))
				}
			}
			return nil
		})
		c.must(t, "cancel", name)
		c.awaitJob(t, name, "its cancellation", jobLimit, inState(v1alpha1.StateCancelled))
	})
	t.Run("a disk that is full", func(t *testing.T) { diskFull(t, c) })
}

// fails follows a job to its bad end and returns its message.
func (c *cloud) fails(t *testing.T, j *v1alpha1.TrainJob, reason string) string {
	t.Helper()
	c.forget(t, j.Name)
	_, errs, code := c.run("train", file(t, j), "--follow")
	if code != 1 || !strings.Contains(errs, "job "+j.Name+": Failed") {
		t.Errorf("polder train --follow: exit code %d, want 1: %s", code, errs)
	}
	now, err := c.job(brief(t), t, j.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, cond := range now.Status.Conditions {
		if cond.Type == v1alpha1.ConditionFailed && cond.Status == metav1.ConditionTrue {
			if cond.Reason != reason {
				t.Errorf("the reason is %s, want %s: %s", cond.Reason, reason, cond.Message)
			}
			if !strings.Contains(errs, strings.TrimSpace(now.Status.Message)) {
				t.Errorf("polder train --follow ends with %q, the job says %q", errs, now.Status.Message)
			}
			return now.Status.Message
		}
	}
	t.Fatalf("the job has not failed: %s", told(now))
	return ""
}

// diskFull trains on a volume that is a file system of 8 MiB, as a volume of a
// machine whose disk is nearly full, with checkpoints of 5 MiB.
func diskFull(t *testing.T, c *cloud) {
	const class, volume, name = "small", "small-volume", "full"
	dir := smallDisk(t, c.Path("volumes", volume), "8m")
	if err := errors.Join(os.Chown(dir, 0, 65532), os.Chmod(dir, os.ModeSetgid|0o770)); err != nil {
		t.Fatal(err)
	}
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	sc := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volume, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "polder.dev/local", "polder.dev/node": s.Node}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Mi")},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{s.Node}}},
			}}}},
		},
	}
	if err := errors.Join(c.api(t).Create(brief(t), sc), c.api(t).Create(brief(t), pv)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := errors.Join(c.api(t).Delete(ctx, sc), c.api(t).Delete(ctx, pv)); err != nil {
			t.Log(err)
		}
	})
	j := tinyJob(name, 1, map[string]string{"epochs": "1000000", "ballast": "5242880"})
	j.Spec.Checkpoints.StorageClass, j.Spec.Retries = class, ptr.To[int32](0)
	if message := c.fails(t, j, "WorkerDied"); !strings.Contains(message, "no space left on device") {
		t.Errorf("the message does not say that the disk is full: %s", message)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "epoch-*.pt")); len(found) == 0 {
		t.Error("no checkpoint was written before")
	}
	if err := c.api(t).Delete(brief(t), &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the job's volume being free", func(ctx context.Context) error {
		err := c.api(t).Get(ctx, kube.Key("default", "train-"+name), &corev1.PersistentVolumeClaim{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = errors.New("it is claimed")
		}
		return err
	})
}
