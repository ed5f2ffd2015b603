// Package rebellions finds Rebellions' accelerators, ATOM and REBEL, with the names
// RBLN-CA and RBLN-CR. Package discovery lists it.
//
// It reads the driver's files in sys/class/rebellions, and for what they lack, the
// UUID and the serial number, the program rbln-stat or its later form rbln-smi. The
// groups that devices can be put into are not found.
package rebellions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// class is where the driver tells of its devices, as rbln0; rsd0 is a group of them.
const class = "sys/class/rebellions"

// Limits of what is believed of a machine.
const (
	devicesMax = 1024
	memoryMax  = 1 << 50
)

var family = pci.Family{Vendor: "rebellions", Kind: device.NPU, Numbers: []string{"1eff"}, Classes: []string{"1200"}, Software: "rbln"}

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
func (*Adapter) Name() string { return "rebellions" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	entries := entries(h)
	told, toolErr := ask(ctx, h)
	var errs []error
	if toolErr != nil && h.Run != nil {
		errs = append(errs, device.Problem{Where: "rbln-stat", What: fmt.Sprintf("tells nothing (%v), so UUIDs and serial numbers are not known; install it with the driver's package", toolErr)})
	}
	for i := range devices {
		d := &devices[i]
		if e := told[d.PCI.Address]; e != nil {
			e.fill(d)
		}
		name, ok := entries[d.PCI.Address]
		if !ok {
			if d.PCI.VFs == 0 { // a card that was split has its files at the parts
				errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no entry in /" + class + " and cannot be used; load the driver rebellions, and look at the kernel's log if it is loaded"})
			}
			continue
		}
		if err := read(h, name, d); err != nil {
			errs = append(errs, err)
		}
	}
	adopt(devices)
	return devices, errors.Join(errs...)
}

// entries are the names of the driver's devices, by PCI address.
func entries(h *device.Host) map[string]string {
	out := map[string]string{}
	names := h.Dir(class)
	for _, name := range names[:min(len(names), devicesMax)] {
		digits, ok := strings.CutPrefix(name, "rbln")
		if _, err := strconv.ParseUint(digits, 10, 16); !ok || err != nil {
			continue
		}
		if address, ok := device.Address(h.Link(class, name, "device")); ok {
			out[address] = name
		}
	}
	return out
}

// read fills d with what the driver's files tell.
func read(h *device.Host, name string, d *device.Device) error {
	if card := h.String(class, name, "card_name"); card != "" {
		d.Product = card
	}
	if v := h.String(class, name, "kernel_version"); v != "" {
		d.Driver.Version = v
	}
	if n, ok := h.Int(class, name, "dram_total"); ok && n > 0 && n < memoryMax {
		d.Memory = n
		delete(d.Provenance, "memory")
	}
	d.Health, d.Reading = meters(h, name)
	n, err := h.Node("/dev/"+name, false)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	d.Nodes = []device.Node{n}
	return nil
}

// meters reads the state that the driver has a device in, and its sensors, whose names
// are not those of other drivers.
func meters(h *device.Host, name string) (device.Health, *device.Reading) {
	r := &device.Reading{}
	if n, ok := h.Int(class, name, "dram_used"); ok && n >= 0 && n < memoryMax {
		r.MemoryUsed = &n
	}
	if sensors := h.Dir(class, name, "hwmon"); len(sensors) > 0 {
		at := path.Join(class, name, "hwmon", sensors[0])
		if n, ok := h.Int(at, "temp_input"); ok {
			r.Temperature = new(float64(n) / 1e3)
		}
		if n, ok := h.Int(at, "card_power_input"); ok && n >= 0 {
			r.Power = new(float64(n) / 1e6)
		}
	}
	if r.MemoryUsed == nil && r.Temperature == nil && r.Power == nil {
		r = nil
	}
	return state(h.String(class, name, "status")), r
}

// state reads the driver's number of a state: ready, busy, starting, fault, finished.
func state(s string) device.Health {
	switch s {
	case "0", "1", "4":
		return device.Of()
	case "2":
		return device.Of(device.Fault{Code: "starting", Message: "its driver has not finished starting it", State: device.Degraded})
	case "3":
		return device.Of(device.Fault{Code: "fault", Message: "its driver says that it has failed; reset it, and look at the kernel's log", State: device.Failed})
	}
	return device.Health{State: device.Unknown}
}

// adopt tells virtual functions of the card that they are a part of.
func adopt(devices []device.Device) {
	for i := range devices {
		d := &devices[i]
		if d.PCI.Parent == "" {
			continue
		}
		if p := slices.IndexFunc(devices, func(x device.Device) bool { return x.PCI.Address == d.PCI.Parent }); p >= 0 {
			d.Parent = devices[p].UUID
		}
	}
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(_ context.Context, h *device.Host, devices []device.Device) error {
	var errs []error
	for i := range devices {
		d := &devices[i]
		name := ""
		if len(d.Nodes) > 0 {
			name = path.Base(d.Nodes[0].Path)
		}
		if name == "" || !h.Exists(class, name) {
			d.Health, d.Reading = device.Health{State: device.Unknown}, nil
			errs = append(errs, device.Problem{Where: d.Name, What: "the driver rebellions tells nothing of it; look at the kernel's log"})
			continue
		}
		d.Health, d.Reading = meters(h, name)
	}
	return errors.Join(errs...)
}
