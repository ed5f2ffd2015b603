package pci

import (
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// Family is a vendor's line of accelerators, as their PCI functions show it.
type Family struct {
	// Vendor is the slug of the devices' vendor.
	Vendor string
	// Kind of device, where the catalogue does not say.
	Kind device.Kind
	// Numbers of the vendor on the bus: "10de". Vendors may have several.
	Numbers []string
	// Classes are prefixes of PCI classes of which every function of the vendor is
	// an accelerator, known by number or not: "1200", "0302".
	Classes []string
	// Only are prefixes of classes out of which no function of the vendor is an
	// accelerator, whatever its number. Empty: any class will do for a known number.
	Only []string
	// Except are device numbers that are no accelerators although their class says
	// so.
	Except []string
	// Software is the stack of the family.
	Software string
}

// Owns reports whether f is of the family: its number is in the catalogue, or its
// class says so. Network cards that compute and FPGAs have rooms of their own, which
// hold all vendors: they are of a family of their kind and of no other.
func (m *Family) Owns(f *device.Function) bool {
	if !slices.Contains(m.Numbers, f.Vendor) || slices.Contains(m.Except, f.Device) {
		return false
	}
	if len(m.Only) > 0 && f.Class != "" && !hasPrefix(f.Class, m.Only) {
		return false
	}
	if p, ok := catalogue.ByID(f.ID()); ok && p.Vendor == m.Vendor {
		return p.Kind == m.Kind || !apart(p.Kind) && !apart(m.Kind)
	}
	return f.Class != "" && hasPrefix(f.Class, m.Classes)
}

func apart(k device.Kind) bool { return k == device.DPU || k == device.FPGA }

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// Devices makes one device of each function that m owns, with what the bus and the
// driver say. Health is Unknown: nothing was asked.
func (m *Family) Devices(h *device.Host) []device.Device {
	var out []device.Device
	for _, f := range h.Owned(m.Owns) {
		out = append(out, m.Device(h, f))
	}
	return out
}

// Device makes a device of one function.
func (m *Family) Device(h *device.Host, f *device.Function) device.Device {
	d := device.Device{
		Kind: m.Kind, Vendor: m.Vendor, Software: m.Software, Form: device.Whole,
		PCI: f, NUMA: f.NUMA, Health: device.Health{State: device.Unknown},
	}
	if f.Parent != "" {
		d.Form = device.VF
	}
	if p, ok := catalogue.ByID(f.ID()); ok && p.Vendor == m.Vendor {
		d.Product = p.Name
		if p.Kind != "" {
			d.Kind = p.Kind
		}
		d.Note(device.Origin{From: "catalogue"}, "product", "kind")
	} else {
		d.Product = "device " + f.ID()
	}
	d.Driver.Module = f.Driver
	if f.Driver != "" {
		d.Driver.Version = h.String("sys/module", strings.ReplaceAll(f.Driver, "-", "_"), "version")
	}
	return d
}
