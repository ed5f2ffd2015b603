package train

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

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
		if s, ok := workload.StackOf(v.Software); ok && s.OnSome(nodes) {
			return v, nil
		}
	}
	return fit[0], nil
}

// willDo reports whether a variant for software serves what is wanted.
func willDo(software string, want v1alpha1.Accelerators) bool {
	if want.Count == 0 {
		return software == workload.SoftwareCPU
	}
	s, known := workload.StackOf(software)
	return known &&
		(len(want.Software) == 0 || slices.Contains(want.Software, software)) &&
		(len(want.Kinds) == 0 || slices.Contains(want.Kinds, s.Kind))
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

// referenceShape is an image reference: host, path, tag, digest.
var referenceShape = regexp.MustCompile(`^([A-Za-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$`)

// digestOf returns the digest in an image reference or image id, or "".
func digestOf(image string) string {
	if i := strings.LastIndex(image, "sha256:"); i >= 0 && len(image)-i == len("sha256:")+64 {
		return image[i:]
	}
	return ""
}
