package claim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// ours is an offer of our driver.
func ours(node string, d device.Device) Offer {
	if d.Form == "" {
		d.Form = device.Whole
	}
	p := profile.Publish(&d)
	return Offer{Driver: profile.Domain, Pool: node, Node: node, Device: &p}
}

func h100(name string) device.Device {
	return device.Device{Name: name, Kind: device.GPU, Vendor: "nvidia", Product: "H100 SXM5 80GB", UUID: name, Software: "cuda",
		Memory: 80e9, FLOPS: map[device.Precision]int64{device.BF16: 989e12}, Fabric: &device.Fabric{Type: "nvlink", Domain: "d"}}
}

func npu(name string) device.Device {
	return device.Device{Name: name, Kind: device.NPU, Vendor: "huawei", Product: "Ascend 910B2", UUID: name, Software: "cann", Memory: 64 << 30}
}

func cpu(name string) device.Device {
	return device.Device{Name: name, Kind: device.CPU, Vendor: "amd", Product: "EPYC", UUID: name, Software: "cpu", Memory: 16 << 30}
}

// foreign is a device of somebody else's driver: attributes "a=b", versions
// "a~1.0.0", bools "a!", capacities "a:1Gi".
func foreign(driver string, says ...string) Offer {
	d := &resourcev1.Device{Name: "x", Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{}, Capacity: map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{}}
	for _, s := range says {
		if k, v, ok := strings.Cut(s, "="); ok {
			d.Attributes[resourcev1.QualifiedName(k)] = resourcev1.DeviceAttribute{StringValue: &v}
		} else if k, v, ok := strings.Cut(s, "~"); ok {
			d.Attributes[resourcev1.QualifiedName(k)] = resourcev1.DeviceAttribute{VersionValue: &v}
		} else if k, v, ok := strings.Cut(s, ":"); ok {
			d.Capacity[resourcev1.QualifiedName(k)] = resourcev1.DeviceCapacity{Value: resource.MustParse(v)}
		} else {
			yes := true
			d.Attributes[resourcev1.QualifiedName(strings.TrimSuffix(s, "!"))] = resourcev1.DeviceAttribute{BoolValue: &yes}
		}
	}
	return Offer{Driver: driver, Pool: "n", Node: "n", Device: d}
}

func TestExplain(t *testing.T) {
	ill := h100("g")
	ill.Health = device.Of(device.Fault{Code: "gpu-lost", State: device.Failed})
	part := h100("g")
	part.Form, part.Memory = device.MIG, 10e9
	nvidia := []string{"type=gpu", "productName=NVIDIA H100 80GB HBM3", "cudaComputeCapability~9.0.0", "memory:81559Mi"}
	cases := []struct {
		name  string
		want  device.Requirement
		offer Offer
		fails string // "" fits
	}{
		{"any accelerator", device.Requirement{Count: 1}, ours("n", h100("g")), ""},
		{"a CPU is no accelerator", device.Requirement{Count: 1}, ours("n", cpu("c")), "kind"},
		{"a CPU when asked for", device.Requirement{Count: 1, Kinds: []device.Kind{device.GPU, device.CPU}}, ours("n", cpu("c")), ""},
		{"enough memory", device.Requirement{Count: 1, Memory: 60 << 30}, ours("n", h100("g")), ""},
		{"too little memory", device.Requirement{Count: 1, Memory: 200 << 30}, ours("n", h100("g")), "memory"},
		{"memory not known", device.Requirement{Count: 1, Memory: 1}, ours("n", device.Device{Kind: device.GPU}), "memory"},
		{"precision", device.Requirement{Count: 1, Precision: device.BF16}, ours("n", h100("g")), ""},
		{"precision not known", device.Requirement{Count: 1, Precision: device.FP8}, ours("n", npu("g")), "precision"},
		{"software", device.Requirement{Count: 1, Software: []string{"cann"}}, ours("n", h100("g")), "software"},
		{"a part is no whole", device.Requirement{Count: 1}, ours("n", part), "form"},
		{"a part when asked for", device.Requirement{Count: 1, Share: true}, ours("n", part), ""},
		{"fabric", device.Requirement{Count: 2, SameFabric: true}, ours("n", h100("g")), ""},
		{"no fabric", device.Requirement{Count: 2, SameFabric: true}, ours("n", npu("g")), "fabric"},
		{"one device needs no fabric", device.Requirement{Count: 1, SameFabric: true}, ours("n", npu("g")), ""},
		{"ill", device.Requirement{Count: 1}, ours("n", ill), "health"},
		{"a driver nobody knows", device.Requirement{Count: 1}, foreign("gpu.example.com"), "driver"},
		{"NVIDIA's own driver", device.Requirement{Count: 1, Kinds: []device.Kind{device.GPU}, Memory: 60 << 30, Precision: device.FP8}, foreign("gpu.nvidia.com", nvidia...), ""},
		{"NVIDIA's own driver, old card", device.Requirement{Count: 1, Precision: device.BF16}, foreign("gpu.nvidia.com", "type=gpu", "cudaComputeCapability~7.0.0"), "precision"},
		{"NVIDIA's own driver, fully qualified", device.Requirement{Count: 1}, foreign("gpu.nvidia.com", "gpu.nvidia.com/type=gpu"), ""},
		{"NVIDIA's own driver, MIG", device.Requirement{Count: 1}, foreign("gpu.nvidia.com", "type=mig"), "form"},
		{"Gaudi ill", device.Requirement{Count: 1}, foreign("gaudi.intel.com", "model=Gaudi2"), "healthy"},
		{"Gaudi memory by product", device.Requirement{Count: 1, Memory: 64 << 30}, foreign("gaudi.intel.com", "model=Gaudi2", "healthy!"), ""},
		{"TPU memory by product, too little", device.Requirement{Count: 1, Memory: 64 << 30}, foreign("tpu.google.com", "tpuGen=v5e"), "memory"},
		{"TPU memory by product", device.Requirement{Count: 1, Memory: 64 << 30}, foreign("tpu.google.com", "tpuGen=v5p"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := Explain(c.want, c.offer)
			if v.Fits != (c.fails == "") {
				t.Fatalf("fits is %v: %+v", v.Fits, v.Checks)
			}
			for _, x := range v.Checks {
				if !x.OK && x.What != c.fails {
					t.Errorf("%s fails, too: %+v", x.What, x)
				}
			}
		})
	}
}

func TestCompile(t *testing.T) {
	one, err := Compile(device.Requirement{Count: 2, Memory: 60 << 30, Precision: device.BF16})
	if err != nil {
		t.Fatal(err)
	}
	e := one.Requests[0].Exactly
	if e == nil || e.Count != 2 || !strings.Contains(e.Selectors[0].CEL.Expression, `quantity("60Gi")`) {
		t.Errorf("the claim is %+v", one)
	}
	two, err := Compile(device.Requirement{Count: 8, Software: []string{"cann", "cuda"}, SameFabric: true})
	if err != nil {
		t.Fatal(err)
	}
	first := two.Requests[0].FirstAvailable
	if len(first) != 2 || first[0].Name != "cann-0" || first[1].Name != "cuda-1" || len(two.Constraints) != 2 {
		t.Errorf("the claim is %+v", two)
	}
	if c := two.Constraints[0]; *c.MatchAttribute != "accelerator.polder.dev/fabricDomain" || c.Requests[0] != "accelerators/cann-0" {
		t.Errorf("the constraint is %+v", c)
	}
}

func TestValidate(t *testing.T) {
	for field, r := range map[string]device.Requirement{
		"accelerators.count":       {Count: 33},
		"accelerators.kinds[1]":    {Count: 1, Kinds: []device.Kind{"gpu", "gpus"}},
		"accelerators.precision":   {Count: 1, Precision: "bf17"},
		"accelerators.software[0]": {Count: 1, Software: []string{`cuda" || true || "`}},
		"accelerators.software":    {Count: 1, Software: slices.Repeat([]string{"cuda"}, 9)},
		"accelerators.memory":      {Count: 1, Memory: -1},
	} {
		if _, err := Compile(r); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestImpossible(t *testing.T) {
	var offers []Offer
	for i := range 4 {
		offers = append(offers, ours("a", h100(fmt.Sprint("g", i))))
	}
	offers = append(offers, ours("b", npu("g")), ours("c", cpu("c")))
	for _, c := range []struct {
		r    device.Requirement
		want string
	}{
		{device.Requirement{Count: 4}, ""},
		{device.Requirement{Count: 1, Memory: 200 << 30}, "no product in this cluster has 200 GiB of memory; the nearest is H100 SXM5 80GB on node a, with 74.5 GiB"},
		{device.Requirement{Count: 1, Sandbox: "runc"}, ""},
		{device.Requirement{Count: 1, Sandbox: "gvisor", Kinds: []device.Kind{device.CPU}}, ""},
		{device.Requirement{Count: 1, Sandbox: "gvisor"}, "no device of this cluster that would do works in the sandbox gvisor; the nearest is H100 SXM5 80GB on node a, which works in runc"},
		{device.Requirement{Count: 8}, "no node has 8 such devices; node a has the most, 4"},
		{device.Requirement{Count: 1, Kinds: []device.Kind{device.TPU}}, "no device of this cluster has kind tpu; the nearest is"},
		{device.Requirement{Count: 1, Kinds: []device.Kind{device.CPU}}, ""},
		{device.Requirement{Count: 2, Kinds: []device.Kind{device.CPU}}, "no node has 2 such devices; node c has the most, 1"},
	} {
		got := Impossible(c.r, offers)
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, not %q", c.r, got, c.want)
		}
	}
	if got := Impossible(device.Requirement{Count: 1}, nil); !strings.Contains(got, "no driver") {
		t.Errorf("of no devices: %q", got)
	}
}

func TestOffersLeaveOutPoolsInTheMaking(t *testing.T) {
	node := "n"
	slice := func(generation, count int64, names ...string) resourcev1.ResourceSlice {
		s := resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{Driver: "d", NodeName: &node,
			Pool: resourcev1.ResourcePool{Name: "p", Generation: generation, ResourceSliceCount: count}}}
		for _, n := range names {
			s.Spec.Devices = append(s.Spec.Devices, resourcev1.Device{Name: n})
		}
		return s
	}
	if got := Offers([]resourcev1.ResourceSlice{slice(1, 1, "old"), slice(2, 2, "new")}, nil); len(got) != 0 {
		t.Errorf("a pool with one of two slices offers %d devices", len(got))
	}
	got := Offers([]resourcev1.ResourceSlice{slice(1, 1, "old"), slice(2, 2, "a"), slice(2, 2, "b")}, nil)
	if len(got) != 2 || got[0].Device.Name != "a" || got[0].Node != "n" {
		t.Errorf("offers are %+v", got)
	}
}

func TestDrivers(t *testing.T) {
	all, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Evidence == "" || d.Kind == "" && d.KindIn == "" || d.Software == "" && d.StackIn == "" {
			t.Errorf("%s lacks evidence, kind or software", d.Name)
		}
		if d.KindIn == "" && d.Vendor == "" {
			t.Errorf("%s names no vendor to look products up of", d.Name)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	r := device.Requirement{Count: 2, Kinds: []device.Kind{device.GPU, device.NPU}, Memory: 60 << 30, Precision: device.BF16}
	for b.Loop() {
		if _, err := Compile(r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEither has drivers of which none keeps to the standard, as there would be if
// one of them had a fabric.
func TestEither(t *testing.T) {
	const by = `device.attributes["accelerator.polder.dev"].?profileVersion.hasValue()`
	for want, got := range map[string]string{
		by + " && (a)":           either("(a)", ""),
		"!" + by + " && (\n(b))": either("", "(b)"),
		by + " ?\n(a) :\n((b))":  either("(a)", "(b)"),
	} {
		if got != want {
			t.Errorf("%s\nis not\n%s", got, want)
		}
	}
}
