//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestGang has two jobs that are each too large for the other to fit beside it: the second
// gets nothing, not even for one worker, until the first is over, and then all it wants,
// on one host.
func TestGang(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	var nodes corev1.NodeList
	if err := c.api(t).List(brief(t), &nodes); err != nil || len(nodes.Items) != 1 {
		t.Fatalf("%d nodes, %v; want one", len(nodes.Items), err)
	}
	third := nodes.Items[0].Status.Allocatable.Cpu().MilliValue() * 35 / 100
	pair := func(name string, epochs int) *v1alpha1.TrainJob {
		j := tinyJob(name, 2, map[string]string{"epochs": fmt.Sprint(epochs), "pace": "200ms"})
		j.Spec.Resources.CPU.SetMilli(third)
		j.Spec.Topology.Required = "host"
		return j
	}
	c.submit(t, pair("gang-one", 10000))
	c.awaitJob(t, "gang-one", "running", jobLimit, func(j *v1alpha1.TrainJob) bool { return j.Status.Ready == 2 })
	waitFor(t, time.Minute, "the gang bearing when it saved, for the scheduler", func(ctx context.Context) error {
		var g schedulingv1beta1.PodGroup
		if err := c.api(t).Get(ctx, kube.Key("default", "gang-one-0"), &g); err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339, g.Annotations[v1alpha1.AnnotationSaved])
		if age := time.Since(at); err == nil && (age < -time.Minute || age > 5*time.Minute) {
			return fmt.Errorf("it says %s", at)
		}
		return err
	})
	c.submit(t, pair("gang-two", 3))
	waitFor(t, time.Minute, "gang-two being told why it waits", func(ctx context.Context) error {
		pods, err := c.workers(ctx, t, "gang-two")
		if err != nil {
			return err
		}
		for _, p := range pods {
			for _, s := range p.Status.Conditions {
				if s.Type == corev1.PodScheduled && s.Reason == corev1.PodReasonUnschedulable {
					return nil
				}
			}
		}
		return errors.New("no worker was refused a place")
	})
	pods, err := c.workers(brief(t), t, "gang-two")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Spec.NodeName != "" {
			t.Errorf("worker %s has a place, and its gang has not", p.Name)
		}
	}
	c.finish(t, "gang-one")
	c.awaitJob(t, "gang-one", "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
	c.awaitJob(t, "gang-two", "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
}
