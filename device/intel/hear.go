package intel

import (
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

var _ device.Listener = (*Adapter)(nil)

// Hear implements device.Listener. The form is that of xe_device.c in Linux, of several
// lines in one message:
//
//	xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.
//
// A wedged GPU refuses all work until its driver is bound again, which package pci
// hears. A hang that a job caused, after which xe and i915 reset what hung, is no fault.
// What i915 says when it gives up was not seen, so it is not heard.
func (*Adapter) Hear(message string) (h device.Heard, ok bool) {
	driver, address, text, ok := pci.Message(message)
	text, _, _ = strings.Cut(text, "\n")
	if !ok || driver != "xe" || !strings.HasPrefix(text, "[drm] *ERROR* CRITICAL: Xe has declared device ") || !strings.HasSuffix(text, "wedged.") {
		return h, false
	}
	return device.Heard{Address: address, Fault: device.Fault{Code: "wedged", State: device.Failed,
		Message: "the driver xe has given it up and refuses all work; unbind the driver and bind it again, or restart the machine"}}, true
}
