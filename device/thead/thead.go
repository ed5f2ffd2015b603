// Package thead finds T-Head's accelerators, the PPUs that Alibaba makes. Package
// discovery lists it.
//
// It reads the PCI bus, the kernel's list of device files, and the program ppu-smi.
// The file of a card is the one with the minor number that ppu-smi prints: T-Head's
// manual says that this number is also in the file's name, a machine was seen where it
// is not, so the name is not relied on. The links between cards, and the parts that
// MIG splits them into, are not found.
package thead

import (
	"context"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Alibaba's network cards for RDMA and the ports of its processors have other numbers
// and classes.
var family = pci.Family{Vendor: "thead", Kind: device.GPU, Numbers: []string{"1ded"}, Only: []string{"0302"}, Software: "ppu"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "thead" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	return program.Discover(ctx, h, family.Devices(h))
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	return program.Measure(ctx, h, devices)
}

// Read implements device.Reader. It reads the output of `ppu-smi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) { return program.Read(output) }
