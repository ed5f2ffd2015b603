package nvidia

import (
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

var _ device.Listener = (*Adapter)(nil)

// Hear implements device.Listener. The forms are those of kernel_rc.c and osinit.c in
// NVIDIA's open-gpu-kernel-modules, and of older drivers' logs in the trackers of
// others; a MIG instance is named within the parentheses:
//
//	NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
//	NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.
//	NVRM: Xid (PCI:0000:3b:00 GPU-I:05 GPU-CI:00): 94, pid=7194, name=python3, Contained: SM (0x1). ...
//	NVRM: Xid (0000:03:00): 14, Channel 00000001
//	NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)
//	NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\nNVRM: fallen off the bus ...
//	nvidia-nvlink: Nvlink Core is being initialized, major device number 236
//
// The last is what the driver says first when it is loaded, with NVLink or without. The
// better known "NVRM: loading NVIDIA UNIX ..." comes after the cards were tried, and so
// after what is said of those that failed. Errors of NVSwitches (SXid) are no device's.
func (*Adapter) Hear(message string) (h device.Heard, ok bool) {
	if strings.HasPrefix(message, "nvidia-nvlink: Nvlink Core is being initialized") {
		return device.Heard{Over: true}, true
	}
	if rest, is := strings.CutPrefix(message, "NVRM: The NVIDIA GPU "); is {
		end := strings.IndexAny(rest, " \n")
		if end < 0 || !strings.Contains(rest, "fallen off the bus") {
			return h, false
		}
		if h.Address, ok = device.Address(rest[:end]); ok {
			h.Fault = lostFault
		}
		return h, ok
	}
	rest, is := strings.CutPrefix(message, "NVRM: Xid (")
	where, rest, closed := strings.Cut(rest, "): ")
	number, text, _ := strings.Cut(rest, ",")
	where, _, _ = strings.Cut(where, " ")
	address, valid := device.Address(strings.TrimPrefix(where, "PCI:"))
	xid, err := strconv.ParseUint(number, 10, 16)
	if !is || !closed || !valid || err != nil {
		return h, false
	}
	return judge(address, int(xid), strings.TrimSpace(text))
}

// judge says what a Xid means for the card.
func judge(address string, xid int, text string) (h device.Heard, ok bool) {
	h.Address = address
	switch {
	case xid == recoveryXid:
		return recoveryHeard(h, text)
	case harmless[xid], inLink(xid) && !fatal(text):
		return device.Heard{}, false
	}
	f, known := xids[xid]
	if !known {
		f = device.Fault{State: device.Degraded, Message: "the driver reports an error that is not known here; look it up in NVIDIA's Xid catalogue, and reset the card when it is idle"}
	}
	f.Code = "xid-" + strconv.Itoa(xid)
	h.Fault = f
	return h, true
}

// recoveryHeard is what the driver itself asks for, or that it asks for nothing any
// more. nvidia-smi tells the same, and a fault from both is one.
func recoveryHeard(h device.Heard, text string) (device.Heard, bool) {
	_, after, ok := strings.Cut(text, "GPU recovery action changed from ")
	_, to, ok2 := strings.Cut(after, " to ")
	number, name, _ := strings.Cut(to, " ")
	if _, err := strconv.ParseUint(number, 0, 32); !ok || !ok2 || err != nil {
		return device.Heard{}, false
	}
	action := strings.Trim(strings.TrimSpace(name), "()")
	if number == "0x0" {
		h.Over = true
		return h, true
	}
	h.Fault = recoveryFault(action)
	return h, true
}

// inLink are the Xids of the fifth NVLink, each of which has fatal and other errors.
func inLink(xid int) bool { return xid >= 144 && xid <= 150 }

// fatal reports whether a message on NVLink says of itself that it is:
// "NETIR_INT  Fatal   XC0 i0 Link -1". The other word is Nonfatal.
func fatal(text string) bool {
	for _, word := range strings.Fields(text) {
		if word == "Nonfatal" || word == "Fatal" {
			return word == "Fatal"
		}
	}
	return true // it does not say, so it is not taken lightly
}
