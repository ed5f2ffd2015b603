package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// dir is where the kernel lists the functions of all PCI buses.
const dir = "sys/bus/pci/devices"

// functionsMax bounds what is read. Machines with thousands of virtual functions
// have fewer.
const functionsMax = 16384

// readersMax is how many functions are read at a time: most of it is waiting for the
// kernel.
const readersMax = 4

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
	found, bad := make([]device.Function, len(names)), make([]error, len(names))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range readersMax {
		readers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
				bad[i] = read(h, names[i], &found[i])
			}
		})
	}
	readers.Wait()
	for i, err := range bad {
		if err == nil {
			out = append(out, found[i])
		} else {
			errs = append(errs, device.Problem{Where: path.Join(dir, names[i]), What: err.Error() + ", and is left out"})
		}
	}
	return out, errors.Join(errs...)
}

// read reads one function. Every file costs a way through the directories of its
// bridges, so that it opens none that it can do without: one file has all numbers,
// and the directory says which others there are.
func read(h *device.Host, name string, f *device.Function) error {
	address, ok := device.Address(name)
	if !ok || address != name { // rooms look files up by address
		return errors.New("is not named like a PCI function")
	}
	f.Address = address
	at := path.Join(dir, name)
	if to, err := fs.ReadLink(h.FS, at); err == nil {
		place(to, f)
		if real := path.Join(dir, to); strings.HasPrefix(real, "sys/") {
			at = real
		}
	}
	if !alias(h.String(at, "modalias"), f) {
		text := func(file string) string { return number(h.String(at, file)) }
		f.Vendor, f.Device, f.Class = text("vendor"), text("device"), text("class")
		f.SubVendor, f.SubDevice = text("subsystem_vendor"), text("subsystem_device")
	}
	if len(f.Vendor) != 4 || len(f.Device) != 4 {
		return errors.New("has no vendor and device number")
	}
	if len(f.Class) < 6 {
		f.Class = "" // not a class: what there is of it would mislead
	}
	if !candidate(f) {
		f.SubVendor, f.SubDevice = "", ""
		return nil
	}
	details(h, at, f)
	return nil
}

func details(h *device.Host, at string, f *device.Function) {
	files := map[string]bool{}
	for _, file := range h.Dir(at) {
		files[file] = true
	}
	text := func(file string) string {
		if !files[file] {
			return ""
		}
		return h.String(at, file)
	}
	base := func(file string) string {
		if !files[file] {
			return ""
		}
		return h.Link(at, file)
	}
	f.Driver, f.IOMMUGroup = base("driver"), base("iommu_group")
	if parent, ok := device.Address(base("physfn")); ok {
		f.Parent = parent
	}
	if n, ok := within(text("numa_node"), 1<<16-1); ok {
		f.NUMA = &n
	}
	f.Link = link(text("current_link_speed"), text("current_link_width"))
	f.LinkMax = link(text("max_link_speed"), text("max_link_width"))
	f.VFs, _ = within(text("sriov_numvfs"), 1<<16)
	f.VFsMax, _ = within(text("sriov_totalvfs"), 1<<16)
}

// alias reads the numbers out of modalias, as
// "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00". ok is false if it is not
// like that; f then is as it was.
func alias(s string, f *device.Function) (ok bool) {
	var n [7]string
	for i, field := range []struct {
		mark   string
		digits int
	}{{"pci:v0000", 4}, {"d0000", 4}, {"sv0000", 4}, {"sd0000", 4}, {"bc", 2}, {"sc", 2}, {"i", 2}} {
		rest, has := strings.CutPrefix(s, field.mark)
		if !has || len(rest) < field.digits {
			return false
		}
		n[i], s = strings.ToLower(rest[:field.digits]), rest[field.digits:]
		if number("0x"+n[i]) == "" {
			return false
		}
	}
	if s != "" {
		return false
	}
	f.Vendor, f.Device, f.SubVendor, f.SubDevice, f.Class = n[0], n[1], n[2], n[3], n[4]+n[5]+n[6]
	return true
}

// candidate reports whether a function may be an accelerator: bridges, disks,
// controllers of buses and the like are not.
func candidate(f *device.Function) bool {
	if f.Class == "" {
		return true
	}
	if slices.Contains([]string{"00", "02", "03", "04", "05", "0b", "12", "ff"}, f.Class[:2]) {
		return true
	}
	_, known := catalogue.ByID(f.ID()) // some accelerators say they are something else
	return known
}

// place reads the way from the root of PCI Express from the link in dir, which
// leads through all the bridges.
func place(to string, f *device.Function) {
	for _, e := range strings.Split(path.Dir(path.Clean(to)), "/") {
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

// within reads a number from 0 to most.
func within(s string, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most {
		return 0, false
	}
	return n, true
}
