//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// secondScheduler has Polder's scheduler run in pods beside the one that a cluster has:
// it places pods that name it, with their devices, and no other scheduler may.
func (c *cloud) secondScheduler(t *testing.T, image string) {
	c.apply(t, c.must(t, "scheduler", "manifest", "--image", v1alpha1.RegistryHost+"/"+image))
	ctx := t.Context()
	k := c.api(t)
	claim := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "polder-system", Name: "second"}, Spec: resourcev1.ResourceClaimSpec{
		Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "d", Exactly: &resourcev1.ExactDeviceRequest{
			DeviceClassName: "accelerator.polder.dev", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1}}}}}}
	if err := k.Create(ctx, claim); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "polder-system", Name: "second"}, Spec: corev1.PodSpec{
		ResourceClaims: []corev1.PodResourceClaim{{Name: "d", ResourceClaimName: &claim.Name}},
		Containers:     []corev1.Container{{Name: "c", Image: v1alpha1.RegistryHost + "/" + image, Command: []string{"/polder", "version"}}},
	}}
	waitFor(t, podLimit, "the policy refusing a pod with claims of another scheduler", func(context.Context) error {
		err := k.Create(ctx, pod.DeepCopy())
		if err == nil {
			if err := k.Delete(ctx, pod.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			return errors.New("it was taken")
		}
		if !strings.Contains(err.Error(), "must name polder-scheduler") {
			return err
		}
		return nil
	})
	waitFor(t, podLimit, "the end of what was taken before the policy held", func(context.Context) error {
		err := k.Get(ctx, kube.Key("polder-system", "second"), &corev1.Pod{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return errors.New("it is still there")
	})
	pod.Spec.SchedulerName = "polder-scheduler"
	if err := k.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	waitFor(t, podLimit, "the second scheduler placing a pod", func(context.Context) error {
		var p corev1.Pod
		if err := k.Get(ctx, kube.Key("polder-system", "second"), &p); err != nil {
			return err
		}
		if p.Spec.NodeName == "" {
			return fmt.Errorf("it has no node: %+v", p.Status.Conditions)
		}
		return nil
	})
	if err := k.Get(ctx, kube.Key("polder-system", "second"), claim); err != nil {
		t.Fatal(err)
	}
	if claim.Status.Allocation == nil || len(claim.Status.ReservedFor) != 1 {
		t.Errorf("its claim is %+v", claim.Status)
	}
}
