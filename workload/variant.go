package workload

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
)

// Supply is what the cluster has of devices: those that drivers publish, and those
// of them that are taken.
type Supply struct {
	Offers []claim.Offer
	Taken  map[claim.ID]*resourcev1.ResourceClaim
	Claims []resourcev1.ResourceClaim
	// Sandbox is the RuntimeClass of the work's pods, unless a variant says otherwise.
	Sandbox string
	// Faster reports whether work like this was measured to be faster with one software
	// than with another; nil: nothing was measured.
	Faster func(a, b string) bool
}

// SupplyOf is what drivers publish on nodes that are there. A node that is removed is
// outlived by its slices for a moment, and work that was given its devices then would wait
// for them for good.
func SupplyOf(published []resourcev1.ResourceSlice, rules []resourcev1.DeviceTaintRule, claims []resourcev1.ResourceClaim, nodes []corev1.Node) Supply {
	there := map[string]bool{"": true} // devices of no one node
	for i := range nodes {
		there[nodes[i].Name] = true
	}
	offers := slices.DeleteFunc(claim.Offers(published, rules), func(o claim.Offer) bool { return !there[o.Node] })
	return Supply{Offers: offers, Taken: claim.Taken(claims), Claims: claims}
}

// Choice is how the workers of a job, or the replicas of a service, get their devices.
type Choice struct {
	Variant v1alpha1.RuntimeVariant
	// Claim asks for the devices of the variant's software; nil when there are none
	// to ask for, or a node offers them as an extended resource, as device plugins
	// did before there were claims.
	Claim *device.Requirement
}

// Choose picks the variant of rt that a worker with these accelerators runs: the
// cpu variant for none. Otherwise the first, in the order of the software and kinds
// asked for, whose devices are free for all workers now, unless jobs like this were
// measured to be faster with another of these; if none is free, the first whose
// devices the cluster has, so that the job waits for devices of a definite kind.
func Choose(rt *v1alpha1.Runtime, want v1alpha1.Accelerators, workers int32, nodes []corev1.Node, s *Supply) (Choice, error) {
	fit := Fitting(rt, want)
	if len(fit) == 0 {
		var have []string
		for _, v := range rt.Spec.Variants {
			have = append(have, v.Software)
		}
		return Choice{}, fmt.Errorf("runtime %q has no variant for %s; it has %s: change spec.accelerators or spec.runtime",
			rt.Name, wanted(want), strings.Join(have, ", "))
	}
	if want.Count == 0 {
		return Choice{Variant: fit[0]}, nil
	}
	var possible []Choice
	var best *Choice
	var why, remedy string
	for _, v := range fit {
		r := claim.Of(want)
		r.Software, r.Sandbox = []string{v.Software}, cmp.Or(v.Sandbox, s.Sandbox)
		if s.free(r) >= int(workers) {
			if best == nil || s.Faster != nil && s.Faster(v.Software, best.Variant.Software) {
				best = &Choice{v, &r}
			}
			continue
		}
		if best != nil {
			continue
		}
		impossible := claim.Impossible(r, s.Offers)
		switch {
		case impossible == "":
			possible = append(possible, Choice{v, &r})
		case why == "":
			why, remedy = impossible, "ask for less in spec.accelerators, or add such a node"
			if r.Sandbox = ""; claim.Impossible(r, s.Offers) == "" {
				remedy = "have an administrator label the namespace polder.dev/sandbox=" + device.SandboxNone
			}
		}
		if stack, ok := StackOf(v.Software); ok && unservable(want) == nil && stack.OnSome(nodes) {
			return Choice{Variant: v}, nil
		}
	}
	if best != nil {
		return *best, nil
	}
	if len(possible) > 0 {
		return possible[0], nil
	}
	if len(s.Offers) == 0 { // no driver publishes: the device plugins may be still to come
		if err := unservable(want); err != nil {
			return Choice{}, err
		}
		return Choice{Variant: fit[0]}, nil
	}
	return Choice{}, fmt.Errorf("%s: %s", why, remedy)
}

// free is how many workers could be given their devices now. A claim has a device
// once, also one that many claims may share.
func (s *Supply) free(r device.Requirement) int {
	type place struct{ node, fabric string }
	type room struct{ own, shared int }
	have := map[place]room{}
	available := claim.Available(s.Offers, s.Taken)
	for node, offers := range claim.Fit(r, s.Offers) {
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

// Fitting are the variants that serve what is wanted, best first.
func Fitting(rt *v1alpha1.Runtime, want v1alpha1.Accelerators) []v1alpha1.RuntimeVariant {
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
	if software == SoftwareCPU {
		return string(device.CPU)
	}
	if s, ok := StackOf(software); ok {
		return s.Kind
	}
	return ""
}

// willDo reports whether a variant for software serves what is wanted. A stack whose
// kind is not known may serve: its devices' drivers know.
func willDo(software string, want v1alpha1.Accelerators) bool {
	if want.Count == 0 {
		return software == SoftwareCPU
	}
	if len(want.Software) > 0 && !slices.Contains(want.Software, software) || !claim.Known(software) {
		return false
	}
	kind := kindOf(software)
	if len(want.Kinds) == 0 {
		return software != SoftwareCPU
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

// unservable names the wishes about accelerators that an extended resource cannot
// carry; a claim can. Refusing is better than running on the wrong device.
func unservable(want v1alpha1.Accelerators) error {
	var fields []string
	if want.Memory != nil {
		fields = append(fields, "memory")
	}
	if want.Precision != "" {
		fields = append(fields, "precision")
	}
	if want.SameFabric {
		fields = append(fields, "sameFabric")
	}
	if want.Share {
		fields = append(fields, "share")
	}
	if len(fields) == 0 || want.Count == 0 {
		return nil
	}
	return fmt.Errorf("spec.accelerators.%s cannot be promised by this cloud, where no driver publishes devices: leave it out, and choose by kinds and software", strings.Join(fields, ", spec.accelerators."))
}

// Resources of one worker or replica. Memory and accelerators are limited to what is
// requested; processor time is a guaranteed share that may be exceeded while others leave
// it idle, because a limit would hold up a sandbox's own work with the program's.
func Resources(want v1alpha1.WorkerResources, accelerators int32, c Choice) corev1.ResourceRequirements {
	cpu, memory := want.CPU, want.Memory
	if cpu.IsZero() {
		cpu = resource.MustParse("500m")
	}
	if memory.IsZero() {
		memory = resource.MustParse("1Gi")
	}
	list := corev1.ResourceList{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory}
	if accelerators > 0 && c.Claim == nil {
		if s, ok := StackOf(c.Variant.Software); ok {
			list[s.Resource] = *resource.NewQuantity(int64(accelerators), resource.DecimalSI)
		}
	}
	limits := list.DeepCopy()
	delete(limits, corev1.ResourceCPU)
	out := corev1.ResourceRequirements{Requests: list, Limits: limits}
	if c.Claim != nil {
		out.Claims = []corev1.ResourceClaim{{Name: claim.Request}}
	}
	return out
}

// Threads that the arithmetic of a worker or replica should use: its cores, rounded up,
// whatever the machine has.
func Threads(want v1alpha1.WorkerResources) int64 {
	cpu := Resources(want, 0, Choice{}).Requests[corev1.ResourceCPU]
	return max(cpu.Value(), 1)
}
