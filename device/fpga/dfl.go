package fpga

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/hwmon"
)

// portsMax bounds the ports of a card that are looked at. DFL has at most four.
const portsMax = 64

// regions reads what the DFL drivers say of a card: the version of its fixed part,
// the ports, and which accelerator function is loaded behind each.
func regions(h *device.Host, functions []*device.Function, d *device.Device) error {
	engines := entries(h, functions, "dfl-fme.")
	for _, at := range engines {
		d.Driver.Firmware = cmp.Or(d.Driver.Firmware, word(h.String(at, "bitstream_id")))
	}
	if len(engines) > 0 {
		d.Health = health(h, engines)
	}
	ports := entries(h, functions, "dfl-port.")
	if len(ports) == 0 {
		return device.Problem{Where: d.PCI.Address, What: "has no port in fpga_region; load the driver " + dfl + " to use the card"}
	}
	var errs []error
	for _, at := range ports[:min(len(ports), portsMax)] {
		if id := word(h.String(at, "afu_id")); id != "" {
			d.Features = append(d.Features, "afu-"+strings.ToLower(id))
		}
		file := chardev.File{Path: "/dev/" + path.Base(at)}
		if n, err := fmt.Sscanf(h.String(at, "dev"), "%d:%d", &file.Major, &file.Minor); n != 2 || err != nil || file.Major <= 0 || file.Minor < 0 {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "the kernel does not tell the numbers of " + file.Path + "; containers are not given it"})
			continue
		}
		n, err := file.Node(h, false)
		if err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its port cannot be used: %v", err)})
			continue
		}
		d.Nodes = append(d.Nodes, n)
	}
	return errors.Join(errs...)
}

// entries are the directories of a kind, "dfl-port.", in the regions of a card.
func entries(h *device.Host, functions []*device.Function, prefix string) []string {
	var out []string
	for _, f := range functions {
		for _, region := range h.Dir(dir(f), "fpga_region") {
			for _, e := range h.Dir(dir(f), "fpga_region", region) {
				digits, ok := strings.CutPrefix(e, prefix)
				if _, err := strconv.ParseUint(digits, 10, 31); ok && err == nil {
					out = append(out, path.Join(dir(f), "fpga_region", region, e))
				}
			}
		}
	}
	return out
}

// revision are bits of an error register that say which it is, not what is wrong.
const revision = 0xf << 56

// registers of errors that an FME has (Documentation/ABI/testing/sysfs-platform-dfl-fme):
// each holds a bit per error until somebody clears it.
var registers = []struct {
	file  string
	state device.State
}{
	{"catfatal_errors", device.Failed},
	{"nonfatal_errors", device.Degraded},
	{"fme_errors", device.Degraded},
	{"pcie0_errors", device.Degraded},
	{"pcie1_errors", device.Degraded},
}

// health is what the registers of management engines hold; Unknown if none is there.
func health(h *device.Host, engines []string) device.Health {
	var faults []device.Fault
	read := false
	for _, at := range engines {
		for _, r := range registers {
			bits, err := strconv.ParseUint(h.String(at, "errors", r.file), 0, 64)
			if err != nil {
				continue
			}
			read = true
			if bits &^= revision; bits != 0 {
				faults = append(faults, device.Fault{Code: strings.ReplaceAll(r.file, "_", "-"), Message: fmt.Sprintf("its register %s holds %#x", r.file, bits), State: r.state})
			}
		}
	}
	if !read {
		return device.Health{State: device.Unknown}
	}
	return device.Of(faults...)
}

// reading is what the engines' meters say, nil if there are none.
func reading(h *device.Host, engines []string) *device.Reading {
	var r device.Reading
	for _, at := range engines {
		if s, ok := hwmon.Find(h, at, "dfl_fme_thermal"); ok {
			r.Temperature = s.Milli("temp", 1, "input")
		}
		if s, ok := hwmon.Find(h, at, "dfl_fme_power"); ok {
			r.Power = s.Micro("power", 1, "input")
		}
	}
	if r.Temperature == nil && r.Power == nil {
		return nil
	}
	return &r
}
