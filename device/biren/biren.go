// Package biren finds Biren's accelerators, such as BR100. Package discovery lists it.
//
// Biren's number on the PCI bus is not documented, so a function is known by its
// driver alone: without the driver biren nothing is found. It reads sys/class/biren
// and the names in dev/biren. What a card is called, its memory and its health are not
// known: the driver's files of them and the output of the program brsmi are not
// documented. Parts that a card was split into have files like whole cards, and are
// taken for such.
package biren

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

// class is where the driver tells of its cards, as card_0, and nodes is where their
// files are.
const (
	class = "sys/class/biren"
	nodes = "dev/biren"
)

// cardsMax bounds what is believed of a machine.
const cardsMax = 256

var family = pci.Family{Vendor: "biren", Kind: device.GPU, Software: "supa"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "biren" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return f.Driver == "biren" }

// Discover implements device.Adapter.
func (a *Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	functions := map[string]*device.Function{}
	for _, f := range h.Owned(a.Owns) {
		functions[f.Address] = f
	}
	var devices []device.Device
	var errs []error
	count := map[string]int{} // of cards by address
	for _, n := range cards(h) {
		name := "card_" + strconv.Itoa(n)
		d := device.Device{Kind: family.Kind, Vendor: family.Vendor, Software: family.Software, Form: device.Whole, Health: device.Health{State: device.Unknown}}
		address, ok := device.Address(h.Link(class, name, "device"))
		if f := functions[address]; ok && f != nil {
			d = family.Device(h, f)
		} else if ok {
			d.PCI = &device.Function{Address: address}
		}
		d.Product = "Biren card"
		if ok {
			d.Ordinal = count[address]
			count[address]++
		}
		if err := open(h, &d, name); err != nil {
			errs = append(errs, err)
		}
		devices = append(devices, d)
	}
	for _, f := range h.Owned(a.Owns) {
		if count[f.Address] == 0 {
			d := family.Device(h, f)
			d.Product = "Biren card"
			devices = append(devices, d)
			errs = append(errs, device.Problem{Where: f.Address, What: "has no entry in /" + class + " and cannot be used; look at the log of the driver biren"})
		}
	}
	return devices, errors.Join(errs...)
}

// cards are the driver's numbers of its cards, or those in dev where sysfs is hidden.
func cards(h *device.Host) []int {
	for _, dir := range []string{class, nodes} {
		var out []int
		for _, name := range h.Dir(dir) {
			digits, ok := strings.CutPrefix(name, "card_")
			if n, err := strconv.Atoi(digits); ok && err == nil && n >= 0 && strconv.Itoa(n) == digits && len(out) < cardsMax {
				out = append(out, n)
			}
		}
		if len(out) > 0 {
			slices.Sort(out)
			return out
		}
	}
	return nil
}

func open(h *device.Host, d *device.Device, name string) error {
	n, err := h.Node("/"+nodes+"/"+name, false)
	if err != nil {
		return device.Problem{Where: name, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	d.Nodes = []device.Node{n}
	if !h.Exists("dev/biren-m") { // drivers that have it need it
		return nil
	}
	shared, err := h.Node("/dev/biren-m", true)
	if err != nil {
		return device.Problem{Where: name, What: fmt.Sprintf("the driver's control file cannot be used: %v", err)}
	}
	d.Nodes = append(d.Nodes, shared)
	return nil
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
