package train

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// supply is what the cluster has of devices: those that drivers publish, and those
// of them that are taken.
type supply struct {
	offers []claim.Offer
	taken  map[claim.ID]*resourcev1.ResourceClaim
	claims []resourcev1.ResourceClaim
	// sandbox is the RuntimeClass of the job's pods, unless a variant says otherwise.
	sandbox string
	// speeds of jobs like this one, as far as they were measured.
	speeds speeds
}

// choice is how a job's workers get their devices.
type choice struct {
	variant v1alpha1.RuntimeVariant
	// claim asks for the devices of the variant's software; nil when there are none
	// to ask for, or a node offers them as an extended resource, as device plugins
	// did before there were claims.
	claim *device.Requirement
}

// choose picks the variant of rt that a worker with these accelerators runs: the
// cpu variant for none. Otherwise the first, in the order of the software and kinds
// asked for, whose devices are free for all workers now, unless jobs like this were
// measured to be faster with another of these; if none is free, the first whose
// devices the cluster has, so that the job waits for devices of a definite kind.
func choose(rt *v1alpha1.Runtime, want v1alpha1.Accelerators, workers int32, nodes []corev1.Node, s *supply) (choice, error) {
	fit := fitting(rt, want)
	if len(fit) == 0 {
		var have []string
		for _, v := range rt.Spec.Variants {
			have = append(have, v.Software)
		}
		return choice{}, fmt.Errorf("runtime %q has no variant for %s; it has %s: change spec.accelerators or spec.runtime",
			rt.Name, wanted(want), strings.Join(have, ", "))
	}
	if want.Count == 0 {
		return choice{variant: fit[0]}, nil
	}
	var possible []choice
	var best *choice
	var why, remedy string
	for _, v := range fit {
		r := claim.Of(want)
		r.Software, r.Sandbox = []string{v.Software}, cmp.Or(v.Sandbox, s.sandbox)
		if s.free(r) >= int(workers) {
			if best == nil || s.speeds.faster(v.Software, best.variant.Software) {
				best = &choice{v, &r}
			}
			continue
		}
		if best != nil {
			continue
		}
		impossible := claim.Impossible(r, s.offers)
		switch {
		case impossible == "":
			possible = append(possible, choice{v, &r})
		case why == "":
			why, remedy = impossible, "ask for less in spec.accelerators, or add such a node"
			if r.Sandbox = ""; claim.Impossible(r, s.offers) == "" {
				remedy = "have an administrator label the namespace polder.dev/sandbox=" + device.SandboxNone
			}
		}
		if stack, ok := workload.StackOf(v.Software); ok && unservable(want) == nil && stack.OnSome(nodes) {
			return choice{variant: v}, nil
		}
	}
	if best != nil {
		return *best, nil
	}
	if len(possible) > 0 {
		return possible[0], nil
	}
	if len(s.offers) == 0 { // no driver publishes: the device plugins may be still to come
		if err := unservable(want); err != nil {
			return choice{}, err
		}
		return choice{variant: fit[0]}, nil
	}
	return choice{}, fmt.Errorf("%s: %s", why, remedy)
}

// free is how many workers could be given their devices now. A claim has a device
// once, also one that many claims may share.
func (s *supply) free(r device.Requirement) int {
	type place struct{ node, fabric string }
	type room struct{ own, shared int }
	have := map[place]room{}
	available := claim.Available(s.offers, s.taken)
	for node, offers := range claim.Fit(r, s.offers) {
		for _, o := range offers {
			p := place{node: node}
			if r.SameFabric && r.Count > 1 {
				p.fabric = o.Fabric()
			}
			n := have[p]
			switch {
			case o.Shared():
				n.shared++
			case available[o.ID()]:
				n.own++
			}
			have[p] = n
		}
	}
	n := 0
	for _, h := range have {
		need := r.Count - h.shared
		if need <= 0 {
			return math.MaxInt32 // as many as there is other room for
		}
		n += h.own / need
	}
	return n
}

// fitting are the variants that serve what is wanted, best first.
func fitting(rt *v1alpha1.Runtime, want v1alpha1.Accelerators) []v1alpha1.RuntimeVariant {
	var fit []v1alpha1.RuntimeVariant
	for _, v := range rt.Spec.Variants {
		if willDo(v.Software, want) {
			fit = append(fit, v)
		}
	}
	rank := func(v v1alpha1.RuntimeVariant) (software, kind int) {
		if i := slices.Index(want.Software, v.Software); i >= 0 {
			software = i
		}
		if i := slices.Index(want.Kinds, kindOf(v.Software)); i >= 0 {
			kind = i
		}
		return software, kind
	}
	slices.SortStableFunc(fit, func(a, b v1alpha1.RuntimeVariant) int {
		as, ak := rank(a)
		bs, bk := rank(b)
		return cmp.Or(cmp.Compare(as, bs), cmp.Compare(ak, bk))
	})
	return fit
}

// kindOf is the kind of device that a software stack is for; "" if it is not known.
func kindOf(software string) string {
	if software == workload.SoftwareCPU {
		return string(device.CPU)
	}
	if s, ok := workload.StackOf(software); ok {
		return s.Kind
	}
	return ""
}

// willDo reports whether a variant for software serves what is wanted. A stack whose
// kind is not known may serve: its devices' drivers know.
func willDo(software string, want v1alpha1.Accelerators) bool {
	if want.Count == 0 {
		return software == workload.SoftwareCPU
	}
	if len(want.Software) > 0 && !slices.Contains(want.Software, software) || !claim.Known(software) {
		return false
	}
	kind := kindOf(software)
	if len(want.Kinds) == 0 {
		return software != workload.SoftwareCPU
	}
	return kind == "" || slices.Contains(want.Kinds, kind)
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
