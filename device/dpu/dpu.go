// Package dpu finds network cards that compute: BlueField, AMD's Pensando, Intel's
// IPU and Marvell's OCTEON. Package discovery lists it.
//
// A card is one device, however many PCI functions it shows; its virtual functions
// are counted and are no devices. It reads what the kernel says of them in sysfs
// (net, infiniband), and asks devlink for serial numbers and health. A guest that was
// given a virtual function has a network card, which is not found here, nor are
// ConnectX and other cards that only connect.
//
// Containers get the files for RDMA. They do not get /dev/rshim: who opens it can
// replace the software of the card, and with it whatever guards the machine.
package dpu

import (
	"context"
	"errors"
	"slices"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// line is a vendor's cards.
type line struct {
	pci.Family
	// behind says that a card has a switch of its own, with its functions behind it.
	behind bool
	// plain are numbers of subsystems that are network cards although their number is
	// that of a DPU.
	plain []string
}

// lines are the vendors. Which numbers are DPUs is the catalogue's to say: the class
// is that of any network card. Pensando's core function is a processing accelerator,
// and its AI network card Pollara has the same number as its DPUs. The exceptions are
// virtual functions.
var lines = []line{
	{Family: pci.Family{Vendor: "nvidia", Kind: device.DPU, Numbers: []string{"15b3"}, Only: []string{"02"}}},
	{Family: pci.Family{Vendor: "amd", Kind: device.DPU, Numbers: []string{"1dd8"}, Only: []string{"02", "12"}, Except: []string{"1003", "100b"}},
		behind: true, plain: []string{"1dd8:5201"}},
	{Family: pci.Family{Vendor: "intel", Kind: device.DPU, Numbers: []string{"8086"}, Only: []string{"02"}, Except: []string{"145c"}}},
	{Family: pci.Family{Vendor: "marvell", Kind: device.DPU, Numbers: []string{"177d"}, Only: []string{"02"}, Except: []string{"b903"}}},
}

// of returns the line that owns a function.
func of(f *device.Function) *line {
	for i := range lines {
		if l := &lines[i]; l.Owns(f) && !slices.Contains(l.plain, f.SubVendor+":"+f.SubDevice) {
			return l
		}
	}
	return nil
}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "dpu" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return of(f) != nil }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	cards := gather(h)
	if len(cards) == 0 {
		return nil, nil
	}
	told, problem := ask(ctx, h)
	errs := []error{problem}
	for _, c := range cards {
		c.read(h, told)
	}
	var devices []device.Device
	for _, c := range joined(cards) {
		d, err := c.device(h, told)
		devices, errs = append(devices, d), append(errs, err)
	}
	return devices, errors.Join(errs...)
}

// Measure implements device.Meter. Errors are those of all ports since the driver was
// loaded; the temperature is the hottest of the card's own.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	told, problem := ask(ctx, h)
	byFirst := map[string]*card{}
	cards := gather(h)
	for _, c := range cards {
		c.read(h, told)
	}
	for _, c := range joined(cards) {
		byFirst[c.functions[0].Address] = c
	}
	errs := []error{problem}
	for i := range devices {
		d := &devices[i]
		if d.PCI == nil {
			continue
		}
		c, ok := byFirst[d.PCI.Address]
		if !ok {
			d.Health, d.Reading = device.Of(device.Fault{Code: "lost", Message: "it is not on the PCI bus any more", State: device.Failed}), nil
			continue
		}
		d.Health, d.Reading = c.health(told), c.reading(h)
	}
	return errors.Join(errs...)
}

// Edits implements device.Adapter.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
