package profile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// said is what is left of a device when the standard has told it.
func said(d device.Device) device.Device {
	d = d.Clone()
	d.Family, d.Ordinal, d.Units, d.Features, d.Links, d.Nodes, d.Partitions = "", 0, 0, nil, nil, nil, nil
	d.Reading, d.Adapter, d.Provenance = nil, "", nil
	d.Driver.Module, d.Driver.Stack = "", ""
	for _, p := range []device.Precision{device.FP64, device.FP32, device.FP4} {
		delete(d.FLOPS, p)
	}
	if len(d.FLOPS) == 0 {
		d.FLOPS = nil
	}
	for i := range d.Health.Faults {
		d.Health.Faults[i].Message = ""
	}
	if f := d.PCI; f != nil {
		d.PCI = &device.Function{Address: f.Address, Vendor: f.Vendor, Device: f.Device, Root: f.Root}
	}
	return d
}

func TestReadIsTheInverseOfPublish(t *testing.T) {
	all := func(change func(*device.Device)) device.Device {
		d := full()
		d.UUID, d.Health = "GPU-7", device.Of()
		d.Ordinal, d.Units, d.Features, d.Adapter = 1, 132, []string{"x"}, "nvidia"
		d.Driver.Module, d.Driver.Stack = "nvidia", "13.0"
		d.Links, d.Nodes = []device.Link{{To: "GPU-8", Type: "nvlink"}}, []device.Node{{Path: "/dev/nvidia0"}}
		d.Note(device.Origin{From: "catalogue"}, "memory")
		if change != nil {
			change(&d)
		}
		return d
	}
	for _, c := range []struct {
		name string
		d    device.Device
	}{
		{"all that can be known", all(nil)},
		{"the least", device.Device{Name: "gpu-0", Kind: device.GPU, Vendor: "v", Product: "p", UUID: "u", Form: device.Whole, Health: device.Of()}},
		{"a CPU", device.Device{Name: "cpu-0", Kind: device.CPU, Vendor: "intel", Product: "Xeon", UUID: "u", Form: device.Whole, Software: "cpu", Memory: 64 << 30, Features: []string{"amx_bf16"}, Health: device.Of()}},
		{"faults", all(func(d *device.Device) {
			d.Health = device.Of(device.Fault{Code: "hot", State: device.Degraded}, device.Fault{Code: "xid-79", Message: "lost", State: device.Failed}, device.Fault{Code: "odd", State: device.Unknown})
		})},
		{"a fabric without domain or index", all(func(d *device.Device) { d.Fabric = &device.Fabric{Type: "xgmi"} })},
		{"no place on PCI", all(func(d *device.Device) { d.PCI, d.NUMA = nil, nil })},
		{"a real one", all(func(d *device.Device) { d.Emulated = false })},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Publish(&c.d)
			if diff := cmp.Diff(said(c.d), Read(&p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReadOfWhatIsCut has texts that are too long for the API.
func TestReadOfWhatIsCut(t *testing.T) {
	d := full()
	d.Product = strings.Repeat("é", 40) // 80 bytes
	p := Publish(&d)
	got := Read(&p)
	if got.Product != strings.Repeat("é", 32) {
		t.Errorf("the product is %q", got.Product)
	}
	if got.UUID != d.UUID[len(d.UUID)-64:] {
		t.Errorf("the UUID is %q, not the end of %q", got.UUID, d.UUID)
	}
	d.PCI.Address = "10000:e1:00.0"
	p = Publish(&d)
	if got := Read(&p); got.PCI.Address != "" || got.PCI.ID() != "10de:2330" {
		t.Errorf("a domain that the standard name knows not is told as %+v", got.PCI)
	}
}

func TestReadOfTypesThatAreNotTheStandards(t *testing.T) {
	d := full()
	p := Publish(&d)
	for n := range p.Attributes {
		p.Attributes[n] = resourcev1.DeviceAttribute{VersionValue: new("1.0.0")}
	}
	got := Read(&p)
	if got.Kind != "" || got.UUID != "" || got.PCI != nil || got.NUMA != nil || got.Fabric != nil || got.Emulated {
		t.Errorf("read is %+v", got)
	}
	if got.Memory != d.Memory {
		t.Errorf("capacities are as they were, and the memory is %d", got.Memory)
	}
}

func TestHealthIsReadFromTaints(t *testing.T) {
	for _, c := range []struct {
		name   string
		taints []resourcev1.DeviceTaint
		want   device.State
	}{
		{"none", nil, device.Healthy},
		{"one that ends pods", []resourcev1.DeviceTaint{{Key: Domain + "/a", Value: "degraded", Effect: resourcev1.DeviceTaintEffectNoExecute}}, device.Failed},
		{"one that keeps pods away", []resourcev1.DeviceTaint{{Key: Domain + "/a", Effect: resourcev1.DeviceTaintEffectNoSchedule}}, device.Degraded},
		{"one that only tells", []resourcev1.DeviceTaint{{Key: Domain + "/a", Value: "unknown", Effect: resourcev1.DeviceTaintEffectNone}}, device.Unknown},
		{"another driver's", []resourcev1.DeviceTaint{{Key: "example.com/a", Effect: resourcev1.DeviceTaintEffectNoExecute}}, device.Failed},
		{"the worst of two", []resourcev1.DeviceTaint{{Key: Domain + "/a", Effect: resourcev1.DeviceTaintEffectNoSchedule}, {Key: Domain + "/b", Effect: resourcev1.DeviceTaintEffectNoExecute}}, device.Failed},
	} {
		if got := Health(c.taints); got.State != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
