package pci

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

// FuzzFunction reads a function of which the files are any bytes. What comes out is
// in the form that device.Function promises.
func FuzzFunction(f *testing.F) {
	f.Add("pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00", "../../../devices/pci0000:3a/0000:3a:01.0/0000:3b:00.0", "32.0 GT/s PCIe", "16")
	f.Add("0x10de", "/etc/passwd", "Unknown", "255")
	f.Add("pci:v0000d0000sv0000sd0000bcsci", "../..//pci:/pci0000:0/0:0", "8 GT/s", "-1")
	f.Fuzz(func(t *testing.T, modalias, to, speed, width string) {
		var x device.Function
		if alias(modalias, &x) {
			for _, n := range []string{x.Vendor, x.Device, x.SubVendor, x.SubDevice, x.Class} {
				if (len(n) != 4 && len(n) != 6) || strings.Trim(n, "0123456789abcdef") != "" {
					t.Errorf("the number %q of %q is none", n, modalias)
				}
			}
		} else if x.Vendor != "" || x.Class != "" {
			t.Errorf("%q is no modalias, and left %+v", modalias, x)
		}
		place(to, &x)
		for _, b := range x.Bridges {
			if a, ok := device.Address(b); !ok || a != b {
				t.Errorf("the bridge %q of %q is no address", b, to)
			}
		}
		if l := link(speed, width); l != (device.PCIeLink{}) && (l.Generation < 1 || l.Lanes < 1 || l.Lanes > 32) {
			t.Errorf("%q and %q are read as %v", speed, width, l)
		}
		if n := number(speed); strings.Trim(n, "0123456789abcdef") != "" {
			t.Errorf("%q is read as the number %q", speed, n)
		}
	})
}
