package pci

import (
	"strings"

	"polder.dev/polder/device"
)

// Message takes apart what a driver says of a function, in the form of the kernel's
// dev_printk: "amdgpu 0000:c1:00.0: TEXT". ok is false for any other form.
func Message(message string) (driver, address, text string, ok bool) {
	driver, rest, found := strings.Cut(message, " ")
	address, text, colon := strings.Cut(rest, ": ")
	if a, is := device.Address(address); !found || !colon || !is || a != address {
		return "", "", "", false
	}
	return driver, address, text, true
}

// Hear says what the kernel itself tells of functions, whoever made them, as
// device.Listener does. The forms are those of Linux' drivers/pci/probe.c,
// drivers/gpu/drm/drm_drv.c, and drivers/pci/pcie/aer.c:
//
//	pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200 PCIe Endpoint
//	[drm] Initialized xe 1.1.0 for 0000:03:00.0 on minor 0
//	nvme 0000:34:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Data Link Layer, (Receiver ID)
//	pcieport 0000:00:01.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=...
//
// The first stands where a function is found on the bus, as after a removal; the second
// where a driver has taken a device, as after unbind and bind. What was told before is
// over then. Errors of the bus that are not fatal are left to drivers, which survive them.
func Hear(message string) (h device.Heard, ok bool) {
	if address, ok := initialized(message); ok {
		return device.Heard{Address: address, Over: true}, true
	}
	driver, address, text, ok := Message(message)
	switch {
	case !ok:
	case driver == "pci" && found(text):
		return device.Heard{Address: address, Over: true}, true
	case fatal(text):
		return device.Heard{Address: address, Fault: device.Fault{Code: "pcie-fatal", State: device.Degraded,
			Message: "its PCIe link had an error that cannot be recovered from without loss; see to the card's seat and cabling, and restart the machine if the card does not work"}}, true
	}
	return h, false
}

// initialized returns the address of a device that a driver of DRM has taken. That of
// NVIDIA is left out: it is a layer above the one that knows of faults, and may be loaded
// again while these last.
func initialized(message string) (address string, ok bool) {
	rest, ok := strings.CutPrefix(message, "[drm] Initialized ")
	if !ok || strings.HasPrefix(rest, "nvidia-drm ") {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, " for ")
	address, _, minor := strings.Cut(rest, " on minor ")
	a, is := device.Address(address)
	return a, ok && minor && is
}

// found is "[VENDOR:DEVICE] type ..." of a function that the kernel has just found.
func found(text string) bool {
	return len(text) > 17 && text[0] == '[' && text[5] == ':' && strings.HasPrefix(text[10:], "] type ")
}

func fatal(text string) bool {
	text, ok := strings.CutPrefix(strings.TrimPrefix(text, "AER: "), "PCIe Bus Error: severity=")
	return ok && (strings.HasPrefix(text, "Uncorrectable (Fatal)") || strings.HasPrefix(text, "Uncorrected (Fatal)"))
}
