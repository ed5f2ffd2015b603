package workload

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
)

// SoftwareCPU is the software stack of machines without accelerators, which every
// node has.
const SoftwareCPU = "cpu"

// Stack says what a software stack runs on: the kind of device, and the extended
// resource under which the vendor's device plugin offers it.
type Stack struct {
	Software, Kind string
	Resource       corev1.ResourceName
}

// Stacks lists the accelerators a worker can be given.
func Stacks() []Stack {
	return []Stack{
		{"cuda", "gpu", "nvidia.com/gpu"},
		{"rocm", "gpu", "amd.com/gpu"},
		{"musa", "gpu", "mthreads.com/gpu"},
		{"cann", "npu", "huawei.com/Ascend910"},
		{"neuron", "npu", "aws.amazon.com/neuron"},
		{"xla", "tpu", "google.com/tpu"},
	}
}

// StackOf returns the stack of a software name.
func StackOf(software string) (Stack, bool) {
	all := Stacks()
	i := slices.IndexFunc(all, func(s Stack) bool { return s.Software == software })
	if i < 0 {
		return Stack{}, false
	}
	return all[i], true
}

// On reports whether the node offers a device of the stack.
func (s Stack) On(n *corev1.Node) bool {
	q, ok := n.Status.Allocatable[s.Resource]
	return ok && q.Sign() > 0
}

// OnSome reports whether one of the nodes does.
func (s Stack) OnSome(nodes []corev1.Node) bool {
	return slices.ContainsFunc(nodes, func(n corev1.Node) bool { return s.On(&n) })
}

// Reference completes an image reference: without a registry host it means the
// cloud's own registry, and digest, if any, pins it.
func Reference(image, digest string) string {
	first, _, path := strings.Cut(image, "/")
	if !path || !strings.ContainsAny(first, ".:") && first != "localhost" {
		image = v1alpha1.RegistryHost + "/" + image
	}
	if digest != "" && !strings.Contains(image, "@") {
		image += "@" + digest
	}
	return image
}

// referenceShape is an image reference: host, path, tag, digest.
var referenceShape = regexp.MustCompile(`^([A-Za-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$`)

// IsReference reports whether s has the shape of an image reference.
func IsReference(s string) bool { return referenceShape.MatchString(s) }

// Own reports whether a complete reference means the cloud's own registry.
func Own(reference string) bool { return strings.HasPrefix(reference, v1alpha1.RegistryHost+"/") }
