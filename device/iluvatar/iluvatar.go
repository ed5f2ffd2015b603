// Package iluvatar finds Iluvatar CoreX's GPUs. Package discovery lists it.
//
// The PCI bus shows the cards; memory, UUID and the number of the device file are
// asked of ixsmi, which prints XML much like that of nvidia-smi (`ixsmi -q -x`). Its
// elements are known from two programs that read it, one of which is tested on a
// capture of two MR-V100; only those that they read are read here. Errors of memory
// and links are not among them, so health is unknown.
package iluvatar

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/pci"
)

var family = pci.Family{Vendor: "iluvatar", Kind: device.GPU, Numbers: []string{"1e3e"}, Classes: []string{"1200", "0302"}, Only: []string{"1200", "0302"}, Software: "corex"}

// tool is where all comes from that the bus does not tell.
var tool = device.Origin{From: "ixsmi"}

// Adapter is the device.Adapter of this room. It also reads saved outputs of
// `ixsmi -q -x`.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "iluvatar" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	owned := h.Owned(family.Owns)
	if len(owned) == 0 {
		return nil, nil
	}
	cards, err := ask(ctx, h)
	var errs []error
	if err != nil {
		errs = append(errs, device.Problem{Where: tool.From, What: err.Error() + "; memory, UUID and device files of Iluvatar's cards are not known"})
	}
	var devices []device.Device
	for _, f := range owned {
		own := at(cards, f.Address)
		if len(own) == 0 {
			devices = append(devices, family.Device(h, f))
			if err == nil && f.Driver != "vfio-pci" {
				errs = append(errs, device.Problem{Where: f.Address, What: "ixsmi does not list it; its memory, UUID and device file are not known"})
			}
			continue
		}
		for n, c := range own {
			d := family.Device(h, f)
			d.Ordinal = n
			c.tell(&d)
			if err := c.open(h, &d); err != nil {
				errs = append(errs, err)
			}
			devices = append(devices, d)
		}
	}
	return devices, errors.Join(errs...)
}

// tell sets what ixsmi says of a card.
func (c *card) tell(d *device.Device) {
	if name := word(c.Name); name != "" {
		d.Product = name
		d.Note(tool, "product")
		if p, ok := catalogue.ByName(family.Vendor, name); ok {
			d.Product = p.Name
			d.Note(device.Origin{From: "catalogue"}, "product")
		}
	}
	d.UUID, d.Serial = word(c.UUID), word(c.Serial)
	if total, _ := c.memory(); total > 0 {
		d.Memory = total
		d.Note(tool, "memory")
	}
	d.Note(tool, "uuid", "serial", "reading")
	d.Reading = c.reading()
}

// open sets the device files: the card's, and the one that all share, where there is
// one.
func (c *card) open(h *device.Host, d *device.Device) error {
	n, err := c.file(h, d.PCI.Address)
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: err.Error()}
	}
	d.Nodes = []device.Node{n}
	if h.Exists("dev/itrctl") {
		if n, err := h.Node("/dev/itrctl", true); err == nil {
			d.Nodes = append(d.Nodes, n)
		}
	}
	return nil
}

// file is the card's device file: the one whose minor number ixsmi tells, else the
// one that the kernel lists below the card. Its name is by the minor number, not by
// the order of the cards.
func (c *card) file(h *device.Host, address string) (n device.Node, err error) {
	files := chardev.Read(h, "iluvatar")
	minor, told := count(c.Minor)
	f, listed := chardev.Minor(files, minor)
	if !told {
		f, listed = chardev.Of(files, address)
	}
	switch {
	case listed:
		n, err = f.Node(h, false)
	case !told:
		return n, errors.New("which of /dev/iluvatar* it is, ixsmi does not tell; containers cannot be given it")
	default:
		n, err = h.Node(fmt.Sprintf("/dev/iluvatar%d", minor), false)
		if err == nil && h.Live && n.Minor != minor {
			err = fmt.Errorf("%s has the minor number %d, the card has %d", n.Path, n.Minor, minor)
		}
	}
	if err != nil {
		err = fmt.Errorf("its device file cannot be used: %w", err)
	}
	return n, err
}

// Read implements device.Reader.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards, err := parse(output)
	if err != nil {
		return nil, err
	}
	var out []device.Device
	ordinal := map[string]int{}
	for i := range cards {
		c := &cards[i]
		d := device.Device{Kind: family.Kind, Vendor: family.Vendor, Product: "Iluvatar", Software: family.Software, Form: device.Whole, Health: device.Health{State: device.Unknown}}
		if a := c.address(); a != "" {
			d.PCI = &device.Function{Address: a}
			d.Ordinal = ordinal[a]
			ordinal[a]++
		}
		c.tell(&d)
		out = append(out, d)
	}
	return out, nil
}

// Measure implements device.Meter. A device that ixsmi no longer lists, though it
// lists others, has failed; how the others are, it does not say.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil
	}
	cards, err := ask(ctx, h)
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		if err != nil || d.PCI == nil || d.PCI.Driver == "vfio-pci" {
			continue
		}
		if own := at(cards, d.PCI.Address); d.Ordinal < len(own) {
			d.Reading = own[d.Ordinal].reading()
		} else if len(cards) > 0 {
			d.Health = device.Of(device.Fault{Code: "gpu-lost", State: device.Failed, Message: "ixsmi does not list it"})
		}
	}
	if err != nil {
		return device.Problem{Where: tool.From, What: err.Error() + "; meters are not known"}
	}
	return nil
}

// Edits implements device.Adapter. Iluvatar's container runtime, where it is the
// default, is told to add nothing, as GPUStack's CDI generator does.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) > 0 {
		e.Mounts = []device.Mount{{Host: "/usr/local/corex/lib64", Container: "/usr/local/corex/lib64"}}
		e.Env = map[string]string{"IX_VISIBLE_DEVICES": "void"}
	}
	return e
}
