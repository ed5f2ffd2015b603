// Package huawei finds Huawei's Ascend NPUs: 310P, 910A, 910B, 910C and 950.
// Package discovery lists it.
//
// The PCI bus shows the cards, and a file of the driver package its version. All
// else is asked of npu-smi, which prints text for people: what is read is known from
// Huawei's command reference, from its source, and from outputs that users published
// (each form has its source beside its test). The library libdcmi, which says the
// same to programs, is not linked.
//
// A card may carry several chips, at one PCI address (Atlas 300I Duo) or at several
// (910C); each chip is a device. Programs open /dev/davinci with the number that the
// driver calls the physical ID. It is neither the card's number nor the logical one,
// and a chip of which it cannot be learnt gets no device file.
//
// Virtual NPUs that a card has been cut into are not found; the catalogue tells the
// sizes that it can be cut into.
package huawei

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Only class 1200 is an accelerator: Huawei's network cards and the graphics of its
// management controllers bear the same number.
var family = pci.Family{Vendor: "huawei", Kind: device.NPU, Numbers: []string{"19e5"}, Classes: []string{"1200"}, Only: []string{"1200"}, Software: "cann"}

// Adapter is the device.Adapter of this room. It also reads saved outputs of
// npu-smi, one or many in one text with the commands before them.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "huawei" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter. A machine without such PCI functions is still
// asked if it has the device files: the chip may be the machine's processor (Atlas
// 200I).
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	owned := h.Owned(family.Owns)
	if len(owned) == 0 && len(numbers(h)) == 0 {
		return nil, nil
	}
	r, problems := ask(ctx, h)
	judge(h, r)
	listed := map[string]bool{}
	devices, errs := devicesOf(h, r)
	for i := range devices {
		if devices[i].PCI != nil {
			listed[devices[i].PCI.Address] = true
		}
	}
	for _, f := range owned {
		if listed[f.Address] {
			continue
		}
		devices = append(devices, bare(h, f))
		if len(r.chips) > 0 && f.Driver != "vfio-pci" {
			problems = append(problems, device.Problem{Where: f.Address, What: "npu-smi does not list it; its memory, health and device file are not known. Look at the driver's messages (dmesg)"})
		}
	}
	slices.SortStableFunc(devices, place)
	return devices, errors.Join(append(problems, errs...)...)
}

// place orders devices by where they are, those that are nowhere last.
func place(a, b device.Device) int {
	if a.PCI == nil || b.PCI == nil {
		return cmp.Compare(btoi(a.PCI == nil), btoi(b.PCI == nil))
	}
	return cmp.Or(cmp.Compare(a.PCI.Address, b.PCI.Address), cmp.Compare(a.Ordinal, b.Ordinal))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bare is a device of which only the bus tells, and the driver package its version.
func bare(h *device.Host, f *device.Function) device.Device {
	d := family.Device(h, f)
	if v := installed(h, "usr/local/Ascend/driver/version.info"); v != "" {
		d.Driver.Version = v
	}
	return d
}

// Read implements device.Reader.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	r := parse(string(output))
	if len(r.chips) == 0 {
		return nil, device.ErrFormat
	}
	judge(nil, r)
	devices, errs := devicesOf(nil, r)
	slices.SortStableFunc(devices, place)
	return devices, errors.Join(errs...)
}

// mounts are what programs need of the driver package, by Huawei's instructions for
// containers. The rest of CANN is in the image.
var mounts = []string{
	"/usr/local/Ascend/driver/lib64", "/usr/local/Ascend/driver/include", "/usr/local/Ascend/driver/topo",
	"/usr/local/Ascend/driver/version.info", "/usr/local/dcmi", "/usr/local/bin/npu-smi",
	"/etc/hccl_rootinfo.json", "/var/queue_schedule",
}

// Edits implements device.Adapter. Huawei's own container runtime, where it is the
// default, is told to add nothing ("void").
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		for _, m := range mounts {
			e.Mounts = append(e.Mounts, device.Mount{Host: m, Container: m})
		}
		e.Env = map[string]string{"ASCEND_VISIBLE_DEVICES": "void"}
	}
	return e
}
