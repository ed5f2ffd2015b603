// Package fpga finds cards with a programmable chip: AMD's Alveo and Intel's PAC.
// Package discovery lists it.
//
// A card is one device, though it shows a function for management and one for
// programs. Of Alveo it reads what the drivers of XRT, xocl and xclmgmt, say in sysfs;
// of Intel's cards what the kernel's DFL drivers say in fpga_region
// (Documentation/fpga/dfl.rst). XRT's program xbutil prints nothing that can be read
// without writing a file, and is not asked.
//
// Containers get the files that programs compute with: a render file, or the ports
// of the accelerator functions. They do not get those for management (/dev/xclmgmt,
// /dev/dfl-fme), with which the whole card is loaded anew; XRT loads a program's
// design through the render file all the same. FPGAs without these drivers, and those
// behind a driver of their own design, are found only if their number is known.
package fpga

import (
	"context"
	"errors"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/pci"
)

// dfl is the driver of cards that describe themselves by a device feature list.
const dfl = "dfl-pci"

var (
	// xilinx sells nothing else as a processing accelerator: all functions of the class
	// are those of cards, the user's function one number above that of management.
	xilinx = pci.Family{Vendor: "amd", Kind: device.FPGA, Numbers: []string{"10ee"}, Classes: []string{"1200"}, Software: "xrt"}
	intel  = pci.Family{Vendor: "intel", Kind: device.FPGA, Numbers: []string{"8086"}, Only: []string{"12"}, Software: "opae"}
)

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "fpga" }

// Owns implements device.Adapter. What dfl-pci drives is an FPGA whatever its number:
// makers of cards choose their own.
func (*Adapter) Owns(f *device.Function) bool { return family(f) != nil }

func family(f *device.Function) *pci.Family {
	switch {
	case xilinx.Owns(f):
		return &xilinx
	case intel.Owns(f), f.Vendor == "8086" && f.Driver == dfl:
		return &intel
	}
	return nil
}

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	cards := gather(h)
	if len(cards) == 0 {
		return nil, nil
	}
	var files *drm.Index
	var devices []device.Device
	var errs []error
	for _, functions := range cards {
		m := family(functions[0])
		d := m.Device(h, functions[0])
		d.Form = device.Whole
		var err error
		if m == &xilinx {
			if files == nil {
				files = drm.Read(h)
			}
			err = alveo(h, files, functions, &d)
		} else {
			err = regions(h, functions, &d)
		}
		devices, errs = append(devices, d), append(errs, err)
	}
	return devices, errors.Join(errs...)
}

// gather returns the functions of each card, by address. Those in one slot are of one
// card; virtual functions are parts of it that are not given away by themselves.
func gather(h *device.Host) [][]*device.Function {
	place := map[string]int{}
	var out [][]*device.Function
	for _, f := range h.Owned(func(f *device.Function) bool { return f.Parent == "" && family(f) != nil }) {
		slot, _, _ := strings.Cut(f.Address, ".")
		i, ok := place[slot]
		if !ok {
			i = len(out)
			place[slot], out = i, append(out, nil)
		}
		out[i] = append(out[i], f)
	}
	for _, functions := range out {
		slices.SortFunc(functions, func(a, b *device.Function) int { return strings.Compare(a.Address, b.Address) })
	}
	return out
}

func dir(f *device.Function) string { return "sys/bus/pci/devices/" + f.Address }

// Measure implements device.Meter. Meters are those of Intel's cards: XRT's have none
// in the form of hwmon that tells which is which.
func (*Adapter) Measure(_ context.Context, h *device.Host, devices []device.Device) error {
	byFirst := map[string][]*device.Function{}
	for _, functions := range gather(h) {
		byFirst[functions[0].Address] = functions
	}
	for i := range devices {
		d := &devices[i]
		if d.PCI == nil {
			continue
		}
		functions, ok := byFirst[d.PCI.Address]
		if !ok {
			d.Health, d.Reading = device.Of(device.Fault{Code: "lost", Message: "it is not on the PCI bus any more", State: device.Failed}), nil
			continue
		}
		if engines := entries(h, functions, "dfl-fme."); len(engines) > 0 {
			d.Health, d.Reading = health(h, engines), reading(h, engines)
		}
	}
	return nil
}

// Edits implements device.Adapter.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
