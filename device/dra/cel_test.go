package dra

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/dynamic-resource-allocation/cel"

	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
)

// scheduler judges devices by claims as Kubernetes' scheduler does: by their CEL, in
// Kubernetes' own evaluation, and by their constraints as far as one device can break
// them.
type scheduler struct {
	features cel.Features
	compiled map[string]cel.CompilationResult
}

func newScheduler(features cel.Features) *scheduler {
	return &scheduler{features: features, compiled: map[string]cel.CompilationResult{}}
}

// compile also holds an expression to the limits of the API.
func (s *scheduler) compile(t *testing.T, expression string) cel.CompilationResult {
	t.Helper()
	if c, ok := s.compiled[expression]; ok {
		return c
	}
	c := cel.GetCompiler(s.features).CompileCELExpression(expression, cel.Options{EnvType: new(environment.NewExpressions)})
	if c.Error != nil {
		t.Fatalf("%v\n%s", c.Error, expression)
	}
	if c.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
		t.Fatalf("the cost is up to %d, of %d that the API allows:\n%s", c.MaxCost, resourcev1.CELSelectorExpressionMaxCost, expression)
	}
	if len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		t.Errorf("the expression has %d characters, of %d that the API allows", len(expression), resourcev1.CELSelectorExpressionMaxLength)
	}
	s.compiled[expression] = c
	return c
}

func (s *scheduler) selects(t *testing.T, selectors []resourcev1.DeviceSelector, o *claim.Offer) bool {
	t.Helper()
	in := cel.Device{Driver: o.Driver, AllowMultipleAllocations: o.Device.AllowMultipleAllocations, Attributes: o.Device.Attributes, Capacity: o.Device.Capacity}
	for _, one := range selectors {
		c := s.compile(t, one.CEL.Expression)
		ok, _, err := c.DeviceMatches(t.Context(), in)
		if err != nil {
			t.Fatalf("the scheduler would give the pod up: %v\nfor the device %s\nof\n%s", err, show(o), one.CEL.Expression)
		}
		if !ok {
			return false
		}
	}
	return true
}

// fits reports whether a claim could be given the device, by any of its alternatives.
func (s *scheduler) fits(t *testing.T, c *resourcev1.DeviceClaim, o *claim.Offer) bool {
	t.Helper()
	request := c.Requests[0]
	if request.Exactly != nil {
		return s.selects(t, request.Exactly.Selectors, o)
	}
	for _, sub := range request.FirstAvailable {
		of := request.Name + "/" + sub.Name
		broken := slices.ContainsFunc(c.Constraints, func(d resourcev1.DeviceConstraint) bool {
			return slices.Contains(d.Requests, of) && !has(o, string(*d.MatchAttribute))
		})
		if !broken && s.selects(t, sub.Selectors, o) {
			return true
		}
	}
	return false
}

// has reports whether a device has an attribute, as the scheduler looks it up.
func has(o *claim.Offer, attribute string) bool {
	_, ok := o.Device.Attributes[resourcev1.QualifiedName(attribute)]
	if domain, n, _ := strings.Cut(attribute, "/"); !ok && domain == o.Driver {
		_, ok = o.Device.Attributes[resourcev1.QualifiedName(n)]
	}
	return ok
}

// explained is the verdict of Explain but for health, which is told by taints and
// which no selector sees.
func explained(v claim.Verdict) bool {
	return !slices.ContainsFunc(v.Checks, func(c claim.Check) bool { return !c.OK && c.What != "health" })
}

// agree holds the compiled requirement against its explanation for all of offers. It
// returns how many fit.
func (s *scheduler) agree(t *testing.T, r device.Requirement, offers []claim.Offer) int {
	t.Helper()
	compiled, err := claim.Compile(r)
	n := 0
	for i := range offers {
		o := &offers[i]
		v := claim.Explain(r, *o)
		want := explained(v)
		got := err == nil && s.fits(t, &compiled, o)
		if got != want {
			t.Fatalf("%+v: the scheduler says %v (%v), the explanation %v\nfor the device %s\nwith the checks %+v", r, got, err, want, show(o), v.Checks)
		}
		if got {
			n++
		}
	}
	return n
}

func show(o *claim.Offer) string {
	var says []string
	for k, a := range o.Device.Attributes {
		says = append(says, fmt.Sprintf("%s=%s", k, strings.TrimSpace(a.String())))
	}
	for k, c := range o.Device.Capacity {
		says = append(says, fmt.Sprintf("%s=%s", k, c.Value.String()))
	}
	slices.Sort(says)
	return o.Driver + ": " + strings.Join(says, "\n\t")
}

// requirements are all combinations of what can be asked, with few values of each.
func requirements() []device.Requirement {
	var out []device.Requirement
	for _, kinds := range [][]device.Kind{nil, {device.NPU, device.TPU}, device.Kinds()} {
		for _, memory := range []int64{0, 64 << 30} {
			for _, precision := range []device.Precision{"", device.BF16} {
				for _, software := range [][]string{nil, {"cuda"}, {"cann", "rocm"}, {"xla", "hpu", "neuron", "cpu"}} {
					for _, more := range []device.Requirement{{Count: 1}, {Count: 1, Share: true}, {Count: 2, SameFabric: true}, {Count: 1, Sandbox: "gvisor"}} {
						more.Kinds, more.Memory, more.Precision, more.Software = kinds, memory, precision, software
						out = append(out, more)
					}
				}
			}
		}
	}
	return out
}

func TestCELAgreesWithTheExplanation(t *testing.T) {
	for name, features := range map[string]cel.Features{"of 1.34": {}, "with all gates": {EnableConsumableCapacity: true, EnableListTypeAttributes: true}} {
		t.Run(name, func(t *testing.T) {
			s := newScheduler(features)
			offers := slices.Concat(published(t), foreign(features.EnableListTypeAttributes))
			fit, all := 0, 0
			for i, r := range requirements() { // a quarter of the devices each, another one with the next
				var some []claim.Offer
				for j := i % 4; j < len(offers); j += 4 {
					some = append(some, offers[j])
				}
				fit += s.agree(t, r, some)
				all += len(some)
			}
			t.Logf("%d of %d pairs of %d devices fit, by %d expressions", fit, all, len(offers), len(s.compiled))
			if fit == 0 || fit == all {
				t.Errorf("%d of %d pairs fit; the devices prove nothing", fit, all)
			}
		})
	}
}

// TestCELTellsDevicesApart has the verdicts written out, so that the two cannot be
// wrong together.
func TestCELTellsDevicesApart(t *testing.T) {
	s := newScheduler(cel.Features{})
	for _, c := range []struct {
		name  string
		r     device.Requirement
		offer claim.Offer
		want  bool
	}{
		{"ours", device.Requirement{Memory: 60 << 30, Precision: device.BF16}, ours("nvidia", "H100 SXM5 80GB"), true},
		{"ours, too small", device.Requirement{Memory: 81 << 30}, ours("nvidia", "H100 SXM5 80GB"), false},
		{"ours, of another stack", device.Requirement{Software: []string{"rocm"}}, ours("nvidia", "H100 SXM5 80GB"), false},
		{"ours, by the second alternative", device.Requirement{Software: []string{"rocm", "cuda"}}, ours("nvidia", "H100 SXM5 80GB"), true},
		{"NVIDIA's", device.Requirement{Memory: 60 << 30, Precision: device.FP8}, says("gpu.nvidia.com", "type", "gpu", "cudaComputeCapability", ver("9.0.0"), "memory", amount("80Gi")), true},
		{"NVIDIA's, not so new", device.Requirement{Precision: device.FP8}, says("gpu.nvidia.com", "type", "gpu", "cudaComputeCapability", ver("8.0.0")), false},
		{"NVIDIA's, with a string for a version", device.Requirement{Precision: device.FP8}, says("gpu.nvidia.com", "type", "gpu", "cudaComputeCapability", "9.0.0"), false},
		{"NVIDIA's, that says nothing", device.Requirement{Precision: device.FP8, Memory: 1}, says("gpu.nvidia.com"), false},
		{"Gaudi", device.Requirement{Memory: 64 << 30}, says("gaudi.intel.com", "model", "Gaudi2", "healthy", true), true},
		{"Gaudi, ill", device.Requirement{Memory: 64 << 30}, says("gaudi.intel.com", "model", "Gaudi2", "healthy", false), false},
		{"a TPU", device.Requirement{Memory: 64 << 30}, says("tpu.google.com", "tpuGen", "v5p"), true},
		{"a TPU, too small", device.Requirement{Memory: 64 << 30}, says("tpu.google.com", "tpuGen", "v5e"), false},
		{"a part of AMD's", device.Requirement{}, says("gpu.amd.com", "type", "amdgpu-partition"), false},
		{"a part of AMD's that will do", device.Requirement{Share: true}, says("gpu.amd.com", "type", "amdgpu-partition"), true},
		{"another's by the standard", device.Requirement{}, says("gpu.example.com", "accelerator.polder.dev/profileVersion", ver("1.0.0"),
			"accelerator.polder.dev/kind", "gpu", "accelerator.polder.dev/form", "pf"), true},
		{"another's that only looks like the standard", device.Requirement{}, says("gpu.example.com", "profileVersion", ver("1.0.0"), "kind", "gpu", "form", "pf"), false},
		{"the standard holds where both are told", device.Requirement{}, says("gpu.nvidia.com", "type", "gpu", "accelerator.polder.dev/profileVersion", ver("1.0.0"),
			"accelerator.polder.dev/kind", "fpga", "accelerator.polder.dev/form", "pf"), false},
		{"a processor in a sandbox", device.Requirement{Kinds: []device.Kind{device.CPU}, Sandbox: "gvisor"},
			says("accelerator.polder.dev", "profileVersion", ver("1.0.0"), "kind", "cpu", "form", "pf", "sandbox", "runc gvisor"), true},
		{"ours, in a sandbox", device.Requirement{Sandbox: "gvisor"}, ours("nvidia", "H100 SXM5 80GB"), false},
		{"ours, in none", device.Requirement{Sandbox: "runc"}, ours("nvidia", "H100 SXM5 80GB"), true},
		{"NVIDIA's, in a sandbox", device.Requirement{Sandbox: "kata"}, says("gpu.nvidia.com", "type", "gpu"), false},
		{"NVIDIA's, in none", device.Requirement{Sandbox: "runc"}, says("gpu.nvidia.com", "type", "gpu"), true},
		{"precisions that are no text", device.Requirement{Precision: device.BF16}, says("accelerator.polder.dev", "profileVersion", ver("1.0.0"), "kind", "gpu", "form", "pf", "precisions", 16), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Count = 1
			if n := s.agree(t, c.r, []claim.Offer{c.offer}); n == 1 != c.want {
				t.Errorf("fits is %v", n == 1)
			}
		})
	}
}

func TestCELAgreesAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := newScheduler(cel.Features{EnableConsumableCapacity: true, EnableListTypeAttributes: true})
	for range 150 {
		var offers []claim.Offer
		for range 40 {
			offers = append(offers, garbled(r))
		}
		s.agree(t, asked(r), offers)
	}
}

// TestLargestRequirementsAreWithinTheLimits compiles those that need the longest
// expressions: nothing is ruled out, so all drivers and all products are named.
func TestLargestRequirementsAreWithinTheLimits(t *testing.T) {
	s := newScheduler(cel.Features{EnableConsumableCapacity: true, EnableListTypeAttributes: true})
	length, cost := 0, uint64(0)
	for _, p := range device.Precisions() {
		for _, kinds := range [][]device.Kind{nil, device.Kinds()} {
			for _, memory := range []int64{1, 1 << 30, 123456789012} {
				c, err := claim.Compile(device.Requirement{Count: 1, Kinds: kinds, Memory: memory, Precision: p, Share: true})
				if err != nil {
					t.Errorf("%s: %v", p, err)
					continue
				}
				e := c.Requests[0].Exactly.Selectors[0].CEL.Expression
				length, cost = max(length, len(e)), max(cost, s.compile(t, e).MaxCost)
			}
		}
	}
	t.Logf("at most %d characters of %d, a cost of %d of %d", length, resourcev1.CELSelectorExpressionMaxLength, cost, resourcev1.CELSelectorExpressionMaxCost)
}
