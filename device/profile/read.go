package profile

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// Read is the inverse of [Publish], as far as it goes: what the standard does not
// say is not there.
func Read(p *resourcev1.Device) device.Device {
	d := device.Device{
		Name: p.Name, Kind: device.Kind(text(p, AttrKind)), Vendor: text(p, AttrVendor), Product: text(p, AttrProduct),
		Architecture: text(p, AttrArchitecture), UUID: text(p, AttrUUID), Serial: text(p, AttrSerial), Form: device.Form(text(p, AttrForm)),
		Profile: text(p, AttrPartition), Parent: text(p, AttrParent), Software: text(p, AttrSoftware),
		Driver: device.Driver{Version: text(p, AttrDriver), Firmware: text(p, AttrFirmware)},
		Memory: amount(p, CapMemory), MemoryBandwidth: amount(p, CapMemoryBandwidth), Health: Health(p.Taints),
	}
	for _, precision := range CapFLOPS {
		if n := amount(p, string(precision)); n > 0 {
			if d.FLOPS == nil {
				d.FLOPS = map[device.Precision]int64{}
			}
			d.FLOPS[precision] = n
		}
	}
	if a := p.Attributes[key(AttrEmulated)]; a.BoolValue != nil {
		d.Emulated = *a.BoolValue
	}
	if a := p.Attributes[StdNUMANode]; a.IntValue != nil {
		n := int(*a.IntValue)
		d.NUMA = &n
	}
	vendor, number, _ := strings.Cut(text(p, AttrPCI), ":")
	if at := text(p, StdPCIBusID); at != "" || vendor != "" {
		d.PCI = &device.Function{Address: at, Vendor: vendor, Device: number, Root: text(p, StdPCIeRoot)}
	}
	if t := text(p, AttrFabric); t != "" {
		d.Fabric = &device.Fabric{Type: t, Domain: text(p, AttrFabricDomain), Bandwidth: amount(p, CapFabric)}
		if a := p.Attributes[key(AttrFabricIndex)]; a.IntValue != nil {
			n := int(*a.IntValue)
			d.Fabric.Index = &n
		}
	}
	return d
}

func text(p *resourcev1.Device, name string) string {
	if s := p.Attributes[key(name)].StringValue; s != nil {
		return *s
	}
	return ""
}

func amount(p *resourcev1.Device, name string) int64 {
	c := p.Capacity[key(name)]
	return c.Value.Value()
}

// Health is what the taints that a driver gave its device say of it. Those of another
// driver have codes of its own, and effects that mean the same.
func Health(taints []resourcev1.DeviceTaint) device.Health {
	var faults []device.Fault
	for _, t := range taints {
		code := t.Key[strings.LastIndex(t.Key, "/")+1:]
		f := device.Fault{Code: code, State: device.State(t.Value)}
		switch t.Effect {
		case resourcev1.DeviceTaintEffectNoExecute:
			f.State = device.Failed
		case resourcev1.DeviceTaintEffectNoSchedule:
			f.State = device.Degraded
		case resourcev1.DeviceTaintEffectNone:
		}
		faults = append(faults, f)
	}
	return device.Of(faults...)
}
