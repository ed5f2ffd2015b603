// Package moorethreads finds Moore Threads' GPUs. Package discovery lists it.
//
// The PCI bus shows the cards, and the kernel's lists of device files which are
// whose. That the driver has it list /dev/mtgpu.* below the cards is not confirmed;
// where it does not, only a single card is given the single file. Memory is in no
// file that is known, and the UUID, health and links of a card only in the library
// libmtml, which is not linked. Of what the program mthreads-gmi prints no
// description is known; it is not asked. What a product's memory is, the catalogue
// tells.
package moorethreads

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/pci"
)

// Cards for desktops and for servers are of one family; the sound of their
// connectors (class 0403) is not.
var family = pci.Family{Vendor: "moorethreads", Kind: device.GPU, Numbers: []string{"1ed5"}, Classes: []string{"0300", "0302"}, Only: []string{"0300", "0302", "0380", "1200"}, Software: "musa"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "moorethreads" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	files, own := drm.Read(h), chardev.Read(h, prefix)
	if name, ok := single(h); ok && len(devices) == 1 && len(own) == 0 {
		own = []chardev.File{{Path: "/dev/" + name, Address: devices[0].PCI.Address}}
	}
	var errs []error
	for i := range devices {
		d := &devices[i]
		if d.PCI.Driver == "vfio-pci" {
			continue
		}
		if err := open(h, files, own, d); err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: err.Error()})
		}
	}
	return devices, errors.Join(errs...)
}

// prefix of the cards' files: /dev/mtgpu.0.
const prefix = "mtgpu."

// single is the only such file there is.
func single(h *device.Host) (name string, ok bool) {
	for _, f := range h.Dir("dev") {
		if isFile(f) {
			if ok {
				return "", false
			}
			name, ok = f, true
		}
	}
	return name, ok
}

func isFile(name string) bool {
	n, ok := strings.CutPrefix(name, prefix)
	_, err := strconv.ParseUint(n, 10, 16)
	return ok && err == nil
}

// open sets the device files of a card: its own, and those in /dev/dri.
func open(h *device.Host, files *drm.Index, own []chardev.File, d *device.Device) error {
	f, ok := chardev.Of(own, d.PCI.Address)
	if !ok && d.PCI.Driver == "" {
		return errors.New("has no driver; load mtgpu to use it")
	}
	if !ok {
		return errors.New("which of /dev/mtgpu.* it is, the kernel's list does not tell; containers cannot be given it")
	}
	n, err := f.Node(h, false)
	if f.Major == 0 { // the single file, of which there is no list
		n, err = h.Node(f.Path, false)
	}
	if err != nil {
		return fmt.Errorf("its device file cannot be used: %w", err)
	}
	d.Nodes = []device.Node{n}
	if f, ok := files.Named(d.PCI.Address); ok {
		nodes, err := drm.Files(h, f.Card, f.Render)
		if err != nil {
			return fmt.Errorf("its file in /dev/dri cannot be used: %w", err)
		}
		d.Nodes = append(d.Nodes, nodes...)
	}
	return nil
}

// Edits implements device.Adapter. Where the host has the user's part of the driver
// differs from version to version: it is to be in the image.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/usr/bin/mthreads-gmi", Container: "/usr/bin/mthreads-gmi"}}
	}
	return e
}
