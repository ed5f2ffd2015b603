// Package cambricon finds Cambricon's MLUs. Package discovery lists it.
//
// It reads the driver's file information of each card, which names the card and its
// device file; its form is known from the source of the driver (cambricon-drv,
// cndrv_proc.c). Memory, health and links are in no file. The program cnmon, which
// prints tables for people, is not asked: no description of them is known. What a
// product's memory is, the catalogue may tell.
package cambricon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/pci"
)

// mlus is where the driver tells of its cards, by PCI address.
const mlus = "proc/driver/cambricon/mlus"

// The vendor sells nothing else under this number. The class of its cards is not
// known for certain (1200, unconfirmed), and the driver's own list is believed before
// it.
var family = pci.Family{Vendor: "cambricon", Kind: device.NPU, Numbers: []string{"cabc"}, Classes: []string{"1200", "0b40"}, Only: []string{"12", "0b", "03", "04", "ff"}, Software: "neuware"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var _ device.Adapter = (*Adapter)(nil)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "cambricon" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// cardsMax bounds the cards of a machine.
const cardsMax = 1024

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	functions := h.Owned(family.Owns)
	told := map[string]string{} // by address
	for _, entry := range h.Dir(mlus) {
		address, ok := device.Address(entry)
		if !ok || len(told) == cardsMax {
			continue
		}
		told[address] = entry
		if slices.ContainsFunc(functions, func(f *device.Function) bool { return f.Address == address }) {
			continue
		}
		f, ok := h.At(address)
		if !ok {
			f = &device.Function{Address: address, Vendor: "cabc"} // a container without the bus
		}
		functions = append(functions, f)
	}
	slices.SortFunc(functions, func(a, b *device.Function) int { return strings.Compare(a.Address, b.Address) })
	var devices []device.Device
	var errs []error
	seen := map[string]int{} // serial numbers
	for _, f := range functions {
		d := family.Device(h, f)
		entry, ok := told[f.Address]
		if !ok && f.Driver != "vfio-pci" {
			errs = append(errs, device.Problem{Where: f.Address, What: "has no entry in /" + mlus + "; load the driver cambricon-drv to know its serial number and use it"})
		}
		if ok {
			info := parse(h.String(mlus, entry, "information"))
			identify(&d, info, seen)
			if err := open(h, &d, info); err != nil {
				errs = append(errs, err)
			}
		}
		devices = append(devices, d)
	}
	return devices, errors.Join(errs...)
}

// info is what the driver says of a card, "key: value" by line.
type info map[string]string

func parse(text string) info {
	out := info{}
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, ":")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if ok && v != "" && len(v) < 256 && len(out) < 64 && out[k] == "" {
			out[k] = v
		}
	}
	return out
}

// identify sets what the card is. Chips of one board, and virtual functions, may
// have its serial number in common: they are told apart by their order.
func identify(d *device.Device, i info, seen map[string]int) {
	if name := i["Device name"]; name != "" && name != "mlu-cambricon" {
		whole, virtual := strings.CutSuffix(name, "-VF")
		if virtual {
			d.Form = device.VF
		}
		d.Product = whole
		delete(d.Provenance, "product")
		if p, ok := catalogue.ByName(family.Vendor, whole); ok {
			d.Product = p.Name
			d.Note(device.Origin{From: "catalogue"}, "product")
		}
	}
	d.Driver.Version = cmp.Or(i["Driver Version"], d.Driver.Version)
	d.Driver.Firmware = i["MLU Firmware Version"]
	serial, ok := strings.CutPrefix(i["Board Serial Number"], "SN/")
	if serial = strings.ToLower(serial); !ok || strings.Trim(serial, "0") == "" || strings.Trim(serial, "0123456789abcdef") != "" {
		return
	}
	d.Serial, d.UUID = serial, "mlu-"+serial
	if n := seen[serial]; n > 0 {
		d.UUID += fmt.Sprintf("-%d", n)
	}
	seen[serial]++
}

// open sets the device files: the card's, whose path and numbers the driver tells,
// its channel for messages and those that all share, where they are.
func open(h *device.Host, d *device.Device, i info) error {
	file := i["Device inode path"]
	if !strings.HasPrefix(file, "/dev/cambricon") || path.Clean(file) != file {
		return device.Problem{Where: d.PCI.Address, What: "the driver does not tell its device file; containers cannot be given it"}
	}
	n, err := h.Node(file, false)
	if err == nil && h.Live && (fmt.Sprint(n.Major) != i["Device Major"] || fmt.Sprint(n.Minor) != i["Device Minor"]) {
		err = fmt.Errorf("%s has the numbers %d, %d, which are not the card's", file, n.Major, n.Minor)
	}
	if err != nil {
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	d.Nodes = []device.Node{n}
	more := []string{"/dev/cambricon_ctl", "/dev/cambricon_gdr"}
	if number, ok := strings.CutPrefix(file, "/dev/cambricon_dev"); ok {
		more = append(more, "/dev/cambricon_ipcm"+number)
	}
	for n, file := range more {
		if !h.Exists(strings.TrimPrefix(file, "/")) {
			continue
		}
		if node, err := h.Node(file, n < 2); err == nil {
			d.Nodes = append(d.Nodes, node)
		}
	}
	return nil
}

// Edits implements device.Adapter. Programs number the cards whose files they see,
// and need no variable; libraries are in the image.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}
