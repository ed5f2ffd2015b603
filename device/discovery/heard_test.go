package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/nvidia"
)

// A made-up log, from documented forms: an Xid of a job, one of a card, a storm of the
// same, a GPU of AMD's that is reset, and lines of others.
const log = `Linux version 6.18.0
pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200 PCIe Endpoint
nvidia-nvlink: Nvlink Core is being initialized, major device number 236
NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build
NVRM: Xid (PCI:0000:3b:00): 31, pid=9, name=python3, Ch 00000010, intr 10000000. MMU Fault
NVRM: Xid (PCI:0000:3b:00): 48, pid=9, name=python3, An uncorrectable double bit error (DBE) has been detected
NVRM: Xid (PCI:0000:3b:00): 95, pid=9, name=python3, Uncontained
NVRM: Xid (PCI:0000:3b:00): 95, pid=9, name=python3, Uncontained
amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!
python3[9]: segfault at 0 ip 0000758b29614d2c sp 0000758b099fe2e0 error 6
amdgpu 0000:c1:00.0: amdgpu: GPU reset(1) succeeded!`

func hearing(text string) *ledger {
	l := newLedger(Adapters())
	for m := range strings.SplitSeq(text, "\n") {
		l.hear(m)
	}
	return l
}

// told is the health of a device at an address, in short.
func told(l *ledger, address string, own ...device.Fault) string {
	d := device.Device{PCI: &device.Function{Address: address}, Health: device.Of(own...)}
	l.tell(&d)
	out := string(d.Health.State)
	for _, f := range d.Health.Faults {
		out += " " + f.Code
	}
	return out
}

func TestLedger(t *testing.T) {
	const nv, other = "0000:3b:00.0", "0000:af:00.0"
	xid := func(n int) string { return fmt.Sprintf("\nNVRM: Xid (PCI:0000:3b:00): %d, x", n) }
	for name, c := range map[string]struct{ log, at, want string }{
		"the worst first":             {log, nv, "failed xid-95 xid-48"},
		"reset, and over":             {log, "0000:c1:00.0", "healthy"},
		"another card":                {log, other, "healthy"},
		"found anew":                  {log + "\npci 0000:3b:00.0: [10de:2330] type 00 class 0x030200", nv, "healthy"},
		"another found anew":          {log + "\npci 0000:af:00.0: [10de:2330] type 00 class 0x030200", nv, "failed xid-95 xid-48"},
		"its driver loaded anew":      {log + "\nnvidia-nvlink: Nvlink Core is being initialized, major device number 236", nv, "healthy"},
		"its driver says it is over":  {log + "\nNVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", nv, "healthy"},
		"again, after it was over":    {log + "\nnvidia-nvlink: Nvlink Core is being initialized, major" + xid(62), nv, "failed xid-62"},
		"a failed reset says it all":  {log + "\namdgpu 0000:c1:00.0: GPU reset begin!\namdgpu 0000:c1:00.0: GPU reset(2) failed", "0000:c1:00.0", "failed reset-failed"},
		"another vendor's driver":     {"amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!\nnvidia-nvlink: Nvlink Core is being initialized, major", "0000:c1:00.0", "degraded in-reset"},
		"the bus and the driver tell": {"nvidia 0000:3b:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), x" + xid(79), nv, "failed xid-79 pcie-fatal"},
	} {
		if got := told(hearing(c.log), c.at); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

// TestLedgerKeepsOneOfACode adds to what a look found: a fault of the same code is one,
// and the worse of two states holds; of a device that nobody watches more is known now.
func TestLedgerKeepsOneOfACode(t *testing.T) {
	l := hearing("NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)")
	for _, c := range []struct{ found, want device.State }{{device.Degraded, device.Failed}, {device.Failed, device.Failed}} {
		if got := told(l, "0000:3b:00.0", device.Fault{Code: "recovery-needed", State: c.found}); got != string(c.want)+" recovery-needed" {
			t.Errorf("found as %s it is %s", c.found, got)
		}
	}
	d := device.Device{PCI: &device.Function{Address: "0000:3b:00.0"}, Health: device.Health{State: device.Unknown}}
	if l.tell(&d); d.Health.State != device.Failed {
		t.Errorf("one that nobody watches is %+v", d.Health)
	}
	d = device.Device{PCI: &device.Function{Address: "0000:af:00.0"}, Health: device.Health{State: device.Unknown}}
	if l.tell(&d); d.Health.State != device.Unknown {
		t.Errorf("one that nothing was heard of is %+v", d.Health)
	}
	var none device.Device
	l.tell(&none) // one that is not on the bus
}

// TestLedgerTellsChanges holds that a storm of one message is one change.
func TestLedgerTellsChanges(t *testing.T) {
	l := newLedger(Adapters())
	changes := 0
	for range 10_000 {
		if l.hear("NVRM: Xid (PCI:0000:3b:00): 74, x") {
			changes++
		}
		if l.hear("EXT4-fs (vda): mounted filesystem") {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("ten thousand times the same are %d changes", changes)
	}
	over := "pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200"
	if !l.hear(over) || l.hear(over) {
		t.Error("that faults are over is not told, or told twice")
	}
	if !l.hear("habanalabs hl0: Successfully finished resetting the device") {
		t.Error("that there is something to see is not told")
	}
}

// TestLedgerIsBounded fills it with all that a log can hold.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(Adapters())
	for bus := range 256 {
		for slot := range 8 {
			for xid := range 30 {
				l.hear(fmt.Sprintf("NVRM: Xid (PCI:0000:%02x:%02x): %d, x", bus, slot, 900+xid))
			}
		}
	}
	most := 0
	for _, faults := range l.at {
		most = max(most, len(faults))
	}
	if len(l.at) != addressesMax || most != faultsMax {
		t.Errorf("%d addresses, %d faults of one", len(l.at), most)
	}
}

// TestSettle drops what was heard before a driver said that its card is sound, and not
// what was heard since.
func TestSettle(t *testing.T) {
	sound := []device.Device{
		{PCI: &device.Function{Address: "0000:3b:00.0"}, Health: device.Health{State: device.Healthy, Sound: true}},
		{PCI: &device.Function{Address: "0000:af:00.0"}, Health: device.Health{State: device.Healthy}}, {},
	}
	l := hearing("NVRM: Xid (PCI:0000:3b:00): 94, x\nNVRM: Xid (PCI:0000:af:00): 94, x")
	then := l.now()
	l.hear("NVRM: Xid (PCI:0000:3b:00): 119, x")
	l.settle(sound, then)
	if got := told(l, "0000:3b:00.0") + ", " + told(l, "0000:af:00.0"); got != "failed xid-119, degraded xid-94" {
		t.Errorf("left is %s", got)
	}
	l.hear("NVRM: Xid (PCI:0000:af:00): 94, x") // again: it is of now
	l.settle([]device.Device{{PCI: sound[1].PCI, Health: device.Health{Sound: true}}}, l.now()-1)
	if got := told(l, "0000:af:00.0"); got != "degraded xid-94" {
		t.Errorf("one that was told again is %s", got)
	}
}

// TestMachineTells follows faults through a machine that is looked at: instances at one
// address share them, and what was heard goes when it is over, also of devices that
// cannot be measured.
func TestMachineTells(t *testing.T) {
	m := &Machine{root: "/", log: newLedger([]device.Adapter{nvidia.New()}), own: map[string]device.Health{}}
	f := &device.Function{Address: "0000:3b:00.0"}
	devices := []device.Device{
		{UUID: "MIG-1", PCI: f, Form: device.MIG, Health: device.Of()},
		{UUID: "MIG-2", PCI: f, Form: device.MIG, Health: device.Of(device.Fault{Code: "row-remap-pending", State: device.Degraded})},
		{UUID: "other", PCI: &device.Function{Address: "0000:af:00.0"}, Health: device.Health{State: device.Unknown}},
	}
	states := func() (out []string) {
		for _, d := range devices {
			out = append(out, string(d.Health.State))
		}
		return out
	}
	m.found(devices, m.log.now())
	m.log.hear("NVRM: Xid (PCI:0000:3b:00): 79, x")
	for range 2 {
		m.Tell(devices)
		if got := states(); !slices.Equal(got, []string{"failed", "failed", "unknown"}) || len(devices[1].Health.Faults) != 2 {
			t.Errorf("told are %v, %+v", got, devices[1].Health)
		}
	}
	if err := m.Measure(t.Context(), devices); err != nil || devices[0].Health.State != device.Failed {
		t.Errorf("measured it is %+v, error %v", devices[0].Health, err)
	}
	m.log.hear("nvidia-nvlink: Nvlink Core is being initialized, major device number 236")
	m.Tell(devices)
	if got := states(); !slices.Equal(got, []string{"healthy", "degraded", "unknown"}) {
		t.Errorf("when it is over they are %v", got)
	}
}

// TestConcerns says on which machines it is worth a word that the log cannot be read.
func TestConcerns(t *testing.T) {
	l := newLedger(Adapters())
	f := &device.Function{Address: "0000:3b:00.0"}
	for adapter, want := range map[string]bool{"nvidia": true, "amd": true, "cpu": false, "tenstorrent": false} {
		d := device.Device{Adapter: adapter, PCI: f}
		if adapter == "cpu" {
			d.PCI = nil
		}
		if got := l.concerns([]device.Device{d}); got != want {
			t.Errorf("%s: %v", adapter, got)
		}
	}
}

// FuzzLedger has any messages heard, and looks that no health comes of nothing.
func FuzzLedger(f *testing.F) {
	f.Add(log)
	f.Fuzz(func(t *testing.T, text string) {
		l := hearing(text)
		for address := range l.at {
			if a, ok := device.Address(address); !ok || a != address || told(l, address) == "healthy" {
				t.Errorf("%q has %v", address, l.at[address])
			}
		}
	})
}

// BenchmarkHear is what a message costs that means nothing, as nearly all do.
func BenchmarkHear(b *testing.B) {
	l := newLedger(Adapters())
	for b.Loop() {
		l.hear("EXT4-fs (vda): mounted filesystem 00000000-0000-0000-0000-000000000000 r/w without journal. Quota mode: none.")
	}
}
