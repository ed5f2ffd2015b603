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
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
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
	if len(devices) == 0 {
		return nil, nil
	}
	cards, toolErr := ask(ctx, h)
	var errs []error
	if toolErr != nil && h.Run != nil {
		errs = append(errs, device.Problem{Where: "xpu-smi", What: fmt.Sprintf("tells nothing (%v), so serial numbers, memory and health are not known; install it with the driver's package", toolErr)})
	}
	files := chardev.Read(h, "xpu")
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

// open finds the file of a card: that of the minor number that xpu-smi prints, or the
// one that hangs below its function.
func open(h *device.Host, d *device.Device, c *card, files []chardev.File) error {
	f, ok := chardev.Of(files, d.PCI.Address)
	if c != nil && c.minor != nil {
		byMinor, found := chardev.Minor(files, *c.minor)
		if ok && (!found || byMinor.Path != f.Path) {
			return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("is %s by the kernel and has the minor number %d by xpu-smi; it is left unused", f.Path, *c.minor)}
		}
		f, ok = byMinor, found
	}
	if !ok {
		return device.Problem{Where: d.PCI.Address, What: "which of /dev/xpu0, /dev/xpu1 ... is its file is not known, so it cannot be used; load the driver, and install xpu-smi"}
	}
	n, err := f.Node(h, false)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	control, err := h.Node("/dev/xpuctrl", true)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("cannot be used without the driver's control file: %v", err)}
	}
	d.Nodes = []device.Node{n, control}
	return nil
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil // and no program is run that may be Intel's
	}
	cards, err := ask(ctx, h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		if d.PCI == nil || cards[d.PCI.Address] == nil {
			if err == nil {
				errs = append(errs, device.Problem{Where: d.Name, What: "xpu-smi does not tell of it any more; look at the kernel's log"})
			}
			continue
		}
		d.Health, d.Reading = cards[d.PCI.Address].meters()
	}
	if err != nil {
		errs = append(errs, device.Problem{Where: "xpu-smi", What: fmt.Sprintf("tells nothing (%v), so health and meters are not known", err)})
	}
	return errors.Join(errs...)
}
