package train

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
)

// softwareCPU is the software stack of machines without accelerators.
const softwareCPU = "cpu"

// stack says what a software stack runs on: the kind of device, and the
// extended resource under which the vendor's device plugin offers it.
type stack struct {
	software, kind string
	resource       corev1.ResourceName
}

// stacks lists the accelerators a worker can be given.
var stacks = []stack{
	{"cuda", "gpu", "nvidia.com/gpu"},
	{"rocm", "gpu", "amd.com/gpu"},
	{"musa", "gpu", "mthreads.com/gpu"},
	{"cann", "npu", "huawei.com/Ascend910"},
	{"neuron", "npu", "aws.amazon.com/neuron"},
	{"xla", "tpu", "google.com/tpu"},
}

// stackOf returns the stack of a software name.
func stackOf(software string) (stack, bool) {
	i := slices.IndexFunc(stacks, func(s stack) bool { return s.software == software })
	if i < 0 {
		return stack{}, false
	}
	return stacks[i], true
}

// variant picks the variant of rt that a worker with these accelerators runs:
// the cpu variant for none; otherwise the first one that will do and whose
// devices some node has, or the first one that will do when no node has any,
// so that the job waits for hardware of a definite kind.
func variant(rt *v1alpha1.Runtime, want v1alpha1.Accelerators, nodes []corev1.Node) (v1alpha1.RuntimeVariant, error) {
	var fit []v1alpha1.RuntimeVariant
	var have []string
	for _, v := range rt.Spec.Variants {
		have = append(have, v.Software)
		if willDo(v.Software, want) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		return v1alpha1.RuntimeVariant{}, fmt.Errorf("runtime %q has no variant for %s; it has %s: change spec.accelerators or spec.runtime",
			rt.Name, wanted(want), strings.Join(have, ", "))
	}
	for _, v := range fit {
		if s, ok := stackOf(v.Software); ok && onSomeNode(s.resource, nodes) {
			return v, nil
		}
	}
	return fit[0], nil
}

// willDo reports whether a variant for software serves what is wanted.
func willDo(software string, want v1alpha1.Accelerators) bool {
	if want.Count == 0 {
		return software == softwareCPU
	}
	s, known := stackOf(software)
	return known &&
		(len(want.Software) == 0 || slices.Contains(want.Software, software)) &&
		(len(want.Kinds) == 0 || slices.Contains(want.Kinds, s.kind))
}

// wanted names in words what a job asked for.
func wanted(want v1alpha1.Accelerators) string {
	if want.Count == 0 {
		return "the CPU (software cpu)"
	}
	text := "accelerators"
	if len(want.Kinds) > 0 {
		text += " of kind " + strings.Join(want.Kinds, " or ")
	}
	if len(want.Software) > 0 {
		text += " with software " + strings.Join(want.Software, " or ")
	}
	return text
}

// onSomeNode reports whether a node offers the resource.
func onSomeNode(name corev1.ResourceName, nodes []corev1.Node) bool {
	return slices.ContainsFunc(nodes, func(n corev1.Node) bool {
		q, ok := n.Status.Allocatable[name]
		return ok && q.Sign() > 0
	})
}

// referenceShape is an image reference: host, path, tag, digest.
var referenceShape = regexp.MustCompile(`^([A-Za-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$`)

// reference completes an image reference: without a registry host it means the
// cloud's own registry, and digest, if any, pins it.
func reference(image, digest string) string {
	first, _, path := strings.Cut(image, "/")
	if !path || !strings.ContainsAny(first, ".:") && first != "localhost" {
		image = v1alpha1.RegistryHost + "/" + image
	}
	if digest != "" && !strings.Contains(image, "@") {
		image += "@" + digest
	}
	return image
}

// digestOf returns the digest in an image reference or image id, or "".
func digestOf(image string) string {
	if i := strings.LastIndex(image, "sha256:"); i >= 0 && len(image)-i == len("sha256:")+64 {
		return image[i:]
	}
	return ""
}
