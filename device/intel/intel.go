package intel

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/pci"
)

var family = pci.Family{
	Vendor: "intel", Kind: device.GPU, Numbers: []string{"8086"}, Software: "xpu",
	Classes: []string{"0380"}, Only: []string{"0300", "0302", "0380"},
}

// inside is where graphics inside a processor are, on every machine. A guest may have a
// card there; the catalogue knows it.
var inside = regexp.MustCompile(`^0000:00:02\.[0-7]$`)

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
func (*Adapter) Name() string { return "intel" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return owns(f) }

func owns(f *device.Function) bool {
	if !family.Owns(f) {
		return false
	}
	p, ok := catalogue.ByID(f.ID())
	return ok && p.Kind == device.GPU || !ok && !inside.MatchString(f.Address)
}

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	files := drm.Read(h)
	var devices []device.Device
	var errs []error
	for _, f := range h.Owned(owns) {
		d := family.Device(h, f)
		entry, ok := files.Named(f.Address)
		if !ok {
			entry = &drm.Device{}
		}
		dir := files.Dir(h, f.Address)
		d.Memory = memory(h, entry.Card, dir)
		d.Health = health(h, dir)
		var err error
		d.Nodes, err = drm.Files(h, entry.Card, entry.Render)
		errs = append(errs, missing(&d, err))
		devices = append(devices, d)
	}
	errs = append(errs, ask(ctx, h, devices))
	return devices, errors.Join(errs...)
}

// memory is the memory of a card in bytes, 0 where the driver does not tell, as those of
// Linux mostly do not. Versions of xe tell it of each tile, with what the firmware keeps
// for itself; those of i915 that Intel publishes apart tell it of the card.
func memory(h *device.Host, card, dir string) int64 {
	var sum int64
	for tile := range 8 {
		n, ok := h.Int(dir, fmt.Sprintf("tile%d", tile), "physical_vram_size_bytes")
		if ok && n > 0 && n < 1<<50 {
			sum += n
		}
	}
	if sum > 0 || card == "" {
		return sum
	}
	if n, ok := h.Int("sys/class/drm", card, "lmem_total_bytes"); ok && n > 0 && n < 1<<50 {
		return n
	}
	return 0
}

// health is Failed while xe shows the file survivability_mode: the firmware is broken
// and must be written anew. That the file is not there says nothing of older cards.
func health(h *device.Host, dir string) device.Health {
	if !h.Exists(dir, "survivability_mode") {
		return device.Health{State: device.Unknown}
	}
	return device.Of(device.Fault{Code: "firmware-failed", State: device.Failed,
		Message: "the driver xe is in survivability mode; write the card's firmware anew"})
}

// missing says what keeps a card from being used. A virtual function and one that is
// passed to a virtual machine need no file here.
func missing(d *device.Device, err error) error {
	p := device.Problem{Where: d.PCI.Address}
	switch {
	case err != nil:
		p.What = fmt.Sprintf("its device file cannot be used: %v; containers cannot be given it", err)
	case len(d.Nodes) > 0 || d.Health.State == device.Failed || strings.Contains(d.PCI.Driver, "vfio") || d.PCI.Driver == "" && d.Form == device.VF:
		return nil
	case d.PCI.Driver == "":
		p.What = "has no driver, so it cannot be used; load xe or i915"
	default:
		p.What = "has no file in /dev/dri, so containers cannot be given it; the kernel's log tells why " + d.PCI.Driver + " made none"
	}
	return p
}

// Edits implements device.Adapter. Programs see the GPUs whose files they are given.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
