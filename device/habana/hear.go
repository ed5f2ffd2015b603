package habana

import (
	"strings"

	"polder.dev/polder/device"
)

var _ device.Listener = (*Adapter)(nil)

// Hear implements device.Listener. The driver names accelerators by their entry in its
// list, not by their address, and keeps their state in a file that is read anyway; so it
// is only heard that there is something to see. The forms are those of device.c of
// habanalabs in Linux:
//
//	habanalabs hl0: Failed to reset! Device is NOT usable
//	habanalabs hl0: Successfully finished resetting the device
func (*Adapter) Hear(message string) (h device.Heard, ok bool) {
	name, text, ok := strings.Cut(message, ": ")
	if !ok || !strings.HasPrefix(name, "habanalabs ") && !strings.HasPrefix(name, "accel accel") {
		return h, false
	}
	return h, strings.HasPrefix(text, "Failed to reset!") || strings.HasPrefix(text, "Successfully finished resetting the ")
}
