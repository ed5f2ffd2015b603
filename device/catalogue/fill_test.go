package catalogue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

func h100() device.Device {
	return device.Device{Vendor: "nvidia", Product: "NVIDIA H100 80GB HBM3", Form: device.Whole, PCI: &device.Function{Vendor: "10de", Device: "2330"}}
}

func TestFillSetsWhatIsMissing(t *testing.T) {
	d := h100()
	d.Fabric = &device.Fabric{Type: "nvlink"}
	Fill(&d)
	if d.Memory != 80e9 || d.FLOPS[device.BF16] != 989.5e12 || d.Architecture != "hopper" || d.Software != "cuda" || d.Kind != device.GPU {
		t.Errorf("an H100 became %+v", d)
	}
	if d.Product != "NVIDIA H100 80GB HBM3" {
		t.Errorf("the driver's name became %q", d.Product)
	}
	if d.Fabric.Bandwidth != 900e9 || len(d.Partitions) != 4 || d.Partitions[0].Count != 7 {
		t.Errorf("fabric %+v, partitions %+v", d.Fabric, d.Partitions)
	}
	for _, field := range []string{"memory", "memoryBandwidth", "flops.bf16", "flops.fp8", "fabric.bandwidth"} {
		if o := d.Provenance[field]; o.From != "catalogue" || o.Confidence == "" || o.Source == "" {
			t.Errorf("%s comes from %+v", field, o)
		}
	}
	for _, field := range []string{"architecture", "software", "kind", "partitions"} {
		if d.Provenance[field].From != "catalogue" {
			t.Errorf("nobody says that %s comes from the catalogue", field)
		}
	}
}

func TestFillOverwritesNothing(t *testing.T) {
	d := h100()
	d.Memory, d.MemoryBandwidth, d.Architecture, d.Software, d.Kind, d.Family = 85520809984, 1, "a", "s", device.NPU, "f"
	d.FLOPS = map[device.Precision]int64{device.FP8: 7}
	d.Partitions = []device.Partition{{Profile: "1g.12gb", Count: 1}}
	d.Fabric = &device.Fabric{Type: "nvlink", Bandwidth: 5}
	want := d.Clone()
	Fill(&d)
	for _, field := range []string{"memory", "memoryBandwidth", "architecture", "software", "kind", "family", "flops.fp8", "partitions", "fabric.bandwidth"} {
		if o, ok := d.Provenance[field]; ok {
			t.Errorf("%s, which the machine said, is now said to come from %+v", field, o)
		}
	}
	want.FLOPS, want.Provenance = d.FLOPS, d.Provenance
	if d.FLOPS[device.FP8] != 7 {
		t.Error("a known speed was overwritten")
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("what was known changed: %s", diff)
	}
}

func TestFillGivesPartsNoAmounts(t *testing.T) {
	for _, form := range []device.Form{device.VF, device.MIG, device.XCP, device.VNPU, device.Share} {
		d := h100()
		d.Form = form
		Fill(&d)
		if d.Memory != 0 || d.MemoryBandwidth != 0 || d.FLOPS != nil || d.Partitions != nil {
			t.Errorf("a %s has what the whole device has: %+v", form, d)
		}
		if d.Architecture != "hopper" {
			t.Errorf("a %s does not have the architecture of the whole", form)
		}
	}
}

func TestFillOfSharedNumber(t *testing.T) {
	d := device.Device{Vendor: "huawei", Product: "Ascend 910B", Form: device.Whole, PCI: &device.Function{Vendor: "19e5", Device: "d802"}}
	Fill(&d)
	if d.Memory != 0 || d.Architecture != "910b" {
		t.Errorf("of a 910B of which no more is known, memory is %d and architecture %q", d.Memory, d.Architecture)
	}
	d.Product = "910B4"
	Fill(&d)
	if d.Memory != 32<<30 {
		t.Errorf("a 910B4 has %d bytes", d.Memory)
	}
}

func TestFillLeavesStrangersAlone(t *testing.T) {
	for _, d := range []device.Device{
		{Vendor: "nvidia", Product: "device 10de:0001", Form: device.Whole, PCI: &device.Function{Vendor: "10de", Device: "0001"}},
		{Vendor: "amd", Product: "a card", Form: device.Whole, PCI: &device.Function{Vendor: "10de", Device: "2330"}}, // another vendor's number
		{Vendor: "nvidia", Product: "", Form: device.Whole},
	} {
		want := d.Clone()
		if Fill(&d); cmp.Diff(want, d) != "" {
			t.Errorf("%s %q became %+v", want.Vendor, want.Product, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"- {vendor: a, product: b, kind: gpu, memory: 0 H x}":        "left out",
		"- {vendor: a, product: b, kind: gpu, memory: -1G H x}":      "left out",
		"- {vendor: a, product: b, kind: gpu, memory: 80G X x}":      "confidence",
		"- {vendor: a, product: b, kind: gpu, memory: 80G H}":        "a source",
		"- {vendor: a, product: b, kind: gpu, memory: much H x}":     "much",
		"- {vendor: a, product: b, kind: gpu, memroy: 80G H x}":      "memroy",
		"- {vendor: a, product: b, kind: gpu, partitions: [{n: 1}]}": "unknown field",
	} {
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not tell of %q", text, err, want)
		}
	}
}

// BenchmarkLoad reads the catalogue, as every program does once that asks for a
// product. It has to stay below 10 ms.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
