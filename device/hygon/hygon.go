package hygon

import (
	"context"
	"errors"
	"slices"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/kfd"
	"polder.dev/polder/device/pci"
)

// Class 0b40, a co-processor, is what lspci calls newer DCUs; one source (M). The
// numbers that are excepted are the security processors of Hygon's CPUs.
var family = pci.Family{
	Vendor: "hygon", Kind: device.GPU, Numbers: []string{"1d94"}, Software: "dtk",
	Classes: []string{"0302", "0380", "0b40"}, Only: []string{"0302", "0380", "0b40"},
	Except: []string{"1456", "1468"},
}

var line = kfd.Line{Family: &family, Owns: family.Owns, Vendor: 0x1d94, Prefix: "hygon"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "hygon" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	found, err := line.Find(h)
	errs := []error{err}
	devices := make([]device.Device, len(found))
	for i, f := range found {
		devices[i] = f.Device
		d := &devices[i]
		tell(d)
		distrust(h, d)
		open(h, d)
		if f.Node == nil && d.PCI.Parent == "" {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "is unknown to KFD, so its memory is not known and containers cannot be given it; install Hygon's driver, hyhal"})
		}
	}
	errs = append(errs, ask(ctx, h, devices))
	return devices, errors.Join(errs...)
}

// tell sets the product by the architecture where several have one number on the bus:
// sources differ over 6210.
func tell(d *device.Device) {
	all := catalogue.All()
	for i := range all {
		if p := &all[i]; p.Vendor == d.Vendor && slices.Contains(p.PCI, d.PCI.ID()) && p.Architecture != "" && p.Architecture == d.Architecture {
			d.Product = p.Name
			return
		}
	}
}

// distrust forgets a NUMA node that is the kernel's guess: it says 0 for every DCU,
// which is right only where there is no other node.
func distrust(h *device.Host, d *device.Device) {
	if d.NUMA != nil && *d.NUMA == 0 && h.Exists("sys/devices/system/node/node1") {
		d.NUMA = nil
	}
}

// open gives a DCU the second file of its driver, which newer versions have.
func open(h *device.Host, d *device.Device) {
	if len(d.Nodes) == 0 {
		return
	}
	if n, err := h.Node("/dev/mkfd", true); err == nil {
		d.Nodes = slices.Insert(d.Nodes, 1, n)
	}
}

// Edits implements device.Adapter. Hygon's container runtime would add what its
// variable lists; "void" has it leave containers alone. Programs see the DCUs whose
// files they are given.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/opt/hyhal", Container: "/opt/hyhal"}, {Host: "/usr/local/hyhal", Container: "/usr/local/hyhal"}}
		e.Env = map[string]string{"HCU_VISIBLE_DEVICES": "void"}
	}
	return e
}
