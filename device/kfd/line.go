package kfd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/pci"
)

// Line is a vendor's line of GPUs that KFD drives.
type Line struct {
	Family *pci.Family
	// Owns reports whether a PCI function is one of the line.
	Owns func(*device.Function) bool
	// Vendor is the vendor's number on the bus, as KFD gives it.
	Vendor uint64
	// Module of the kernel that KFD is a part of, "" if it is not known.
	Module string
	// Prefix of UUIDs, which are made of it and the number the vendor gave the GPU.
	Prefix string
	// Split tells whether the GPU whose files are in dir is in partitions, by the
	// driver's word; nil if nobody knows. That KFD shows several is seen without it.
	Split func(h *device.Host, dir string) bool
}

// Found is a device with what the driver tells of it.
type Found struct {
	Device device.Device
	// Node of KFD, nil if it does not know the device.
	Node *Node
	// Dir has the driver's files of the whole GPU, without a leading slash.
	Dir string
}

// Find returns the devices of the line, by place. Of a GPU that KFD does not know
// there is what the bus tells. The error tells of what is missing.
func (l *Line) Find(h *device.Host) ([]Found, error) {
	nodes, err := Read(h)
	errs := []error{err}
	b := builder{Line: l, h: h, files: drm.Read(h), at: map[string]*device.Function{}, spots: map[string][]spot{}}
	for i := range h.Functions {
		if f := &h.Functions[i]; slices.Contains(l.Family.Numbers, f.Vendor) {
			b.at[f.Address] = f
		}
	}
	for i := range nodes {
		b.add(&nodes[i])
	}
	found, err := b.build()
	errs = append(errs, err)
	for _, f := range append(h.Owned(l.Owns), b.drawn()...) {
		if _, known := b.spots[f.Address]; !known {
			found = append(found, b.plain(f))
		}
	}
	slices.SortStableFunc(found, func(x, y Found) int {
		if c := strings.Compare(x.Device.PCI.Address, y.Device.PCI.Address); c != 0 {
			return c
		}
		return x.Device.Ordinal - y.Device.Ordinal
	})
	return found, errors.Join(errs...)
}

// builder makes devices of nodes.
type builder struct {
	*Line
	h     *device.Host
	files *drm.Index
	at    map[string]*device.Function // by address
	spots map[string][]spot           // by address
	order []string                    // of addresses
}

// spot is a node at an address.
type spot struct {
	node      *Node
	partition int
}

// add puts a node where it belongs, if it is of the line. What the bus says of the
// vendor counts more than what the driver says.
func (b *builder) add(n *Node) {
	address, partition := n.Place(func(a string) bool { f := b.at[a]; return f != nil && b.Owns(f) })
	if _, here := b.at[address]; !here {
		if _, other := b.h.At(address); other || n.Properties["vendor_id"] != b.Vendor {
			return
		}
	}
	if _, seen := b.spots[address]; !seen {
		b.order = append(b.order, address)
	}
	b.spots[address] = append(b.spots[address], spot{n, partition})
}

func (b *builder) build() ([]Found, error) {
	var out []Found
	var errs []error
	byNode := map[int]int{}
	for _, address := range b.order {
		spots := b.spots[address]
		slices.SortStableFunc(spots, func(x, y spot) int { return x.partition - y.partition })
		split := spots[len(spots)-1].partition > 0 || b.Split != nil && b.Split(b.h, b.files.Dir(b.h, address))
		next := 0
		for _, s := range spots {
			// Two nodes that say the same of their place are told apart by order.
			ordinal := max(s.partition, next)
			next = ordinal + 1
			f, err := b.device(address, s.node, ordinal, split)
			errs = append(errs, err)
			byNode[s.node.Number] = len(out)
			out = append(out, f)
		}
	}
	for i := range out {
		out[i].Device.Links = join(out, byNode, i)
	}
	return out, errors.Join(append(errs, b.share(out))...)
}

func (b *builder) device(address string, n *Node, ordinal int, split bool) (Found, error) {
	f := b.at[address]
	if f == nil {
		f = &device.Function{Address: address, Vendor: fmt.Sprintf("%04x", b.Vendor), Device: fmt.Sprintf("%04x", n.Properties["device_id"]&0xffff)}
	}
	found := b.plain(f)
	d := &found.Device
	found.Node, d.Ordinal = n, ordinal
	if d.Driver.Module == "" && b.Module != "" {
		d.Driver = device.Driver{Module: b.Module, Version: b.h.String("sys/module", b.Module, "version")}
	}
	d.Architecture, d.Units, d.Fabric = n.Architecture(), n.Units(), n.Fabric()
	var system bool
	if d.Memory, system = n.Memory(); system {
		d.Note(device.Origin{From: fmt.Sprintf("%s/%d/mem_banks", dir, n.Number), Source: "memory of the machine, which the processors share"}, "memory")
	}
	if id := unique(n.Properties["unique_id"]); id != "" {
		d.UUID = b.Prefix + "-" + id
	}
	switch {
	case split:
		d.Form, d.Parent = device.XCP, d.UUID
		fallthrough
	case ordinal > 0:
		if d.UUID != "" {
			d.UUID += fmt.Sprintf("-%d", ordinal)
		}
	}
	return found, b.open(&found)
}

// plain is a device of which only the bus and the driver's own files tell.
func (b *builder) plain(f *device.Function) Found {
	found := Found{Device: b.Family.Device(b.h, f), Dir: b.files.Dir(b.h, f.Address)}
	d := &found.Device
	if files, ok := b.files.Named(f.Address); ok {
		d.Nodes, _ = drm.Files(b.h, files.Card, files.Render)
	}
	if id := Unique(b.h.String(found.Dir, "unique_id")); id != "" {
		d.UUID = b.Prefix + "-" + id
	}
	return found
}

// drawn are the functions of the line that only sys/class/drm knows: a copy of a
// machine may have no more.
func (b *builder) drawn() []*device.Function {
	var out []*device.Function
	for _, d := range b.files.Devices() {
		if _, ok := device.Address(d.Name); !ok {
			continue
		}
		if _, known := b.h.At(d.Name); known {
			continue
		}
		if f := d.Function(b.h); b.Owns(f) {
			out = append(out, f)
		}
	}
	return out
}
