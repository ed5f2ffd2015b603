package amd

import (
	"context"
	"errors"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/kfd"
	"polder.dev/polder/device/pci"
)

// module is the kernel's driver, of which KFD is a part.
const module = "amdgpu"

// Of class 0300 there are graphics for consoles under the same number, so the class
// alone does not make a GPU of them; see owns.
var family = pci.Family{
	Vendor: "amd", Kind: device.GPU, Numbers: []string{"1002"}, Software: "rocm",
	Classes: []string{"0302", "0380", "1200"}, Only: []string{"03", "12"},
}

var line = kfd.Line{Family: &family, Owns: owns, Vendor: 0x1002, Module: module, Prefix: "amd", Split: split}

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
func (*Adapter) Name() string { return "amd" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return owns(f) }

func owns(f *device.Function) bool {
	return family.Owns(f) || f.Vendor == "1002" && strings.HasPrefix(f.Class, "0300") && f.Driver == module
}

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	found, err := line.Find(h)
	errs := []error{err}
	devices := make([]device.Device, len(found))
	for i := range found {
		describe(h, &found[i])
		errs = append(errs, missing(&found[i]))
		devices[i] = found[i].Device
	}
	errs = append(errs, ask(ctx, h, devices))
	return devices, errors.Join(errs...)
}

// describe adds what amdgpu's files tell.
func describe(h *device.Host, f *kfd.Found) {
	d := &f.Device
	name(d, h.String(f.Dir, "product_name"))
	d.Serial = known(h.String(f.Dir, "serial_number"))
	d.Driver.Firmware = known(h.String(f.Dir, "vbios_version"))
	if total, ok := h.Int(f.Dir, "mem_info_vram_total"); ok && total > 0 && d.Memory == 0 && d.Form != device.XCP {
		d.Memory = total // of a partition it would be the whole's
	}
	if _, noted := d.Provenance["memory"]; !noted && d.Memory > 0 && integrated[d.Architecture] {
		d.Note(device.Origin{From: f.Dir, Source: "memory of the machine, set aside for the graphics of its processor"}, "memory")
	}
	partition(h, f)
	if dies := stacks(h, f); d.Form == device.Whole {
		d.Partitions = dies
	}
	d.Health = health(h, f.Dir)
}

// integrated are the architectures that are only made as a part of a processor, by
// LLVM's user guide for AMDGPU.
var integrated = map[string]bool{
	"gfx902": true, "gfx909": true, "gfx90c": true, "gfx1013": true, "gfx1033": true, "gfx1035": true,
	"gfx1036": true, "gfx1103": true, "gfx1150": true, "gfx1151": true, "gfx1152": true, "gfx1153": true,
}

// missing says what a GPU lacks that KFD does not know. One that is passed to virtual
// machines lacks nothing.
func missing(f *kfd.Found) error {
	d := &f.Device
	p := device.Problem{Where: d.PCI.Address}
	switch {
	case f.Node != nil || strings.Contains(d.PCI.Driver, "vfio") || d.PCI.Driver == "" && d.PCI.Parent != "":
		return nil
	case d.PCI.Driver == "":
		p.What = "has no driver, so it cannot be used and its memory is not known; load amdgpu"
	case d.PCI.Driver == module:
		p.What = "is driven by amdgpu but unknown to KFD, so ROCm cannot use it; ROCm's list of supported GPUs tells whether it could"
	default:
		p.What = "is driven by " + d.PCI.Driver + ", not by amdgpu, so ROCm cannot use it"
	}
	return p
}

// known is a text that says something: drivers and programs write "N/A", "0" or
// nothing where a card does not tell.
func known(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || s == "0" || len(s) > 256 || strings.HasPrefix(strings.ToUpper(s), "N/A") {
		return ""
	}
	return s
}

// Edits implements device.Adapter. There are no variables: ROCm in a container sees
// the GPUs whose files it is given, and counts them from 0.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
