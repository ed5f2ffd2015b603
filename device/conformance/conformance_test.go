package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/profile"
)

// publish is what the driver of a node writes, one slice after the other.
func publish(driver, node string, devices []device.Device, split bool) []resourcev1.ResourceSlice {
	pool := profile.Pool(devices, split)
	out := make([]resourcev1.ResourceSlice, len(pool))
	for i, s := range pool {
		out[i] = resourcev1.ResourceSlice{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%03d-%s-%s", i, driver, node)},
			Spec: resourcev1.ResourceSliceSpec{
				Driver: driver, NodeName: &node, Devices: s.Devices, SharedCounters: s.Counters,
				Pool: resourcev1.ResourcePool{Name: node, Generation: 3, ResourceSliceCount: int64(len(pool))},
			},
		}
	}
	return out
}

// gpu is a device of which a driver of its vendor tells all.
func gpu(i int) device.Device {
	return device.Device{
		Kind: device.GPU, Vendor: "nvidia", Product: "H100 SXM5 80GB", UUID: fmt.Sprintf("GPU-%d", i), Form: device.Whole, Software: "cuda",
		PCI:  &device.Function{Address: fmt.Sprintf("0000:%02x:00.0", i), Vendor: "10de", Device: "2330", Root: "pci0000:00"},
		NUMA: new(i % 2), Memory: 80e9, MemoryBandwidth: 3350e9, FLOPS: map[device.Precision]int64{device.BF16: 989e12, device.FP8: 1979e12},
		Driver: device.Driver{Version: "580.65.06"}, Health: device.Of(), Fabric: &device.Fabric{Type: "nvlink", Domain: "a", Index: new(i), Bandwidth: 900e9},
	}
}

func gpus(n int) []device.Device {
	out := make([]device.Device, n)
	for i := range out {
		out[i] = gpu(i)
	}
	device.Names(out)
	return out
}

// changed are n GPUs after a change.
func changed(n int, change func(*device.Device)) []device.Device {
	out := gpus(n)
	for i := range out {
		change(&out[i])
	}
	device.Names(out)
	return out
}

// divisible are all products of the catalogue that can be split.
func divisible() []device.Device {
	var out []device.Device
	for i, p := range catalogue.All() {
		d := gpu(i)
		d.Kind, d.Vendor, d.Product, d.PCI, d.Fabric, d.Memory, d.FLOPS, d.Software = p.Kind, p.Vendor, p.Name, nil, nil, 0, nil, ""
		catalogue.Fill(&d)
		if d.Memory == 0 {
			d.Memory = 64 << 30 // as its driver would tell
		}
		if len(d.Partitions) > 0 {
			out = append(out, d)
		}
	}
	device.Names(out)
	return out
}

func TestOursConforms(t *testing.T) {
	faults := device.Of(device.Fault{Code: "xid-79", Message: "lost", State: device.Failed}, device.Fault{Code: "ecc", State: device.Degraded}, device.Fault{Code: "unwatched", State: device.Unknown})
	for _, c := range []struct {
		name    string
		devices []device.Device
		split   bool
		least   int // slices
	}{
		{"none", nil, false, 0},
		{"one", gpus(1), false, 1},
		{"more than a slice holds", gpus(200), false, 2},
		{"with faults, more than a slice holds", changed(100, func(d *device.Device) { d.Health = faults }), false, 2},
		{"emulated", changed(8, func(d *device.Device) { d.Emulated = true }), false, 1},
		{"nothing known but what must be", changed(8, func(d *device.Device) {
			*d = device.Device{Kind: device.TPU, Vendor: "google", Product: "TPU v5p", UUID: d.UUID, Form: device.Whole, Software: "xla", Memory: 95 << 30, Driver: device.Driver{Version: "1"}}
		}), false, 1},
		{"CPUs", changed(2, func(d *device.Device) {
			*d = device.Device{Kind: device.CPU, Vendor: "intel", Product: "Xeon Platinum 8480+", UUID: d.UUID, Form: device.Whole, Software: "cpu", Memory: 512 << 30, Features: []string{"amx_bf16"}}
		}), false, 1},
		{"whole, although they can be split", divisible(), false, 1},
		{"whole and in parts", divisible(), true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			published := publish(profile.Domain, "n", c.devices, c.split)
			if len(published) < c.least {
				t.Fatalf("%d slices, at least %d were to be judged", len(published), c.least)
			}
			count := 0
			for _, s := range published {
				count += len(s.Spec.Devices)
			}
			slices.Reverse(published) // nobody promises an order
			for _, r := range Check(published) {
				if !r.Conforms || r.Devices != count || r.Driver != profile.Domain || r.Profile != profile.Version {
					t.Errorf("the report on %d devices is %+v", count, r)
				}
				if got := broken(r); len(got) > 0 {
					t.Errorf("rules are broken: %v", got)
				}
			}
		})
	}
}

// broken lists what is wrong, by rule.
func broken(r Report) map[string][]string {
	out := map[string][]string{}
	for _, x := range r.Results {
		if !x.OK {
			out[x.Rule] = x.Failures
		}
	}
	return out
}

// breakings break one rule each. They are given four GPUs, a part of the first and a
// CPU, in two slices behind one of counters.
var breakings = []struct {
	rule, name string
	do         func(s []resourcev1.ResourceSlice)
	want       string // what is said of it
}{
	{"AP-01", "a slice is missing", func(s []resourcev1.ResourceSlice) { s[2].Spec.Pool.ResourceSliceCount = 4 }, "says there are 4 slices; there are 3"},
	{"AP-01", "a slice is of an older generation", func(s []resourcev1.ResourceSlice) {
		s[1].Spec.Pool.Generation = 2
		s[0].Spec.Pool.ResourceSliceCount, s[2].Spec.Pool.ResourceSliceCount = 2, 2
	}, "is of generation 2, the newest is 3"},
	{"AP-02", "no version", without(profile.AttrVersion), "has no version"},
	{"AP-02", "the version is a string", with(profile.AttrVersion, word("1.0.0")), "has no version"},
	{"AP-02", "another version", with(profile.AttrVersion, resourcev1.DeviceAttribute{VersionValue: new("2.0.0")}), "is of version 2.0.0"},
	{"AP-02", "a version that begins with the same digit", with(profile.AttrVersion, resourcev1.DeviceAttribute{VersionValue: new("10.0.0")}), "is of version 10.0.0"},
	{"AP-03", "no kind", without(profile.AttrKind), `kind is ""`},
	{"AP-03", "a kind nobody knows", with(profile.AttrKind, word("GPU")), `kind is "GPU"`},
	{"AP-03", "a vendor as a trade mark", with(profile.AttrVendor, word("NVIDIA")), `vendor is "NVIDIA"`},
	{"AP-03", "no product", without(profile.AttrProduct), "has no product"},
	{"AP-03", "a form nobody knows", with(profile.AttrForm, word("half")), `form is "half"`},
	{"AP-04", "no UUID", without(profile.AttrUUID), "has no uuid"},
	{"AP-04", "a UUID twice", with(profile.AttrUUID, word("GPU-1")), "has the uuid of gpu-0000-00-00-0"},
	{"AP-16", "no memory", func(s []resourcev1.ResourceSlice) { delete(first(s).Capacity, name(profile.CapMemory)) }, "tells no memory"},
	{"AP-05", "memory in MiB", capacity(profile.CapMemory, "81559"), "has 81559 bytes of memory"},
	{"AP-06", "a zero", capacity(profile.CapMemoryBandwidth, "0"), "memoryBandwidth is 0"},
	{"AP-06", "less than nothing", capacity(profile.CapFabric, "-1"), "fabricBandwidth is -1"},
	{"AP-07", "another name for the address", with("pciAddress", word("0000:3b:00.0")), "pciAddress stands below"},
	{"AP-07", "an address in upper case", with(profile.StdPCIBusID, word("0000:3B:00.0")), `is "0000:3B:00.0"`},
	{"AP-07", "an address that is a number", with(profile.StdPCIBusID, number(3)), "is no string"},
	{"AP-07", "the NUMA node -1", with(profile.StdNUMANode, number(-1)), "is no number from 0 on"},
	{"AP-07", "the NUMA node as text", with(profile.StdNUMANode, word("0")), "is no number from 0 on"},
	{"AP-08", "an attribute for health", with("healthy", resourcev1.DeviceAttribute{BoolValue: new(true)}), "has an attribute healthy"},
	{"AP-09", "a precision nobody knows", with(profile.AttrPrecisions, word("bf16 tf32")), `has the word "tf32"`},
	{"AP-09", "precisions that are no text", with(profile.AttrPrecisions, number(16)), "is no string"},
	{"AP-09", "TFLOPS", capacity(string(device.BF16), "989"), "bf16 is 989; the unit"},
	{"AP-09", "cores of a vendor", capacity("cores", "132"), "cores means something else with every vendor"},
	{"AP-10", "a domain without a type", without(profile.AttrFabric), "has a fabricDomain and no fabricType"},
	{"AP-10", "a domain of two types", with(profile.AttrFabric, word("xgmi")), "fabricDomain a is of type nvlink here and xgmi elsewhere"},
	{"AP-11", "a part without a whole", with(profile.AttrForm, word("mig")), "is a part and has no parent"},
	{"AP-11", "counters that are not there", func(s []resourcev1.ResourceSlice) { s[0].Spec.SharedCounters = nil }, "consumes share of gpu-0000-00-00-0, which there is not"},
	{"AP-11", "a counter that is not there", func(s []resourcev1.ResourceSlice) { delete(s[0].Spec.SharedCounters[0].Counters, "memory") }, "consumes memory of"},
	{"AP-12", "emulated is false", with(profile.AttrEmulated, resourcev1.DeviceAttribute{BoolValue: new(false)}), "is not true"},
	{"AP-12", "one of them is emulated", with(profile.AttrEmulated, resourcev1.DeviceAttribute{BoolValue: new(true)}), "1 of 6 devices are emulated"},
	{"AP-13", "no software", without(profile.AttrSoftware), "names no software"},
	{"AP-14", "another order", func(s []resourcev1.ResourceSlice) { slices.Reverse(s[2].Spec.Devices) }, "not in the order of their names"},
	{"AP-14", "another order of slices", func(s []resourcev1.ResourceSlice) { s[1].Name, s[2].Name = s[2].Name, s[1].Name }, "not in the order of their names"},
	{"AP-15", "no driver", without(profile.AttrDriver), "tells no driverVersion"},
}

// first is the first GPU.
func first(s []resourcev1.ResourceSlice) *resourcev1.Device { return &s[2].Spec.Devices[0] }

func key(n string) resourcev1.QualifiedName {
	if strings.Contains(n, "/") {
		return resourcev1.QualifiedName(n)
	}
	return name(n)
}

func with(n string, a resourcev1.DeviceAttribute) func([]resourcev1.ResourceSlice) {
	return func(s []resourcev1.ResourceSlice) { first(s).Attributes[key(n)] = a }
}

func without(n string) func([]resourcev1.ResourceSlice) {
	return func(s []resourcev1.ResourceSlice) { delete(first(s).Attributes, key(n)) }
}

func capacity(n, q string) func([]resourcev1.ResourceSlice) {
	return func(s []resourcev1.ResourceSlice) {
		first(s).Capacity[key(n)] = resourcev1.DeviceCapacity{Value: resource.MustParse(q)}
	}
}

func word(s string) resourcev1.DeviceAttribute { return resourcev1.DeviceAttribute{StringValue: &s} }

func number(n int64) resourcev1.DeviceAttribute { return resourcev1.DeviceAttribute{IntValue: &n} }

// mixed are the slices that are broken: counters, a CPU, and GPUs with a part.
func mixed() []resourcev1.ResourceSlice {
	devices := gpus(4)
	devices[0].Partitions = []device.Partition{{Profile: "1g.10gb", Count: 1, Memory: 10e9, Share: 143}}
	cpu := device.Device{Name: "cpu-0", Kind: device.CPU, Vendor: "intel", Product: "Xeon", UUID: "cpu", Form: device.Whole, Software: "cpu", Memory: 64 << 30}
	s := publish(profile.Domain, "n", append([]device.Device{cpu}, devices...), true)
	all := s[1]
	s = append(s, *all.DeepCopy())
	s[1].Spec.Devices, s[2].Spec.Devices = s[1].Spec.Devices[:1], s[2].Spec.Devices[1:]
	s[2].Name = "002-" + strings.TrimPrefix(s[1].Name, "001-")
	for i := range s {
		s[i].Spec.Pool.ResourceSliceCount = 3
	}
	return s
}

func TestEachRuleIsBrokenAlone(t *testing.T) {
	if got := broken(Check(mixed())[0]); len(got) > 0 {
		t.Fatalf("what is to be broken is so already: %v", got)
	}
	for _, b := range breakings {
		t.Run(b.rule+" "+b.name, func(t *testing.T) {
			s := mixed()
			b.do(s)
			r := Check(s)[0]
			got := broken(r)
			if len(got) != 1 || len(got[b.rule]) == 0 || !strings.Contains(strings.Join(got[b.rule], "\n"), b.want) {
				t.Errorf("broken are %v; want %s alone, with %q", got, b.rule, b.want)
			}
			if i := slices.IndexFunc(rules, func(x rule) bool { return x.id == b.rule }); r.Conforms != (rules[i].level == should) {
				t.Errorf("conforms is %v, and a rule of level %s is broken", r.Conforms, rules[i].level)
			}
		})
	}
}

func TestAllRulesAreBroken(t *testing.T) {
	var have []string
	for _, b := range breakings {
		have = append(have, b.rule)
	}
	slices.Sort(have)
	if diff := cmp.Diff(Rules(), slices.Compact(have)); diff != "" {
		t.Errorf("rules, and rules that a test breaks:\n%s", diff)
	}
}

func TestEachDriverIsJudgedAlone(t *testing.T) {
	bad := publish("gpu.example.com", "n", gpus(2), false)
	delete(bad[0].Spec.Devices[1].Attributes, name(profile.AttrKind))
	all := slices.Concat(publish("zz.example.com", "n", gpus(3), false), bad, publish(profile.Domain, "m", gpus(2), false), publish(profile.Domain, "n", gpus(2), false))
	type line struct {
		Driver   string
		Devices  int
		Conforms bool
		Broken   map[string][]string
	}
	var got []line
	for _, r := range Check(all) {
		got = append(got, line{r.Driver, r.Devices, r.Conforms, broken(r)})
	}
	want := []line{ // two pools may have the same UUIDs
		{profile.Domain, 4, true, map[string][]string{}},
		{"gpu.example.com", 2, false, map[string][]string{"AP-03": {`n/gpu-0000-01-00-0: kind is ""`}}},
		{"zz.example.com", 3, true, map[string][]string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Check(nil); len(got) != 0 {
		t.Errorf("of no slices there are %d reports", len(got))
	}
}

func TestFailuresAreFewAndCounted(t *testing.T) {
	s := publish(profile.Domain, "n", changed(12, func(d *device.Device) { d.Memory = 0 }), false)
	for _, r := range Check(s)[0].Results {
		if r.Rule != "AP-16" {
			continue
		}
		if r.Count != 12 || len(r.Failures) != 5 || r.Failures[4] != "n/gpu-0000-04-00-0: tells no memory" {
			t.Errorf("%d failures are counted and %d told: %q", r.Count, len(r.Failures), r.Failures)
		}
	}
}

func TestDomainIsJudgedByItsFirstType(t *testing.T) {
	s := publish(profile.Domain, "n", gpus(4), false)
	delete(s[0].Spec.Devices[0].Attributes, name(profile.AttrFabric))
	s[0].Spec.Devices[2].Attributes[name(profile.AttrFabric)] = word("xgmi")
	want := map[string][]string{"AP-10": {"n/gpu-0000-00-00-0: has a fabricDomain and no fabricType", "n/gpu-0000-02-00-0: fabricDomain a is of type xgmi here and nvlink elsewhere"}}
	if diff := cmp.Diff(want, broken(Check(s)[0])); diff != "" {
		t.Error(diff)
	}
}

func TestOlderGenerationsAreNotJudged(t *testing.T) {
	s, old := publish(profile.Domain, "n", gpus(2), false), publish(profile.Domain, "n", gpus(2), false)
	old[0].Spec.Pool.Generation = 2
	r := Check(append(old, s...))[0]
	want := map[string][]string{"AP-01": {"n/: slice " + old[0].Name + " is of generation 2, the newest is 3"}}
	if diff := cmp.Diff(want, broken(r)); diff != "" || r.Devices != 2 {
		t.Errorf("%d devices are judged\n%s", r.Devices, diff)
	}
}
