//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestDefragWithin has two jobs with a part of a device each. One is moved by hand to a part
// of the other device of their node, which it gets, so that a job that wants a device
// finds none; a plan brings them together again.
func TestDefragWithin(t *testing.T) {
	c := shared(t)
	c.anyChip(t)
	c.trusted(t, "default")
	const node = "cut"
	c.emulate(t, node, dumpOf(t, 2, "nvidia", "NVIDIA H100 80GB HBM3", 81559))
	jobs := []string{"part-one", "part-two"}
	stand := c.standIn(t, []string{node}, jobs...)
	memory := resource.MustParse("9Gi")
	for _, name := range jobs {
		j := c.onGPUs(name, 1)
		j.Spec.Accelerators.Memory, j.Spec.Accelerators.Share = &memory, true
		c.submit(t, j)
		c.awaitJob(t, name, "saving its work", jobLimit, pastEpoch(3))
	}
	const other = "gpu-0000-11-00-0-1g-10gb-3"
	j, err := c.job(brief(t), t, jobs[1])
	if err != nil {
		t.Fatal(err)
	}
	next := j.DeepCopy()
	next.Spec.Move = &v1alpha1.Move{Asked: metav1.NewTime(time.Now().Truncate(time.Second)), Nodes: []string{node}, Devices: []string{c.uuid(t, node, other)}}
	if err := c.api(t).Patch(brief(t), next, kube.Changes(j)); err != nil {
		t.Fatal(err)
	}
	c.movedTo(t, jobs[1], node, 1)
	if got := c.given(t, jobs[1]); got != other {
		t.Fatalf("it was given %q, and was moved to %q", got, other)
	}
	big := c.onGPUs("part-none", 1)
	c.submit(t, big)
	c.awaitJob(t, big.Name, "waiting for room", jobLimit, func(j *v1alpha1.TrainJob) bool { return strings.Contains(j.Status.Message, "nodes") })

	out, errs, code := c.run("defrag", "--apply")
	if code != 0 || !strings.Contains(out, "other devices of "+node) || !strings.Contains(errs, " runs on other devices of "+node) {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	t.Log(out, errs)
	c.awaitJob(t, big.Name, "being placed", jobLimit, func(j *v1alpha1.TrainJob) bool { return j.Status.Devices != "" })
	one, two := c.given(t, jobs[0]), c.given(t, jobs[1])
	if one[:len("gpu-0000-11")] != two[:len("gpu-0000-11")] || one == two {
		t.Errorf("the parts are %s and %s, want two of one device", one, two)
	}
	moved := 0
	for _, name := range jobs {
		j, err := c.job(brief(t), t, name)
		if err != nil {
			t.Fatal(err)
		}
		moved += int(j.Status.Moves)
		stand.resumed(t, name, int(j.Status.Moves))
	}
	if moved != 2 {
		t.Errorf("%d moves, want the one by hand and one that was planned", moved)
	}
	for _, name := range append(jobs, big.Name) {
		c.gone(t, name)
	}
}

// uuid of a published device.
func (c *cloud) uuid(t *testing.T, node, device string) string {
	t.Helper()
	var slices resourcev1.ResourceSliceList
	if err := c.api(t).List(brief(t), &slices); err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Items {
		for _, d := range s.Spec.Devices {
			if s.Spec.Pool.Name == node && d.Name == device {
				return *d.Attributes["accelerator.polder.dev/uuid"].StringValue
			}
		}
	}
	t.Fatalf("node %s has no device %s", node, device)
	return ""
}

// given is the device that a job's worker has.
func (c *cloud) given(t *testing.T, job string) (device string) {
	t.Helper()
	waitFor(t, time.Minute, "job "+job+" having a device", func(ctx context.Context) error {
		pods, err := c.workers(ctx, t, job)
		if err != nil || len(pods) != 1 || len(pods[0].Status.ResourceClaimStatuses) != 1 {
			return fmt.Errorf("%d workers, %v", len(pods), err)
		}
		var claim resourcev1.ResourceClaim
		if err := c.api(t).Get(ctx, kube.Key("default", *pods[0].Status.ResourceClaimStatuses[0].ResourceClaimName), &claim); err != nil {
			return err
		}
		if claim.Status.Allocation == nil || len(claim.Status.Allocation.Devices.Results) != 1 {
			return fmt.Errorf("the claim has %+v", claim.Status.Allocation)
		}
		device = claim.Status.Allocation.Devices.Results[0].Device
		return nil
	})
	return device
}
