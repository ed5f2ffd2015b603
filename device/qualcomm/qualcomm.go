// Package qualcomm finds Qualcomm's accelerators, the Cloud AI 100. Package discovery
// lists it.
//
// It reads what the driver qaic shows in sys/class/accel, and the serial numbers that
// the bus below it, MHI, shows. A card of the Ultra sort is four devices. Memory,
// meters and health are not in the driver's files, and the text of the program
// qaic-util is not documented; they are not known.
package qualcomm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// class is where drivers of accelerators list their files, as accel0.
const class = "sys/class/accel"

// entriesMax bounds what is looked at there.
const entriesMax = 1024

// Most that Qualcomm sells under this number are modems and network cards.
var family = pci.Family{Vendor: "qualcomm", Kind: device.NPU, Numbers: []string{"17cb"}, Classes: []string{"1200"}, Only: []string{"1200"}, Software: "qaic"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "qualcomm" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	accel := files(h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		if n := serial(h, d.PCI.Address); n != 0 {
			d.Serial = strconv.FormatUint(n, 10)
			d.UUID = "qaic-" + d.Serial
		}
		path, ok := accel[d.PCI.Address]
		if !ok {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no entry in /" + class + " and cannot be used; load the driver qaic, and look at the kernel's log if it is loaded"})
			continue
		}
		n, err := h.Node(path, false)
		if err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)})
			continue
		}
		d.Nodes = []device.Node{n}
	}
	return devices, errors.Join(errs...)
}

// files are the device files of accelerators, by PCI address.
func files(h *device.Host) map[string]string {
	out := map[string]string{}
	entries := h.Dir(class)
	for _, e := range entries[:min(len(entries), entriesMax)] {
		digits, ok := strings.CutPrefix(e, "accel")
		if _, err := strconv.ParseUint(digits, 10, 16); !ok || err != nil {
			continue
		}
		if address, ok := device.Address(h.Link(class, e, "device")); ok {
			out[address] = "/dev/accel/" + e
		}
	}
	return out
}

// serial is the serial number of the chip, which its MHI controller tells after it was
// started once; 0 if it does not.
func serial(h *device.Host, address string) uint64 {
	at := "sys/bus/pci/devices/" + address
	names := h.Dir(at)
	for _, name := range names[:min(len(names), entriesMax)] {
		digits, ok := strings.CutPrefix(name, "mhi")
		if _, err := strconv.ParseUint(digits, 10, 16); !ok || err != nil {
			continue
		}
		number := strings.TrimPrefix(h.String(at, name, "serialnumber"), "Serial Number: ")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
