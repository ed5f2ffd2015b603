package profile

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/device"
)

// Slice is what one ResourceSlice of a pool holds: devices, or the counters that
// devices of other slices share.
type Slice struct {
	Devices  []resourcev1.Device
	Counters []resourcev1.CounterSet
}

// Pool lays devices out in slices, in their order: the scheduler takes the first
// that fit, so an order that changed would change where jobs land. With split, a
// device that can be split is published whole and in all its parts, and counters
// see to it that no part is given out twice; split is for drivers that can make the
// parts.
func Pool(devices []device.Device, split bool) []Slice {
	var all []resourcev1.Device
	var sets []resourcev1.CounterSet
	advanced := false
	for i := range devices {
		d := &devices[i]
		p := Publish(d)
		if split && d.Form == device.Whole && slices.ContainsFunc(d.Partitions, func(p device.Partition) bool { return p.Memory > 0 }) {
			set, parts := divide(d, &p)
			sets, all = append(sets, set), append(append(all, p), parts...)
			advanced = true
			continue
		}
		advanced = advanced || len(p.Taints) > 0
		all = append(all, p)
	}
	most := resourcev1.ResourceSliceMaxDevices
	if advanced {
		most = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
	}
	var out []Slice
	for len(sets) > 0 {
		n := min(len(sets), resourcev1.ResourceSliceMaxCounterSets)
		out, sets = append(out, Slice{Counters: sets[:n:n]}), sets[n:]
	}
	for len(all) > 0 {
		n := min(len(all), most)
		out, all = append(out, Slice{Devices: all[:n:n]}), all[n:]
	}
	return out
}

// The counters of a device that can be split.
const (
	counterShare  = "share"
	counterMemory = "memory"
)

// divide makes the parts of a device, and has it and them share counters.
func divide(d *device.Device, whole *resourcev1.Device) (resourcev1.CounterSet, []resourcev1.Device) {
	set := resourcev1.CounterSet{Name: d.Name, Counters: counters(1000, d.Memory)}
	whole.ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: set.Name, Counters: set.Counters}}
	var parts []resourcev1.Device
	for _, p := range d.Partitions {
		if p.Memory == 0 { // a part of unknown size cannot be chosen by what it has
			continue
		}
		for i := range p.Count {
			part := d.Clone()
			part.Name = fmt.Sprintf("%s-%s-%d", d.Name, word(strings.ReplaceAll(p.Profile, "+", "-")), i)
			part.UUID = fmt.Sprintf("%s/%s/%d", d.UUID, p.Profile, i)
			part.Parent, part.Profile, part.Serial = d.UUID, p.Profile, ""
			part.Form, part.Memory = formOf(d.Vendor), p.Memory
			part.MemoryBandwidth, part.Partitions, part.Fabric = 0, nil, nil
			pub := Publish(&part)
			for _, precision := range CapFLOPS { // of the whole
				delete(pub.Capacity, key(string(precision)))
			}
			if p.Share > 0 {
				pub.Capacity[key(CapShare)] = resourcev1.DeviceCapacity{Value: *resource.NewQuantity(int64(p.Share), resource.DecimalSI)}
			}
			pub.ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: set.Name, Counters: counters(int64(p.Share), min(p.Memory, d.Memory))}}
			parts = append(parts, pub)
		}
	}
	return set, parts
}

func counters(share, memory int64) map[string]resourcev1.Counter {
	c := map[string]resourcev1.Counter{counterShare: {Value: *resource.NewQuantity(share, resource.DecimalSI)}}
	if memory > 0 {
		c[counterMemory] = resourcev1.Counter{Value: *resource.NewQuantity(memory, resource.BinarySI)}
	}
	return c
}

func formOf(vendor string) device.Form {
	switch vendor {
	case "nvidia":
		return device.MIG
	case "amd":
		return device.XCP
	case "huawei":
		return device.VNPU
	}
	return device.Share
}
