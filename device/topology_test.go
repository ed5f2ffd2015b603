package device_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// plugged is a device at a place on the PCI bus.
func plugged(address, root string, numa int, bridges ...string) device.Device {
	return device.Device{UUID: address, PCI: &device.Function{Address: address, Root: root, Bridges: bridges}, NUMA: new(numa)}
}

func TestBetweenByPlace(t *testing.T) {
	nowhere := func(d device.Device) device.Device { d.NUMA = nil; return d }
	rootless := func(d device.Device) device.Device { d.PCI.Root = ""; return d }
	for _, c := range []struct {
		name string
		a, b device.Device
		want device.Path
	}{
		{"two chips of a function", plugged("0000:3b:00.0", "r", 0), plugged("0000:3b:00.0", "r", 0), device.PathPIX},
		{"two functions behind a port", plugged("a", "r", 0, "p"), plugged("b", "r", 0, "p"), device.PathPIX},
		{"one switch", plugged("a", "r", 0, "p", "up", "d1"), plugged("b", "r", 0, "p", "up", "d2"), device.PathPIX},
		{"two switches in a row", plugged("a", "r", 0, "p", "up", "d1"), plugged("b", "r", 0, "p", "up", "d2", "up2", "d3"), device.PathPXB},
		{"two switches beside each other", plugged("a", "r", 0, "p", "up", "d1", "u1", "e1"), plugged("b", "r", 0, "p", "up", "d2", "u2", "e2"), device.PathPXB},
		{"one switch, and a bridge behind it", plugged("a", "r", 0, "p", "up", "d1"), plugged("b", "r", 0, "p", "up", "d2", "bridge"), device.PathPXB},
		{"two ports of a root", plugged("a", "r", 0, "p1"), plugged("b", "r", 0, "p2"), device.PathPHB},
		{"plugged into the root", plugged("a", "r", 0), plugged("b", "r", 0), device.PathPHB},
		{"two roots of a NUMA node", plugged("a", "r1", 0, "p"), plugged("b", "r2", 0, "p"), device.PathNode},
		{"two NUMA nodes", plugged("a", "r1", 0), plugged("b", "r2", 1), device.PathSys},
		{"two roots, and no word of NUMA", nowhere(plugged("a", "r1", 0)), nowhere(plugged("b", "r2", 0)), device.PathSys},
		{"one of them without NUMA", plugged("a", "r1", 0), nowhere(plugged("b", "r2", 0)), device.PathSys},
		{"no root, one NUMA node", rootless(plugged("a", "r", 1)), rootless(plugged("b", "r", 1)), device.PathNode},
		{"no root, no NUMA", nowhere(rootless(plugged("a", "r", 0))), nowhere(plugged("b", "r", 0)), ""},
		{"not on PCI, one NUMA node", device.Device{NUMA: new(0)}, plugged("b", "r", 0), device.PathNode},
		{"nothing known", device.Device{}, plugged("b", "r", 0), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := device.Link{To: c.b.UUID, Path: c.want}
			if c.want != "" {
				want.Type = "pcie"
			}
			if diff := cmp.Diff(want, device.Between(&c.a, &c.b)); diff != "" {
				t.Error(diff)
			}
			want.To = c.a.UUID
			if diff := cmp.Diff(want, device.Between(&c.b, &c.a)); diff != "" {
				t.Errorf("the other way:\n%s", diff)
			}
		})
	}
}

func TestBetweenByFabric(t *testing.T) {
	in := func(d device.Device, kind, domain string) device.Device {
		d.Fabric = &device.Fabric{Type: kind, Domain: domain}
		return d
	}
	a, b := plugged("a", "r", 0, "p1"), plugged("b", "r", 0, "p2")
	known := a
	known.Links = []device.Link{{To: "c", Type: "nvlink", Count: 4}, {To: "b", Type: "nvlink", Count: 18, Bandwidth: 450e9}}
	far := a
	far.Links = []device.Link{{To: "b", Type: "pcie", Path: device.PathSys}}
	noType := a
	noType.Links = []device.Link{{To: "b", Path: device.PathPXB}}
	for _, c := range []struct {
		name string
		a, b device.Device
		want device.Link
		text string
	}{
		{"one domain", in(a, "xgmi", "d"), in(b, "xgmi", "d"), device.Link{To: "b", Type: "xgmi", Path: device.PathPHB}, "XGMI"},
		{"two domains", in(a, "xgmi", "d"), in(b, "xgmi", "e"), device.Link{To: "b", Type: "pcie", Path: device.PathPHB}, "PHB"},
		{"domains that are not known", in(a, "xgmi", ""), in(b, "xgmi", ""), device.Link{To: "b", Type: "pcie", Path: device.PathPHB}, "PHB"},
		{"one in a fabric", in(a, "xgmi", "d"), b, device.Link{To: "b", Type: "pcie", Path: device.PathPHB}, "PHB"},
		{"a link that is known", known, b, device.Link{To: "b", Type: "nvlink", Count: 18, Bandwidth: 450e9, Path: device.PathPHB}, "NV18"},
		{"a link that is known, in another fabric", in(known, "xgmi", "d"), in(b, "xgmi", "d"), device.Link{To: "b", Type: "nvlink", Count: 18, Bandwidth: 450e9, Path: device.PathPHB}, "NV18"},
		{"a way by PCI that is known, against what the place says", far, b, device.Link{To: "b", Type: "pcie", Path: device.PathSys}, "SYS"},
		{"a path that is known, in one fabric", in(noType, "hccs", "d"), in(b, "hccs", "d"), device.Link{To: "b", Type: "hccs", Path: device.PathPXB}, "HCCS"},
		{"a fabric and no place", in(device.Device{UUID: "a"}, "ici", "d"), in(device.Device{UUID: "b"}, "ici", "d"), device.Link{To: "b", Type: "ici"}, "ICI"},
		{"nothing", device.Device{UUID: "a"}, device.Device{UUID: "b"}, device.Link{To: "b"}, "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := device.Between(&c.a, &c.b)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if got.String() != c.text {
				t.Errorf("in a word %s, not %s", got, c.text)
			}
		})
	}
}

func TestLinkString(t *testing.T) {
	for want, l := range map[string]device.Link{
		"NV18":       {Type: "nvlink", Count: 18},
		"NVLINK":     {Type: "nvlink", Path: device.PathSys},
		"NEURONLINK": {Type: "neuronlink", Count: 4},
		"PIX":        {Type: "pcie", Path: device.PathPIX},
		"NODE":       {Path: device.PathNode},
		"?":          {Type: "pcie"},
	} {
		if got := l.String(); got != want {
			t.Errorf("%+v is %s, not %s", l, got, want)
		}
	}
}

func TestComputes(t *testing.T) {
	type p = device.Precision
	for _, c := range []struct {
		name string
		d    device.Device
		want []device.Precision
	}{
		{"nothing known", device.Device{Kind: device.GPU}, []p{}},
		{"by speed, in the order of Precisions", device.Device{Kind: device.NPU, FLOPS: map[p]int64{device.INT8: 1, device.FP16: 1, device.BF16: 1}}, []p{device.FP16, device.BF16, device.INT8}},
		{"every processor", device.Device{Kind: device.CPU}, []p{device.FP64, device.FP32}},
		{"a processor by its instructions", device.Device{Kind: device.CPU, Features: []string{"avx2", "amx_bf16", "avx512_bf16", "avx512_fp16", "avx512_vnni"}}, []p{device.FP64, device.FP32, device.FP16, device.BF16, device.INT8}},
		{"one of Arm's", device.Device{Kind: device.CPU, Features: []string{"asimdhp", "svei8mm"}}, []p{device.FP64, device.FP32, device.FP16, device.INT8}},
		{"features that say nothing of it", device.Device{Kind: device.GPU, Features: []string{"sriov"}}, []p{}},
	} {
		if diff := cmp.Diff(c.want, c.d.Computes()); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}
