package drm

import (
	"bufio"
	"bytes"
	"path"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// class is where the kernel lists the files of /dev/dri, among others.
const class = "sys/class/drm"

// entriesMax bounds what is looked at. A machine with 64 partitions has 128 files, and
// some connectors of screens.
const entriesMax = 8192

// Device is one device with files in /dev/dri.
type Device struct {
	// Name of the device in the kernel: a PCI address in the form of
	// device.Function.Address, or a name such as "amdgpu_xcp_0".
	Name string
	// Card and Render are the names of its files, "card0" and "renderD128"; "" if it
	// has none.
	Card, Render string
	// Dir is the directory with the device's own files, without a leading slash.
	Dir string
}

// Index is the devices with files in /dev/dri.
type Index struct {
	devices []*Device
	byName  map[string]*Device
}

// Read lists them.
func Read(h *device.Host) *Index {
	x := &Index{byName: map[string]*Device{}}
	entries := h.Dir(class)
	for _, e := range entries[:min(len(entries), entriesMax)] {
		card, render := numbered(e, "card"), numbered(e, "renderD")
		if !card && !render {
			continue // a connector of a screen
		}
		name := of(h, e)
		if name == "" {
			continue
		}
		d := x.byName[name]
		if d == nil {
			d = &Device{Name: name, Dir: path.Join(class, e, "device")}
			x.devices, x.byName[name] = append(x.devices, d), d
		}
		if card && d.Card == "" {
			d.Card = e
		} else if render && d.Render == "" {
			d.Render = e
		}
	}
	return x
}

// Devices are all, in the order of their files' names.
func (x *Index) Devices() []*Device { return x.devices }

// Named returns the device of that name; its files are none if it has no entry.
func (x *Index) Named(name string) (*Device, bool) {
	d, ok := x.byName[name]
	return d, ok
}

// Rendering returns the device of a render file, "renderD128".
func (x *Index) Rendering(file string) (*Device, bool) {
	for _, d := range x.devices {
		if d.Render == file {
			return d, true
		}
	}
	return nil, false
}

// Dir is where the files of the PCI function at an address are, without a leading
// slash: in the list of the bus, else behind the links of its files in /dev/dri.
func (x *Index) Dir(h *device.Host, address string) string {
	dir := "sys/bus/pci/devices/" + address
	if d, ok := x.byName[address]; ok && !h.Exists(dir) {
		return d.Dir
	}
	return dir
}

// Function is the PCI function that d is, by its own files; for copies of a machine
// without the list of the bus.
func (d *Device) Function(h *device.Host) *device.Function {
	hex := func(file string, digits int) string {
		s, ok := strings.CutPrefix(strings.ToLower(h.String(d.Dir, file)), "0x")
		if _, err := strconv.ParseUint(s, 16, 32); !ok || err != nil || len(s) != digits {
			return ""
		}
		return s
	}
	return &device.Function{
		Address: d.Name, Vendor: hex("vendor", 4), Device: hex("device", 4), Class: hex("class", 6),
		SubVendor: hex("subsystem_vendor", 4), SubDevice: hex("subsystem_device", 4), Driver: h.Link(d.Dir, "driver"),
	}
}

// of tells which device an entry is of. Copies of a machine may have a directory in
// place of the link; then its uevent says it.
func of(h *device.Host, entry string) string {
	name := h.Link(class, entry, "device")
	if name == "" {
		name = slot(h.String(class, entry, "device", "uevent"))
	}
	if address, ok := device.Address(name); ok {
		return address
	}
	return name
}

func slot(uevent string) string {
	lines := bufio.NewScanner(bytes.NewReader([]byte(uevent)))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "PCI_SLOT_NAME="); ok {
			return value
		}
	}
	return ""
}

// numbered reports whether name is the prefix and a number, and nothing more.
func numbered(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	_, err := strconv.ParseUint(rest, 10, 31)
	return ok && err == nil
}

// Files describes the files of d that programs open. The render file is what
// computing needs, and its error is returned; the card's is given where it is there.
func Files(h *device.Host, card, render string) ([]device.Node, error) {
	var nodes []device.Node
	if card != "" {
		if n, err := h.Node("/dev/dri/"+card, false); err == nil {
			nodes = append(nodes, n)
		}
	}
	if render == "" {
		return nodes, nil
	}
	n, err := h.Node("/dev/dri/"+render, false)
	if err != nil {
		return nodes, err
	}
	return append(nodes, n), nil
}
