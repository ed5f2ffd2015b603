// Package metax finds MetaX's GPUs. Package discovery lists it.
//
// The PCI bus shows the cards, and the kernel's list of files in /dev/dri which are
// whose. Memory is in no file that is known, and the UUID, health and links of a
// card only in the library libmxsml, which is not linked. The program mx-smi prints
// JSON whose keys no document that is known describes; it is not asked. What a
// product's memory is, the catalogue tells.
package metax

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/pci"
)

// The vendor's number is one that cards in development had from others: of a class
// that is not for displays it is not believed.
var family = pci.Family{Vendor: "metax", Kind: device.GPU, Numbers: []string{"9999"}, Classes: []string{"0380"}, Only: []string{"0380", "0302", "1200"}, Software: "maca"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "metax" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// shared are the files of the driver that programs open beside those of the cards:
// the first always, the others where they are (GPUStack's CDI generator).
var shared = []string{"/dev/mxcd", "/dev/mxnd", "/dev/mxgd"}

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	var errs []error
	files := drm.Read(h)
	for i := range devices {
		d := &devices[i]
		if d.PCI.Driver == "vfio-pci" {
			continue
		}
		if err := open(h, files, d); err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: err.Error()})
		}
	}
	return devices, errors.Join(errs...)
}

// open sets the device files of a card.
func open(h *device.Host, files *drm.Index, d *device.Device) error {
	own, ok := files.Named(d.PCI.Address)
	if !ok || own.Render == "" {
		return errors.New("has no file in /dev/dri; load MetaX's driver to use it")
	}
	nodes, err := drm.Files(h, own.Card, own.Render)
	if err != nil {
		return fmt.Errorf("its device file cannot be used: %w", err)
	}
	for i, f := range shared {
		if i > 0 && !h.Exists(f[1:]) {
			continue
		}
		n, err := h.Node(f, true)
		if err != nil {
			return fmt.Errorf("the driver's file %s, without which no program can use it, cannot be used: %w", f, err)
		}
		nodes = append(nodes, n)
	}
	d.Nodes = nodes
	return nil
}

// Edits implements device.Adapter. Programs number the cards whose files they see,
// and need no variable. MACA itself is in the image, and the driver's libraries come
// from the host, whose driver they fit.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/opt/mxdriver", Container: "/opt/mxdriver"}}
	}
	return e
}
