// Package furiosa finds FuriosaAI's accelerators, RNGD and Warboy. Package discovery
// lists it.
//
// It reads the files of RNGD's driver in sys/class/rngd_mgmt, the names in dev/rngd,
// and the sensors of the PCI function. Warboy has another driver, whose files are not
// documented: of it, only the PCI function and the sensors are known. Memory is in
// none of these; the program furiosa-smi, which does not print it either, is not run,
// but its saved output is understood. Health is not known.
package furiosa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/hwmon"
	"polder.dev/polder/device/pci"
)

// class is where the driver tells of its devices and of each of their files, as
// "rngd!npu0mgmt" and "rngd!npu0pe0"; nodes is where the files are, as npu0mgmt.
const (
	class = "sys/class/rngd_mgmt"
	nodes = "dev/rngd"
)

// Limits of what is believed of a machine. A device has some 30 files.
const (
	devicesMax = 256
	filesMax   = 1 << 14
)

var family = pci.Family{Vendor: "furiosa", Kind: device.NPU, Numbers: []string{"1ed2"}, Classes: []string{"1200"}, Software: "furiosa"}

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
func (*Adapter) Name() string { return "furiosa" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	devices := family.Devices(h)
	if len(devices) == 0 {
		return nil, nil
	}
	numbers, files := numbers(h), files(h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		d.Reading = meters(h, d.PCI.Address)
		n, ok := numbers[d.PCI.Address]
		if !ok {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no entry in /" + class + " and cannot be used; load the driver furiosa_rngd, unless it is a Warboy, whose driver is not known here"})
			continue
		}
		if err := read(h, n, files[n], d); err != nil {
			errs = append(errs, err)
		}
	}
	return devices, errors.Join(errs...)
}

// split takes "npu0pe4" apart: 0 and "pe4".
func split(name string) (n int, rest string, ok bool) {
	name, ok = strings.CutPrefix(name, "npu")
	digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]
	n, err := strconv.Atoi(digits)
	return n, name[len(digits):], ok && err == nil && strconv.Itoa(n) == digits
}

// numbers are the driver's numbers of devices, by PCI address.
func numbers(h *device.Host) map[string]int {
	out := map[string]int{}
	entries := h.Dir(class)
	for _, e := range entries[:min(len(entries), filesMax)] {
		n, rest, ok := split(strings.TrimPrefix(e, "rngd!"))
		if !ok || rest != "mgmt" || len(out) == devicesMax {
			continue
		}
		if address, ok := device.Address(h.String(class, e, "busname")); ok {
			out[address] = n
		}
	}
	return out
}

// files are the names in dev/rngd by the driver's numbers: for management, memory and
// the transfer of data, and one for each core and group of cores. Where dev is not
// there, they are what the driver tells of them.
func files(h *device.Host) map[int][]string {
	names := h.Dir(nodes)
	if len(names) == 0 {
		names = h.Dir(class)
	}
	out := map[int][]string{}
	for _, name := range names[:min(len(names), filesMax)] {
		name = strings.TrimPrefix(name, "rngd!")
		if n, rest, ok := split(name); ok && rest != "" {
			out[n] = append(out[n], name)
		}
	}
	return out
}

// read fills d with what the driver tells of a device.
func read(h *device.Host, n int, files []string, d *device.Device) error {
	at := fmt.Sprintf("%s/rngd!npu%dmgmt", class, n)
	d.UUID = h.String(at, "device_uuid")
	d.Serial = h.String(at, "device_sn")
	d.Driver.Firmware = h.String(at, "fw_version")
	if v := h.String(at, "version"); v != "" {
		d.Driver.Version = v
	}
	d.Units = cores(files)
	for _, name := range files {
		node, err := h.Node("/"+nodes+"/"+name, false)
		if err != nil {
			d.Nodes = nil
			return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device files cannot be used: %v", err)}
		}
		d.Nodes = append(d.Nodes, node)
	}
	if d.Units == 0 {
		d.Nodes = nil
		return device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("has no files /%s/npu%dpe0 and so on, and cannot be used; look at the kernel's log", nodes, n)}
	}
	return nil
}

// cores counts the files of single cores: "npu0pe4", but not "npu0pe4-7".
func cores(files []string) int {
	count := 0
	for _, name := range files {
		_, rest, _ := split(name)
		digits, ok := strings.CutPrefix(rest, "pe")
		if _, err := strconv.ParseUint(digits, 10, 16); ok && err == nil {
			count++
		}
	}
	return count
}

// meters reads the sensors of a function; nil if there are none.
func meters(h *device.Host, address string) *device.Reading {
	s, ok := hwmon.Find(h, "sys/bus/pci/devices/"+address)
	if !ok {
		return nil
	}
	r := &device.Reading{Temperature: s.Temperature("PEAK", "Peak"), Power: s.Micro("power", 1, "average")}
	if r.Temperature == nil && r.Power == nil {
		return nil
	}
	return r
}

// Edits implements device.Adapter. Programs find out about their device in the
// driver's files, which a container has anyway.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(_ context.Context, h *device.Host, devices []device.Device) error {
	for i := range devices {
		if d := &devices[i]; d.PCI != nil {
			d.Reading = meters(h, d.PCI.Address)
		}
	}
	return nil
}

// product is the product of an architecture as furiosa-smi calls it, "rngd".
func product(arch string) string {
	if p, ok := catalogue.ByName("furiosa", arch); ok {
		return p.Name
	}
	return arch
}

// sortByAddress puts devices into a stable order.
func sortByAddress(devices []device.Device) {
	slices.SortFunc(devices, func(a, b device.Device) int { return strings.Compare(a.PCI.Address, b.PCI.Address) })
}
