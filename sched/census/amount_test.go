package census

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// TestAmounts are those that the scheduler counts.
func TestAmounts(t *testing.T) {
	of := func(cpu string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}, Limits: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}}
	}
	sidecar := of("1")
	sidecar.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	s := corev1.PodSpec{InitContainers: []corev1.Container{of("2"), sidecar, of("4")}, Containers: []corev1.Container{of("1"), of("500m")}, Overhead: corev1.ResourceList{"cpu": resource.MustParse("100m")}}
	if r := Amounts(&s); r.CPU != 5100 || r.Memory != 3<<30 {
		t.Errorf("%d thousandths of processors, %d bytes", r.CPU, r.Memory)
	}
}
