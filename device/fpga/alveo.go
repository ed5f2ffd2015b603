package fpga

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
)

// Drivers of XRT: one for a card's management, one for programs.
const (
	managing = "xclmgmt"
	using    = "xocl"
)

// alveo reads what XRT's drivers say of a card: its serial number, and the firmware
// of the controller on it. Both drivers show the files of the controller in a
// directory named for it, such as "xmc.u.12582912".
func alveo(h *device.Host, files *drm.Index, functions []*device.Function, d *device.Device) error {
	render := ""
	for _, f := range functions {
		for _, e := range h.Dir(dir(f)) {
			if strings.HasPrefix(e, "xmc.") || strings.HasPrefix(e, "hwmon_sdm.") {
				at := path.Join(dir(f), e)
				d.Serial = cmp.Or(d.Serial, word(h.String(at, "serial_num")))
				d.Driver.Firmware = cmp.Or(d.Driver.Firmware, word(h.String(at, "bmc_ver")))
			}
		}
		if f.Driver == using {
			d.Driver.Module, d.Driver.Version = using, h.String("sys/module", using, "version")
		}
		if x, ok := files.Named(f.Address); ok {
			render = cmp.Or(render, x.Render)
		}
	}
	if d.Serial != "" {
		d.UUID = "alveo-" + d.Serial
	}
	where := d.PCI.Address
	if render == "" {
		return device.Problem{Where: where, What: fmt.Sprintf("has no render file; load the driver %s of XRT to use the card", using)}
	}
	var err error
	if d.Nodes, err = drm.Files(h, "", render); err != nil {
		return device.Problem{Where: where, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	return nil
}

// word is what a driver calls something, if it is fit to be printed.
func word(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }) || strings.Trim(s, "-0") == "" {
		return ""
	}
	return s
}
