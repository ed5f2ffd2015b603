package profile

import (
	"fmt"
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// full is a device of which everything is known.
func full() device.Device {
	zero := 0
	return device.Device{
		Name: "gpu-0000-3b-00-0", Kind: device.GPU, Vendor: "nvidia", Product: "H100 SXM5 80GB", Architecture: "hopper", Family: "Hopper",
		UUID: "GPU-" + strings.Repeat("0", 80) + "7", Serial: "165", Form: device.MIG, Profile: "1g.10gb", Parent: "GPU-0",
		PCI:  &device.Function{Address: "0000:3b:00.0", Vendor: "10de", Device: "2330", Root: "pci0000:3a", LinkMax: device.PCIeLink{Generation: 5, Lanes: 16}},
		NUMA: &zero, Memory: 80e9, MemoryBandwidth: 3350e9, Software: "cuda",
		FLOPS:  map[device.Precision]int64{device.FP64: 1, device.FP32: 1, device.FP16: 1, device.BF16: 1, device.FP8: 1, device.FP4: 1, device.INT8: 1},
		Driver: device.Driver{Version: "580.65.06", Firmware: "96.00"}, Fabric: &device.Fabric{Type: "nvlink", Domain: "d", Index: &zero, Bandwidth: 900e9},
		Health: device.Of(device.Fault{Code: "XID 79!", State: device.Failed}), Emulated: true,
	}
}

func TestPublishKeepsToTheLimits(t *testing.T) {
	d := full()
	p := Publish(&d)
	if n := len(p.Attributes) + len(p.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		t.Errorf("%d attributes and capacities", n)
	}
	for name, a := range p.Attributes {
		if a.StringValue != nil && (len(*a.StringValue) > textMax || *a.StringValue == "") {
			t.Errorf("%s is %q", name, *a.StringValue)
		}
		if _, id, _ := strings.Cut(string(name), "/"); len(id) > resourcev1.DeviceMaxIDLength {
			t.Errorf("the name %s is too long", name)
		}
	}
	if u := *p.Attributes[Domain+"/"+AttrUUID].StringValue; !strings.HasSuffix(u, "7") {
		t.Errorf("the long UUID lost its end: %s", u)
	}
	if p.Taints[0].Key != Domain+"/xid-79" || p.Taints[0].Effect != resourcev1.DeviceTaintEffectNoExecute {
		t.Errorf("the taint is %+v", p.Taints[0])
	}
}

func TestPublishLeavesOutWhatIsNotKnown(t *testing.T) {
	p := Publish(&device.Device{Name: "gpu-0", Kind: device.GPU, Vendor: "v", Product: "p", UUID: "u", Form: device.Whole})
	if len(p.Attributes) != 7 || len(p.Capacity) != 1 || len(p.Taints) != 0 { // version and six; a share of the whole
		t.Errorf("published %v, %v, %v", p.Attributes, p.Capacity, p.Taints)
	}
	far := Publish(&device.Device{PCI: &device.Function{Address: "10000:00:00.0"}})
	if _, ok := far.Attributes[StdPCIBusID]; ok {
		t.Error("an address that the standard name cannot hold is published under it")
	}
}

func TestPoolSplitsIntoSlices(t *testing.T) {
	many := func(n int, health device.Health) []device.Device {
		var out []device.Device
		for i := range n {
			out = append(out, device.Device{Name: fmt.Sprintf("gpu-%d", i), Health: health})
		}
		return out
	}
	ill := device.Of(device.Fault{Code: "lost", State: device.Failed})
	for _, c := range []struct {
		n      int
		health device.Health
		want   int
	}{{0, device.Health{}, 0}, {8, device.Health{}, 1}, {128, device.Health{}, 1}, {129, device.Health{}, 2}, {64, ill, 1}, {65, ill, 2}} {
		if got := Pool(many(c.n, c.health), false); len(got) != c.want {
			t.Errorf("%d devices make %d slices, not %d", c.n, len(got), c.want)
		}
	}
}

func TestPoolSharesCounters(t *testing.T) {
	d := full()
	d.Form, d.Profile, d.Parent = device.Whole, "", ""
	d.Partitions = []device.Partition{{Profile: "1g.10gb", Count: 7, Memory: 10e9, Share: 143}, {Profile: "7g.80gb", Count: 1, Memory: 85e9, Share: 1000}}
	got := Pool([]device.Device{d}, true)
	if len(got) != 2 || len(got[0].Counters) != 1 || len(got[1].Devices) != 9 {
		t.Fatalf("the pool is %+v", got)
	}
	for _, p := range got[1].Devices {
		c := p.ConsumesCounters[0]
		if memory := c.Counters[counterMemory].Value; c.CounterSet != d.Name || memory.Value() > d.Memory {
			t.Errorf("%s consumes %+v", p.Name, c)
		}
		_, flops := p.Capacity[Domain+"/bf16"]
		if part := p.Name != d.Name; part == flops {
			t.Errorf("%s: a part has not the speed of the whole, and the whole has it: %v", p.Name, p.Capacity)
		}
	}
}
