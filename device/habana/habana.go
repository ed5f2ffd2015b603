package habana

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

const module = "habanalabs"

var family = pci.Family{
	Vendor: "intel", Kind: device.NPU, Numbers: []string{"1da3"}, Software: "hpu",
	Classes: []string{"1200"}, Only: []string{"1200"},
}

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
func (*Adapter) Name() string { return "habana" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	entries := list(h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		e, ok := entries[d.PCI.Address]
		switch {
		case ok:
			errs = append(errs, e.describe(h, d))
		case strings.Contains(d.PCI.Driver, "vfio") || d.Form == device.VF && d.PCI.Driver == "":
		case d.PCI.Driver == "":
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no driver, so it cannot be used; load habanalabs"})
		default:
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no entry in /" + class + ", so containers cannot be given it; the kernel's log tells why " + d.PCI.Driver + " made none"})
		}
	}
	errs = append(errs, ask(ctx, h, devices))
	return devices, errors.Join(errs...)
}

// describe adds what the driver's files tell.
func (e *entry) describe(h *device.Host, d *device.Device) error {
	if kind := e.text(h, "device_type"); kind != "" && strings.HasPrefix(d.Product, "device ") {
		d.Product = kind
	}
	d.Driver.Firmware = e.text(h, "cpucp_ver")
	if slot, ok := e.number(h, "module_id"); ok && slot < 1<<16 {
		d.Fabric = &device.Fabric{Type: "roce", Index: new(int(slot))}
	}
	d.Health = e.health(h)
	nodes, err := e.files(h)
	d.Nodes = nodes
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device files cannot be used: %v; containers cannot be given it", err)}
	}
	return nil
}

// health is by the driver's word of the device: Linux documents "Operational",
// "Malfunction" and "In reset", and the driver has more.
func (e *entry) health(h *device.Host) device.Health {
	status := e.text(h, "status")
	fault := device.Fault{Message: "the driver says: " + status}
	switch s := strings.ToLower(status); {
	case s == "":
		return device.Health{State: device.Unknown}
	case s == "operational":
		return device.Of()
	case s == "malfunction" || s == "disabled":
		fault.Code, fault.State = "malfunction", device.Failed
	case s == "needs reset":
		fault.Code, fault.State = "needs-reset", device.Failed
	case strings.HasPrefix(s, "in reset") || s == "in device creation":
		fault.Code, fault.State = "in-reset", device.Degraded
	default:
		fault.Code, fault.State = "status", device.Unknown
	}
	return device.Of(fault)
}

// Edits implements device.Adapter. Habana's runtime reads which accelerators it is to
// set up, and its library by which slots they reach each other; both number them as the
// host does.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	var numbers, files, slots []string
	for _, d := range devices {
		for _, n := range d.Nodes {
			if number, ok := own(n.Path); ok {
				numbers, files = append(numbers, number), append(files, n.Path)
			}
		}
		if d.Fabric != nil && d.Fabric.Index != nil {
			slots = append(slots, fmt.Sprint(*d.Fabric.Index))
		}
	}
	if len(numbers) == 0 {
		return e
	}
	e.Env = map[string]string{"HABANA_VISIBLE_DEVICES": strings.Join(numbers, ","), "HL_VISIBLE_DEVICES": strings.Join(files, ",")}
	if len(slots) == len(devices) {
		e.Env["HABANA_VISIBLE_MODULES"] = strings.Join(slots, ",")
	}
	e.Mounts = []device.Mount{{Host: "/etc/habanalabs/gaudinet.json", Container: "/etc/habanalabs/gaudinet.json"}}
	return e
}
