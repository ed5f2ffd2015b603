package nvidia

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

// The messages here are made from the driver's source and from what people showed in
// trackers; none was captured for us.
func TestHear(t *testing.T) {
	const at = "0000:3b:00.0"
	for name, c := range map[string]struct {
		message, address, code string
		state                  device.State
		over                   bool
	}{
		"lost, with a process":   {"NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", at, "xid-79", device.Failed, false},
		"lost, without":          {"NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", at, "xid-79", device.Failed, false},
		"an old driver's":        {"NVRM: Xid (0000:3b:00): 79, GPU has fallen off the bus.", at, "xid-79", device.Failed, false},
		"a large domain":         {"NVRM: Xid (PCI:10000:3b:00): 95, pid=1, name=a, Uncontained", "10000:3b:00.0", "xid-95", device.Failed, false},
		"a GPU instance":         {"NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 94, pid=7194, name=python3, Ch 0000000a", at, "xid-94", device.Degraded, false},
		"a compute instance":     {"NVRM: Xid (PCI:0000:3b:00 GPU-I:05 GPU-CI:00): 48, pid=7194, name=python3, DBE", at, "xid-48", device.Degraded, false},
		"GSP":                    {"NVRM: Xid (PCI:0000:3b:00): 119, pid=1718, name=nvidia-smi, Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20802a02 0x8).", at, "xid-119", device.Failed, false},
		"a remapped row":         {"NVRM: Xid (PCI:0000:3b:00): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.", at, "xid-63", device.Degraded, false},
		"NVLink, fatal":          {"NVRM: Xid (PCI:0000:3b:00): 149, NETIR_INT  Fatal   XC0 i0 Link -1", at, "xid-149", device.Degraded, false},
		"NVLink, not fatal":      {"NVRM: Xid (PCI:0000:3b:00): 145, RLW_REMAP Nonfatal XC0 i0 Link -1 (0x00000004 0x80000000)", "", "", "", false},
		"the job's":              {"NVRM: Xid (PCI:0000:3b:00): 31, pid=9, name=python3, Ch 00000010, intr 10000000. MMU Fault: ENGINE GRAPHICS", "", "", "", false},
		"the job's, an engine's": {"NVRM: Xid (PCI:0000:3b:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on (GPC 7, TPC 7, SM 0)", "", "", "", false},
		"sympathy":               {"NVRM: Xid (PCI:0000:3b:00): 45, pid=9, name=python3, Ch 00000010", "", "", "", false},
		"unknown":                {"NVRM: Xid (PCI:0000:3b:00): 999, something new", at, "xid-999", device.Degraded, false},
		"a reset is asked for":   {"NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)", at, "recovery-needed", device.Failed, false},
		"a drain is asked for":   {"NVRM: Xid (PCI:0000:3b:00): 154, pid=1, name=a, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)", at, "recovery-needed", device.Degraded, false},
		"nothing is, any more":   {"NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", at, "", "", true},
		"154 without sense":      {"NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed", "", "", "", false},
		"lost at the beginning":  {"NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\nNVRM: fallen off the bus and is not responding to commands.", at, "gpu-lost", device.Failed, false},
		"lost, in one line":      {"NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:1e07) installed in this system has fallen off the bus and is not responding to commands.", at, "gpu-lost", device.Failed, false},
		"not supported":          {"NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:1e07)\nNVRM: installed in this system is not supported by the", "", "", "", false},
		"the driver begins":      {"nvidia-nvlink: Nvlink Core is being initialized, major device number 236\n", "", "", "", true},
		"the driver has begun":   {"NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build", "", "", "", false},
		"a switch's":             {"nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", "", "", "", false},
		"a process's name":       {"python3[9]: segfault at 0 NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", "", "", "", false},
		"a second line":          {"usb 1-1: Product: x\nNVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", "", "", "", false},
		"no address":             {"NVRM: Xid (PCI:x): 79, GPU has fallen off the bus.", "", "", "", false},
		"no number":              {"NVRM: Xid (PCI:0000:3b:00): x, y", "", "", "", false},
		"no end":                 {"NVRM: Xid (PCI:0000:3b:00", "", "", "", false},
	} {
		h, ok := New().Hear(c.message)
		if want := c.code != "" || c.over; ok != want || h.Address != c.address || h.Fault.Code != c.code || h.Fault.State != c.state || h.Over != c.over {
			t.Errorf("%s: %+v, %v", name, h, ok)
		}
	}
}

// TestXidsSayWhatToDo holds the table to what people need: a sentence with a remedy, and
// no number that is both a fault and none.
func TestXidsSayWhatToDo(t *testing.T) {
	for n, f := range xids {
		if harmless[n] || n == recoveryXid {
			t.Errorf("Xid %d is a fault and is none", n)
		}
		if f.State != device.Failed && f.State != device.Degraded || !strings.Contains(f.Message, "; ") {
			t.Errorf("Xid %d is %+v", n, f)
		}
	}
	for _, n := range []int{13, 31, 43, 45, 68, 109} { // those of NVIDIA's device plugin
		if !harmless[n] {
			t.Errorf("Xid %d takes a card for a job's fault", n)
		}
	}
}

func TestSound(t *testing.T) {
	for action, want := range map[string]bool{"None": true, " None\n": true, "": false, "N/A": false, "Reset": false, "Drain and Reset": false} {
		c := &card{Recovery: action}
		if h := c.health(nil); h.Sound != want {
			t.Errorf("recovery action %q: %+v", action, h)
		}
	}
}

func FuzzHear(f *testing.F) {
	f.Add("NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 94, pid=7194, name=python3, Ch 0000000a")
	f.Add("NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)")
	f.Add("NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: fallen off the bus")
	f.Add("NVRM: The NVIDIA GPU fallen off the bus")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := New().Hear(s)
		if !ok && h != (device.Heard{}) {
			t.Errorf("%q means nothing and gives %+v", s, h)
		}
		if ok && !strings.HasPrefix(s, "NVRM: ") && !strings.HasPrefix(s, "nvidia-nvlink: ") {
			t.Errorf("%q is believed", s)
		}
		if a, is := device.Address(h.Address); h.Address != "" && (!is || a != h.Address) {
			t.Errorf("%q: %q is no address", s, h.Address)
		}
	})
}
