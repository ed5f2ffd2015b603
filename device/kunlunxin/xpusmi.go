package kunlunxin

import (
	"fmt"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
	"polder.dev/polder/device/smi"
)

// program is Kunlunxin's xpu-smi. XPU-RT is what programs are written for, in the newest
// version that the driver serves.
var program = smi.Like("XPU", smi.Program{
	Name: "xpu-smi", Family: &baidu, Product: "Kunlunxin card",
	Card: card, Lacks: "XPU with a UUID; is it Intel's program?",
	Texts:  map[string][]string{"architecture": {"Product Architecture"}, "driver.firmware": {"Firmware Version", "ALL Version"}},
	Head:   map[string]string{"driver.stack": "XPU-RT Version"},
	Meters: meters,
	Costs:  "serial numbers, memory and health", Remedy: "install it with the driver's package",
	Files: "xpu", Control: []string{"/dev/xpuctrl"},
})

// card also reads "0x36862057", the numbers of the device and of the vendor.
func card(l *outline.Line) (smi.Card, bool) {
	c, ok := smi.Part(l, "XPU")
	id, hex := strings.CutPrefix(strings.ToLower(l.Text("PCI", "Device Id")), "0x")
	if hex && len(id) == 8 && strings.Trim(id, "0123456789abcdef") == "" {
		c.Function.Device, c.Function.Vendor = id[:4], id[4:]
	}
	return c, ok
}

func meters(l *outline.Line) (device.Health, *device.Reading) {
	r := smi.Meters(l, "XPU")
	r.Errors = smi.Errors(l, map[string]string{"DRAM Correctable": "ecc-corrected", "DRAM Uncorrectable": "ecc-uncorrected"})
	if n := r.Errors["ecc-uncorrected"]; n > 0 {
		return device.Of(device.Fault{Code: "ecc-uncorrected", Message: fmt.Sprintf("its memory had %d uncorrected errors since the driver was loaded", n), State: device.Degraded}), r
	}
	if r.Errors == nil {
		return device.Health{State: device.Unknown}, r
	}
	return device.Of(), r
}
