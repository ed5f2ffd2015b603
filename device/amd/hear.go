package amd

import (
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

var _ device.Listener = (*Adapter)(nil)

// Hear implements device.Listener. The forms are those of amdgpu_device.c and
// amdgpu_ras.c in Linux, and of logs that people showed in the trackers of ROCm and of
// Linux distributions; older kernels put "amdgpu: " before the text, newer ones "{N}":
//
//	amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!
//	amdgpu 0000:28:00.0: GPU reset begin!. Source:  1
//	amdgpu 0000:08:00.0: amdgpu: GPU reset(2) succeeded!
//	amdgpu 0000:08:00.0: amdgpu: GPU reset(2) failed
//	amdgpu 0000:c1:00.0: amdgpu: socket: 0, die: 0 3 uncorrectable hardware errors detected in total in umc block
//	amdgpu 0000:15:00.0: {1}uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!
//
// A ring that times out is mostly a job's fault, and often soft recovered; if it is not,
// a reset follows, which is told.
func (*Adapter) Hear(message string) (h device.Heard, ok bool) {
	driver, address, text, ok := pci.Message(message)
	if !ok || driver != module {
		return h, false
	}
	text = strings.TrimPrefix(text, "amdgpu: ")
	if _, rest, numbered := strings.Cut(text, "}"); numbered && strings.HasPrefix(text, "{") {
		text = strings.TrimPrefix(rest, " ")
	}
	h.Address = address
	switch {
	case strings.HasPrefix(text, "GPU reset begin!"):
		h.Fault = device.Fault{Code: "in-reset", State: device.Degraded, Message: "it is being reset; what ran on it is lost"}
	case resetEnd(text) == "succeeded":
		h.Over = true
	case resetEnd(text) == "failed":
		h.Over = true
		h.Fault = device.Fault{Code: "reset-failed", State: device.Failed, Message: "the driver could not reset it; restart the machine"}
	case strings.HasPrefix(strings.ToLower(text), "uncorrectable hardware error("):
		h.Fault = device.Fault{Code: "hardware-error", State: device.Failed,
			Message: "it met an error of the hardware that cannot be corrected, and has to be reset; restart the machine if the driver does not reset it"}
	case uncorrected(text):
		h.Fault = device.Fault{Code: "ecc-uncorrected", State: device.Degraded, Message: "errors that could not be corrected since the driver was loaded; reset the GPU"}
	default:
		return device.Heard{}, false
	}
	return h, true
}

// resetEnd is how a reset ended, by "GPU reset(N) succeeded!" or "GPU reset(N) failed".
func resetEnd(text string) string {
	number, rest, _ := strings.Cut(strings.TrimPrefix(text, "GPU reset("), ") ")
	if _, err := strconv.ParseUint(number, 10, 32); err != nil || !strings.HasPrefix(text, "GPU reset(") {
		return ""
	}
	for _, end := range []string{"succeeded", "failed"} {
		if strings.HasPrefix(rest, end) {
			return end
		}
	}
	return ""
}

// uncorrected reports whether a text counts errors, and more than none: "no
// uncorrectable hardware errors detected" is said as well.
func uncorrected(text string) bool {
	before, _, ok := strings.Cut(text, " uncorrectable hardware errors detected")
	words := strings.Fields(before)
	if len(words) > 0 && words[len(words)-1] == "new" {
		words = words[:len(words)-1]
	}
	if !ok || len(words) == 0 || len(words) > 8 {
		return false
	}
	n, err := strconv.ParseUint(words[len(words)-1], 10, 64)
	return err == nil && n > 0
}
