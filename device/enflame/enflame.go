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
	"errors"
	"fmt"
	"slices"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
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
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	cards, toolErr := ask(ctx, h)
	var errs []error
	if toolErr != nil && h.Run != nil {
		errs = append(errs, device.Problem{Where: "efsmi", What: fmt.Sprintf("tells nothing (%v), so serial numbers, health and meters are not known; install it with the driver's package", toolErr)})
	}
	files := chardev.Read(h, "gcu")
	numbered := sameNumbers(files, cards)
	for i := range devices {
		d := &devices[i]
		c := cards[d.PCI.Address]
		if c != nil {
			c.fill(d)
		}
		f, ok := chardev.Of(files, d.PCI.Address)
		if !ok && c != nil && numbered {
			f, ok = file(files, c.number)
		}
		if !ok {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "which of /dev/gcu0, /dev/gcu1 ... is its file is not known, so it cannot be used; load the driver, and install efsmi"})
			continue
		}
		if err := open(h, d, f); err != nil {
			errs = append(errs, err)
		}
	}
	return devices, errors.Join(errs...)
}

// sameNumbers reports whether the files have just the numbers that efsmi gives cards:
// only then one can be taken for the other.
func sameNumbers(files []chardev.File, cards map[string]*card) bool {
	var a, b []int
	for _, f := range files {
		a = append(a, f.Number)
	}
	for _, c := range cards {
		b = append(b, c.number)
	}
	slices.Sort(b)
	return len(a) > 0 && slices.Equal(a, b)
}

func file(files []chardev.File, number int) (chardev.File, bool) {
	i := slices.IndexFunc(files, func(f chardev.File) bool { return f.Number == number })
	if i < 0 {
		return chardev.File{}, false
	}
	return files[i], true
}

func open(h *device.Host, d *device.Device, f chardev.File) error {
	n, err := f.Node(h, false)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	control, err := h.Node("/dev/gcuctl", true)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("cannot be used without the driver's control file: %v", err)}
	}
	d.Nodes = []device.Node{n, control}
	return nil
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
	cards, err := ask(ctx, h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		if d.PCI == nil || cards[d.PCI.Address] == nil {
			if err == nil {
				errs = append(errs, device.Problem{Where: d.Name, What: "efsmi does not tell of it any more; look at the kernel's log"})
			}
			continue
		}
		d.Health, d.Reading = cards[d.PCI.Address].meters()
	}
	if err != nil {
		errs = append(errs, device.Problem{Where: "efsmi", What: fmt.Sprintf("tells nothing (%v), so health and meters are not known", err)})
	}
	return errors.Join(errs...)
}
