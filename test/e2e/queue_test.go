//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestQueue has one job at a time in a queue: those behind it are told why they wait, one
// of higher priority takes the place of the first, and this one goes on from its
// checkpoint when its turn comes again.
func TestQueue(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	q := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: "single"}, Spec: v1alpha1.QueueSpec{
		Namespaces: []string{"default"}, Quotas: []v1alpha1.QueueQuota{{Resource: "cpu", Nominal: resource.MustParse("600m")}},
	}}
	if err := c.api(t).Create(brief(t), q); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := c.api(t).Delete(ctx, q); err != nil {
			t.Error(err)
		}
	})
	queued := func(name string, priority int32, epochs int) *v1alpha1.TrainJob {
		j := tinyJob(name, 1, map[string]string{"epochs": fmt.Sprint(epochs), "pace": "200ms"})
		j.Spec.Queue, j.Spec.Priority = q.Name, priority
		return j
	}
	c.submit(t, queued("queued-long", 0, 10000))
	c.awaitJob(t, "queued-long", "saving its work", jobLimit, pastEpoch(3))
	c.submit(t, queued("queued-next", 0, 3))
	c.waits(t, "queued-next", q.Name)

	c.submit(t, queued("queued-first", 10, 3))
	c.awaitJob(t, "queued-long", "making room", time.Minute, func(j *v1alpha1.TrainJob) bool { return j.Status.Preemptions == 1 })
	c.awaitJob(t, "queued-first", "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))

	long := c.awaitJob(t, "queued-long", "going on", jobLimit, func(j *v1alpha1.TrainJob) bool {
		return j.Status.Ready == 1 && j.Status.Restarts == 1 && j.Status.State == v1alpha1.StateRunning
	})
	if long.Status.Queue == nil || !long.Status.Queue.Admitted {
		t.Errorf("it runs, and its queue says %+v", long.Status.Queue)
	}
	c.waits(t, "queued-next", q.Name) // it came later
	c.finish(t, "queued-long")
	long = c.awaitJob(t, "queued-long", "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
	if long.Status.Restarts != 1 || long.Status.Preemptions != 1 {
		t.Errorf("%d restarts and %d preemptions; there was one of each", long.Status.Restarts, long.Status.Preemptions)
	}
	c.awaitJob(t, "queued-next", "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
	if out := c.must(t, "queue", "ls"); !strings.Contains(out, q.Name) {
		t.Errorf("polder queue ls does not show it:\n%s", out)
	}
}

// TestQueueHoldsKubernetes has a Job and a pod wait for their queue: nobody but the queue
// lets them go, and they are told why they wait.
func TestQueueHoldsKubernetes(t *testing.T) {
	c := shared(t)
	c.probe(t)
	api := c.api(t)
	ns := c.namespace(t, "held", nil)
	q := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: "held"}, Spec: v1alpha1.QueueSpec{
		Namespaces: []string{ns}, Quotas: []v1alpha1.QueueQuota{{Resource: "cpu", Nominal: resource.MustParse("25m")}},
	}}
	if err := api.Create(brief(t), q); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := api.Delete(ctx, q); err != nil {
			t.Error(err)
		}
	})
	labels := map[string]string{v1alpha1.LabelQueue: q.Name}
	template := probePod(ns, "", "serve", "8080", "here")
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "first", Labels: labels}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{Spec: template.Spec},
	}}
	if err := api.Create(brief(t), job); err != nil {
		t.Fatal(err)
	}
	if s := job.Spec.Suspend; s == nil || !*s {
		t.Error("the Job was not made suspended")
	}
	waitFor(t, time.Minute, "the Job's pod", func(ctx context.Context) error {
		if err := api.Get(ctx, kube.Key(ns, "first"), job); err != nil {
			return err
		}
		if *job.Spec.Suspend || job.Status.Active != 1 {
			return fmt.Errorf("suspended %v, %d pods; the queue said %s", *job.Spec.Suspend, job.Status.Active, job.Annotations[v1alpha1.AnnotationQueue])
		}
		return nil
	})
	pod := probePod(ns, "second", "look")
	pod.Labels = labels
	if err := api.Create(brief(t), pod); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the pod being told", func(context.Context) error {
		out, errs, code := c.run("why", "pod/second", "-n", ns)
		if code != 0 || !strings.Contains(out, "too few") {
			return fmt.Errorf("%s%s", out, errs)
		}
		return nil
	})
	if err := api.Delete(brief(t), job, kube.InForeground); err != nil {
		t.Fatal(err)
	}
	waitFor(t, jobLimit, "the pod having run", func(ctx context.Context) error {
		if err := api.Get(ctx, kube.Key(ns, "second"), pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("the pod is %s; its queue said %s", pod.Status.Phase, pod.Annotations[v1alpha1.AnnotationQueue])
		}
		return nil
	})
}

// waits sees that a job waits for its queue, and is told so in a sentence.
func (c *cloud) waits(t *testing.T, name, queue string) {
	t.Helper()
	waitFor(t, time.Minute, name+" being told", func(ctx context.Context) error {
		var said struct{ Queue, Reason, Sentence string }
		out, errs, code := c.run("why", name, "-o", "json")
		if code != 0 {
			return errors.New(errs)
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			return err
		}
		if said.Queue != queue || !strings.Contains(said.Sentence, "processors") && !strings.Contains(said.Sentence, "cpu") || !strings.Contains(said.Sentence, queue) {
			return fmt.Errorf("it is told %+v", said)
		}
		pods, err := c.workers(ctx, t, name)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("it has %d pods", len(pods))
		}
		return err
	})
}
