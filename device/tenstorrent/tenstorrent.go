// Package tenstorrent finds Tenstorrent's accelerators: Grayskull, Wormhole and
// Blackhole. Package discovery lists it.
//
// It reads the driver's files in sys/class/tenstorrent. A Wormhole board may carry
// a second chip behind the first, which has no PCI function and which the driver
// does not show; it is not found.
package tenstorrent

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// class is where the driver tells of its chips, as "tenstorrent!0".
const class = "sys/class/tenstorrent"

var family = pci.Family{Vendor: "tenstorrent", Kind: device.NPU, Numbers: []string{"1e52"}, Classes: []string{"1200"}, Software: "metalium"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "tenstorrent" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	chips := map[string]string{} // by address
	for _, entry := range h.Dir(class) {
		if address, ok := device.Address(h.Link(class, entry, "device")); ok {
			chips[address] = entry
		}
	}
	var errs []error
	devices := family.Devices(h)
	for i := range devices {
		d := &devices[i]
		entry, ok := chips[d.PCI.Address]
		if !ok {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no entry in /" + class + "; load the driver tenstorrent to know its serial and use it"})
			continue
		}
		if err := read(h, entry, d); err != nil {
			errs = append(errs, err)
		}
	}
	return devices, errors.Join(errs...)
}

func read(h *device.Host, entry string, d *device.Device) error {
	dir := path.Join(class, entry)
	d.Serial = h.String(dir, "tt_serial")
	if id := strings.TrimPrefix(h.String(dir, "tt_asic_id"), "0x"); id != "" {
		d.UUID = "tt-" + id
	}
	if card := h.String(dir, "tt_card_type"); card != "" {
		d.Product = card
	}
	d.Driver.Firmware = h.String(dir, "tt_fw_bundle_ver")
	d.Health = device.Of(faults(h, dir)...)
	n, err := h.Node("/dev/tenstorrent/"+strings.TrimPrefix(entry, "tenstorrent!"), false)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	d.Nodes = []device.Node{n}
	return nil
}

// faults are what the driver counts against a chip. A heart that beats cannot be
// seen in one look.
func faults(h *device.Host, dir string) []device.Fault {
	if n, ok := h.Int(dir, "tt_therm_trip_count"); ok && n > 0 {
		return []device.Fault{{Code: "thermal-trip", Message: fmt.Sprintf("it has switched itself off %d times because of heat", n), State: device.Degraded}}
	}
	return nil
}

// Edits implements device.Adapter. Programs map huge pages for their queues.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/dev/hugepages-1G", Container: "/dev/hugepages-1G"}, {Host: "/dev/hugepages", Container: "/dev/hugepages"}}
	}
	return e
}
