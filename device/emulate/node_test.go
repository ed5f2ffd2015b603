package emulate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
)

func dump() device.Inventory {
	return device.Inventory{Devices: []device.Device{
		{Name: "gpu-0", Kind: device.GPU, Vendor: "nvidia", Product: "H100", UUID: "GPU-1", Form: device.Whole, Fabric: &device.Fabric{Type: "nvlink", Domain: "d"},
			Nodes: []device.Node{{Path: "/dev/nvidia0"}}, Health: device.Health{State: device.Unknown}},
		{Name: "cpu-0", Kind: device.CPU, Vendor: "amd", Product: "EPYC", UUID: "cpu", Form: device.Whole, Units: 64, Memory: 1 << 40},
	}}
}

func TestInventoryIsMarkedAndNamedForItsContent(t *testing.T) {
	m, err := Inventory(dump())
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Inventory(dump())
	other := dump()
	other.Devices = other.Devices[:1]
	less, _ := Inventory(other)
	if m.Name != again.Name || m.Name == less.Name {
		t.Errorf("names are %s, %s and, of another, %s", m.Name, again.Name, less.Name)
	}
	v, err := Read(m)
	if err != nil || len(v.Devices) != 2 {
		t.Fatalf("read %+v, %v", v, err)
	}
	for _, d := range v.Devices {
		if !d.Emulated || len(d.Nodes) > 0 {
			t.Errorf("%s is not marked, or has device files: %+v", d.Name, d)
		}
	}
	if q := Size(v); q.Cpu().Value() != 64 || q.Memory().Value() != 1<<40 {
		t.Errorf("the node has %v", q)
	}
	if _, err := Inventory(device.Inventory{}); err == nil {
		t.Error("a dump without devices makes an inventory")
	}
}

func TestReadMarksWhatAPersonWrote(t *testing.T) {
	v, err := Read(&corev1.ConfigMap{Data: map[string]string{key: `{"devices":[{"name":"gpu-0","kind":"gpu"}]}`}})
	if err != nil || !v.Devices[0].Emulated {
		t.Errorf("read %+v, %v", v, err)
	}
}

func TestNodesDoNotShareIdentities(t *testing.T) {
	v := dump()
	a, b := Devices("a", v, nil), Devices("b", v, nil)
	if a[0].UUID == b[0].UUID || a[0].Fabric.Domain == b[0].Fabric.Domain {
		t.Errorf("two nodes have the same device or fabric: %+v, %+v", a[0], b[0])
	}
	if again := Devices("a", v, nil); again[0].UUID != a[0].UUID {
		t.Error("a second look gives another identity")
	}
	ill := Devices("a", v, map[string]device.Fault{"gpu-0": {Code: "gpu-lost", State: device.Failed}})
	if ill[0].Health.State != device.Failed || v.Devices[0].Health.State == device.Failed {
		t.Errorf("health is %+v; the dump's is %+v", ill[0].Health, v.Devices[0].Health)
	}
}

func TestNodeKeepsAwayWhatAsksForNoDevices(t *testing.T) {
	m, _ := Inventory(dump())
	n, err := Node("h100", m)
	if err != nil {
		t.Fatal(err)
	}
	if !Emulated(n) || len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != v1alpha1.LabelEmulated || n.Spec.Taints[0].Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("the node is %+v", n)
	}
	if _, err := Node("Bad_Name", m); err == nil || !strings.Contains(err.Error(), "Bad_Name") {
		t.Errorf("a bad name gives %v", err)
	}
}

func TestFaults(t *testing.T) {
	failed := device.Fault{Code: "gpu-lost", State: device.Failed, Message: "emulated"}
	slow := device.Fault{Code: "ecc", State: device.Degraded, Message: "emulated"}
	for text, want := range map[string]map[string]device.Fault{
		"":                                     {},
		"gpu-0=gpu-lost":                       {"gpu-0": failed},
		" gpu-0=gpu-lost , gpu-1=ecc:degraded": {"gpu-0": failed, "gpu-1": slow},
		"gpu-0":                                nil,
		"gpu-0=gpu-lost:dead":                  nil,
		"=x":                                   nil,
	} {
		got, err := Faults(text)
		if (err != nil) != (want == nil) {
			t.Errorf("%q: %v", text, err)
		}
		if d := cmp.Diff(want, got); want != nil && d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
}

func FuzzFaults(f *testing.F) {
	f.Add("gpu-0=gpu-lost,gpu-1=ecc:degraded")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Faults(text)
		if err != nil && len(got) > 0 {
			t.Error("an error comes with faults")
		}
	})
}
