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
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
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
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	cards, toolErr := ask(ctx, h)
	var errs []error
	if toolErr != nil && h.Run != nil {
		errs = append(errs, device.Problem{Where: "ppu-smi", What: fmt.Sprintf("tells nothing (%v), so serial numbers, memory and health are not known; install it with the PPU SDK", toolErr)})
	}
	files := chardev.Read(h, "alixpu_ppu")
	for i := range devices {
		d := &devices[i]
		c := cards[d.PCI.Address]
		if c != nil {
			c.fill(d)
		}
		if err := open(h, d, c, files); err != nil {
			errs = append(errs, err)
		}
	}
	return devices, errors.Join(errs...)
}

// open finds the files of a card.
func open(h *device.Host, d *device.Device, c *card, files []chardev.File) error {
	f, ok := chardev.Of(files, d.PCI.Address)
	if c != nil && c.minor != nil {
		byMinor, found := chardev.Minor(files, *c.minor)
		if ok && (!found || byMinor.Path != f.Path) {
			return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("is %s by the kernel and has the minor number %d by ppu-smi; it is left unused", f.Path, *c.minor)}
		}
		f, ok = byMinor, found
	}
	if !ok {
		return device.Problem{Where: d.PCI.Address, What: "which of /dev/alixpu_ppu0, /dev/alixpu_ppu1 ... is its file is not known, so it cannot be used; load the driver, and install ppu-smi"}
	}
	n, err := f.Node(h, false)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	nodes := []device.Node{n}
	for _, control := range []string{"/dev/alixpu", "/dev/alixpu_ctl"} {
		n, err := h.Node(control, true)
		if err != nil {
			return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("cannot be used without the driver's control files: %v", err)}
		}
		nodes = append(nodes, n)
	}
	d.Nodes = nodes
	return nil
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil
	}
	cards, err := ask(ctx, h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		if d.PCI == nil || cards[d.PCI.Address] == nil {
			if err == nil {
				errs = append(errs, device.Problem{Where: d.Name, What: "ppu-smi does not tell of it any more; look at the kernel's log"})
			}
			continue
		}
		d.Health, d.Reading = cards[d.PCI.Address].meters()
	}
	if err != nil {
		errs = append(errs, device.Problem{Where: "ppu-smi", What: fmt.Sprintf("tells nothing (%v), so health and meters are not known", err)})
	}
	return errors.Join(errs...)
}
