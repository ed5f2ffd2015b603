// Package enflame finds Enflame's accelerators: CloudBlazer T and I, the S series and
// the L series. Package discovery lists it.
//
// It reads the PCI bus, the kernel's list of device files, and the program efsmi,
// whose text is read because the names in its JSON are not documented. Without efsmi a
// card is known by its number alone. The parts that DRS splits a card into are not
// found.
package enflame

import (
	"context"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Sources differ on whether cards are 3D controllers or processing accelerators.
var family = pci.Family{Vendor: "enflame", Kind: device.NPU, Numbers: []string{"1e36"}, Classes: []string{"0302", "1200"}, Software: "topsrider"}

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
func (*Adapter) Name() string { return "enflame" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	return program.Discover(ctx, h, family.Devices(h))
}

// Edits implements device.Adapter. The library libefml goes with the driver too, but
// where it lies is not documented; the container's image has to bring it.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/usr/sbin/efsmi", Container: "/usr/sbin/efsmi"}}
	}
	return e
}

// Measure implements device.Meter.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	return program.Measure(ctx, h, devices)
}

// Read implements device.Reader. It reads the output of `efsmi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) { return program.Read(output) }
