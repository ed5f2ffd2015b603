package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// dir is where the kernel lists the functions of all PCI buses.
const dir = "sys/bus/pci/devices"

// functionsMax bounds what is read. Machines with thousands of virtual functions
// have fewer.
const functionsMax = 16384

// Walk returns the functions of the PCI buses of root, by address. Of functions
// that cannot be accelerators, by their class, only the numbers are read. The
// error tells of functions left out; those that were read are returned all the
// same. A machine without PCI has none.
func Walk(root fs.FS) ([]device.Function, error) {
	h := &device.Host{FS: root}
	names := h.Dir(dir)
	var out []device.Function
	var errs []error
	if len(names) > functionsMax {
		errs = append(errs, device.Problem{Where: dir, What: fmt.Sprintf("has %d functions; only the first %d are looked at", len(names), functionsMax)})
		names = names[:functionsMax]
	}
	for _, name := range names {
		address, ok := device.Address(name)
		if !ok {
			errs = append(errs, device.Problem{Where: path.Join(dir, name), What: "is not named like a PCI function, and is left out"})
			continue
		}
		f := device.Function{Address: address}
		if err := read(h, name, &f); err != nil {
			errs = append(errs, device.Problem{Where: path.Join(dir, name), What: err.Error() + "; it is left out"})
			continue
		}
		out = append(out, f)
	}
	return out, errors.Join(errs...)
}

func read(h *device.Host, name string, f *device.Function) error {
	at := func(file string) string { return number(h.String(dir, name, file)) }
	f.Vendor, f.Device, f.Class = at("vendor"), at("device"), at("class")
	if len(f.Vendor) != 4 || len(f.Device) != 4 {
		return errors.New("has no vendor and device number")
	}
	if len(f.Class) < 6 {
		f.Class = "" // not a class: what there is of it would mislead
	}
	place(h, name, f)
	if !candidate(f) {
		return nil
	}
	f.SubVendor, f.SubDevice = at("subsystem_vendor"), at("subsystem_device")
	f.Driver = h.Link(dir, name, "driver")
	f.IOMMUGroup = h.Link(dir, name, "iommu_group")
	if parent, ok := device.Address(h.Link(dir, name, "physfn")); ok {
		f.Parent = parent
	}
	if n, ok := h.Int(dir, name, "numa_node"); ok && n >= 0 && n < 1<<16 {
		node := int(n)
		f.NUMA = &node
	}
	f.Link = link(h.String(dir, name, "current_link_speed"), h.String(dir, name, "current_link_width"))
	f.LinkMax = link(h.String(dir, name, "max_link_speed"), h.String(dir, name, "max_link_width"))
	f.VFs, f.VFsMax = count(h, name, "sriov_numvfs"), count(h, name, "sriov_totalvfs")
	return nil
}

// candidate reports whether a function may be an accelerator: bridges, disks,
// controllers of buses and the like are not.
func candidate(f *device.Function) bool {
	if f.Class == "" {
		return true
	}
	return slices.Contains([]string{"00", "02", "03", "04", "05", "0b", "12", "ff"}, f.Class[:2])
}

// place reads the way from the root of PCI Express from the link in dir, which
// leads through all the bridges.
func place(h *device.Host, name string, f *device.Function) {
	to, err := fs.ReadLink(h.FS, path.Join(dir, name))
	if err != nil {
		return
	}
	for _, e := range strings.Split(path.Dir(to), "/") {
		if address, ok := device.Address(e); ok && f.Root != "" {
			f.Bridges = append(f.Bridges, address)
		} else if strings.HasPrefix(e, "pci") && strings.Contains(e, ":") {
			f.Root, f.Bridges = e, nil // the last root: a domain of its own may lie behind a device
		}
	}
}

// number is what sysfs writes as 0x10de, without 0x; "" if it is none.
func number(s string) string {
	s, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if _, err := strconv.ParseUint(s, 16, 32); !ok || err != nil {
		return ""
	}
	return s
}

// generations are the speeds of a lane in GT/s, from the first generation on.
var generations = []string{"2.5", "5", "8", "16", "32", "64", "128"}

// link reads "32.0 GT/s PCIe" and "16". The zero link is one that is not known,
// as sysfs says it with "Unknown" and widths of 0, 63 or 255.
func link(speed, width string) device.PCIeLink {
	first, _, _ := strings.Cut(speed, " ")
	g := slices.Index(generations, strings.TrimSuffix(first, ".0")) + 1
	n, err := strconv.Atoi(width)
	if g == 0 || err != nil || n < 1 || n > 32 {
		return device.PCIeLink{}
	}
	return device.PCIeLink{Generation: g, Lanes: n}
}

func count(h *device.Host, name, file string) int {
	n, ok := h.Int(dir, name, file)
	if !ok || n < 0 || n > 1<<16 {
		return 0
	}
	return int(n)
}
