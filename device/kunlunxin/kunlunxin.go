// Package kunlunxin finds Kunlunxin's accelerators, which began as Baidu's: Kunlun and
// P800. Package discovery lists it.
//
// It reads the PCI bus, the kernel's list of device files, and the program xpu-smi.
// Intel has a program of the same name, so it is run only where a card of Kunlunxin's
// is, and its output is believed only if it is of Kunlunxin's form. Which file is a
// card's only xpu-smi tells, unless the file hangs below the card's function. Links
// between cards are not found.
package kunlunxin

import (
	"context"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Cards have Baidu's vendor number, with which Baidu also makes disks, or, as xpu-smi
// was seen to print of a P800, one that is in nobody's name: of the latter, only known
// cards are owned.
var (
	baidu = pci.Family{Vendor: "kunlunxin", Kind: device.NPU, Numbers: []string{"1d22"}, Classes: []string{"1200"}, Except: []string{"1380"}, Software: "xre"}
	later = pci.Family{Vendor: "kunlunxin", Kind: device.NPU, Numbers: []string{"2057"}, Software: "xre"}
)

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
func (*Adapter) Name() string { return "kunlunxin" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return baidu.Owns(f) || later.Owns(f) }

// Discover implements device.Adapter.
func (a *Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	var devices []device.Device
	for _, f := range h.Owned(a.Owns) {
		devices = append(devices, baidu.Device(h, f))
	}
	return program.Discover(ctx, h, devices)
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	return program.Measure(ctx, h, devices)
}

// Read implements device.Reader. It reads the output of `xpu-smi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) { return program.Read(output) }
