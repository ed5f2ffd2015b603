package amd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// smi is the program of ROCm, with what makes it tell all it knows.
const smi = "rocm-smi"

var smiArgs = []string{"-a", "--json"}

// ask has rocm-smi tell what files lack. That it is not installed is no problem.
func ask(ctx context.Context, h *device.Host, devices []device.Device) error {
	wanted := slices.ContainsFunc(devices, func(d device.Device) bool {
		return d.Driver.Module == module && (d.Driver.Version == "" || d.Serial == "" || d.Memory == 0)
	})
	if !wanted || h.Run == nil {
		return nil
	}
	output, err := h.Run(ctx, smi, smiArgs...)
	if errors.Is(err, device.ErrNoTool) {
		return nil
	}
	var r *report
	if err == nil {
		r, err = parse(output)
	}
	if err != nil {
		return device.Problem{Where: smi, What: fmt.Sprintf("cannot be used (%v); serial numbers and the version of the driver are not known unless its files tell", err)}
	}
	for i := range devices {
		r.fill(&devices[i])
	}
	return nil
}

// fill sets of d what is not known.
func (r *report) fill(d *device.Device) {
	i := slices.IndexFunc(r.cards, func(c card) bool {
		a, ok := device.Address(c.get("PCI Bus"))
		return ok && a == d.PCI.Address
	})
	if i < 0 {
		return
	}
	c := &r.cards[i]
	set := func(field *string, value, name string) {
		if *field == "" && value != "" {
			*field = value
			d.Note(device.Origin{From: smi}, name)
		}
	}
	set(&d.Serial, c.get("Serial Number"), "serial")
	set(&d.Driver.Firmware, c.get("VBIOS version"), "driver.firmware")
	if d.Driver.Module == module {
		set(&d.Driver.Version, known(r.system["Driver version"]), "driver.version")
	}
	if d.Memory == 0 && d.Form == device.Whole {
		if d.Memory = c.bytes("VRAM Total Memory (B)"); d.Memory > 0 {
			d.Note(device.Origin{From: smi}, "memory")
		}
	}
	if before := d.Product; strings.HasPrefix(before, "device ") {
		if name(d, c.get("Card series", "Card Series", "Device Name")); d.Product != before {
			d.Note(device.Origin{From: smi}, "product")
		}
	}
}
