// Package google finds Google's accelerators, the TPUs, from v2 to 7x. Package
// discovery lists it.
//
// It reads the PCI bus and, for the device files, sys/class/accel up to v4 and the
// IOMMU groups of vfio-pci from v5 on. One device is one chip; a chip of 7x has two
// functions, one for each of its cores. TPUs tell nothing of themselves without the
// library that computes on them: their memory comes from the catalogue, they have no
// serial numbers and no health, and the program tpu-info, which knows no more, is not
// asked. That a chip is part of a slice of many machines is not seen.
package google

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// class is where the driver of chips up to v4 lists its files, as accel0.
const class = "sys/class/accel"

// entriesMax bounds what is looked at there; a machine has up to 8 chips.
const entriesMax = 1024

// Google makes network cards (gVNIC), disks and cores for telephones under the same
// vendor number. That TPUs are of class 1200 is not confirmed.
var family = pci.Family{Vendor: "google", Kind: device.TPU, Numbers: []string{"1ae0"}, Classes: []string{"1200"}, Except: []string{"0042", "001f", "abcd"}, Software: "xla"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "google" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	chips := group(h.Owned(family.Owns))
	if len(chips) == 0 {
		return nil, nil
	}
	accel := files(h)
	var devices []device.Device
	var errs []error
	for _, functions := range chips {
		d := family.Device(h, functions[0])
		identify(&d)
		if err := open(h, &d, functions, accel); err != nil {
			errs = append(errs, err)
		}
		devices = append(devices, d)
	}
	join(h, devices)
	return devices, errors.Join(errs...)
}

// group puts the functions of one chip together, that of the first core first.
func group(functions []*device.Function) [][]*device.Function {
	var out [][]*device.Function
	byChip := map[string]int{}
	for _, f := range functions {
		slot, _, _ := strings.Cut(f.Address, ".")
		i, ok := byChip[slot]
		if !ok || !paired(f) || out[i][0].Device != f.Device {
			byChip[slot] = len(out)
			out = append(out, []*device.Function{f})
			continue
		}
		out[i] = append(out[i], f)
		slices.SortFunc(out[i], func(a, b *device.Function) int { return strings.Compare(a.Address, b.Address) })
	}
	return out
}

// paired reports whether f is of a chip with a function for each core. Of the two
// numbers known for 7x, tpu-info has the first and gVisor the second.
func paired(f *device.Function) bool { return slices.Contains([]string{"0076", "0075"}, f.Device) }

// identify tells v2 from v3, which have one number, by the subsystem.
func identify(d *device.Device) {
	if d.PCI.Device != "0027" {
		return
	}
	switch d.PCI.SubDevice {
	case "004e":
		d.Product = "TPU v2"
	case "004f":
		d.Product = "TPU v3"
	}
}

// files are the device files of the accel class, by PCI address.
func files(h *device.Host) map[string]string {
	out := map[string]string{}
	entries := h.Dir(class)
	for _, e := range entries[:min(len(entries), entriesMax)] {
		digits, ok := strings.CutPrefix(e, "accel")
		if _, err := strconv.ParseUint(digits, 10, 16); !ok || err != nil {
			continue
		}
		if address, ok := device.Address(h.Link(class, e, "device")); ok {
			out[address] = "/dev/" + e
		}
	}
	return out
}

// open finds the files through which programs use a chip.
func open(h *device.Host, d *device.Device, functions []*device.Function, accel map[string]string) error {
	for _, f := range functions {
		path := accel[f.Address]
		if f.Driver == "vfio-pci" && f.IOMMUGroup != "" {
			path = "/dev/vfio/" + f.IOMMUGroup
		}
		if path == "" {
			d.Nodes = nil
			return device.Problem{Where: f.Address, What: "has neither the driver vfio-pci nor an entry in /" + class + ", and cannot be used; TPUs from v5 on need the first, older ones the second"}
		}
		if err := add(h, d, path, false); err != nil {
			return err
		}
	}
	if strings.HasPrefix(d.Nodes[0].Path, "/dev/vfio/") {
		return add(h, d, "/dev/vfio/vfio", true)
	}
	return nil
}

func add(h *device.Host, d *device.Device, path string, shared bool) error {
	n, err := h.Node(path, shared)
	if err != nil {
		d.Nodes = nil
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	if !slices.Contains(d.Nodes, n) {
		d.Nodes = append(d.Nodes, n)
	}
	return nil
}

// join says that the chips of a machine reach each other over ICI, of which they are
// a mesh. The domain is named after the machine, if it has a name.
func join(h *device.Host, devices []device.Device) {
	if len(devices) < 2 {
		return
	}
	domain := ""
	if id := h.String("sys/class/dmi/id/product_uuid"); len(id) == len("01234567-89ab-cdef-0123-456789abcdef") {
		domain = "ici-" + strings.ToLower(id)
	}
	for i := range devices {
		if devices[i].Product == devices[0].Product {
			devices[i].Fabric = &device.Fabric{Type: "ici", Domain: domain}
		}
	}
}

// bounds are the meshes that so many chips of one machine make.
var bounds = map[int]string{1: "1,1,1", 4: "2,2,1", 8: "2,4,1"}

// Edits implements device.Adapter. The variables tell the library that the container
// is alone, with a mesh of so many chips, and not what the machine's metadata says;
// of other numbers of chips it has to find the mesh itself. They are documented, but
// were not tried on a TPU.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if mesh, ok := bounds[len(devices)]; ok && len(e.Nodes) > 0 {
		e.Env = map[string]string{
			"TPU_CHIPS_PER_HOST_BOUNDS": mesh, "TPU_HOST_BOUNDS": "1,1,1", "TPU_SKIP_MDS_QUERY": "true",
			"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost",
		}
	}
	return e
}
