package thead

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

const head = `
==============PPUSMI LOG==============

Timestamp                                   : Tue Feb  3 18:20:01 2026
Driver Version                              : 1.5.1-1d747a
HGGC Version                                : 13.0
SDK Version                                 : 2.1.0-a5f865

Attached PPUs                               : 2
`

// block is made of the sections that T-Head's manual shows.
const block = `PPU 00000000:%02X:00.0
    Product Name                            : PPU-ZW810E
    Persistence Mode                        : Disabled
    MIG Mode
        Current                             : N/A
        Pending                             : N/A
    Serial Number                           : N/A
    PPU UUID                                : PPU-7f53d39f-ce6e-dc78-c3d4-4c18653c19c%d
    Minor Number                            : %d
    PCI
        Bus                                 : 0x01
    Memory Usage
        Total                               : 98304 MiB
        Used                                : 248 MiB
    Utilization
        Ppu                                 : 38 %%
        Memory                              : 0 %%
    ECC Errors
        Volatile
            SRAM Uncorrectable              : 0
            DRAM Uncorrectable              : 0
        Aggregate
            DRAM Uncorrectable              : 3
    Temperature
        PPU Current Temp                    : 42 C
        PPU Shutdown Temp                   : 95 C
    Power Readings
        Power Draw                          : 51.99 W
        Power Limit                         : 400.00 W
        Enforced Power Limit                : 400.00 W
    Remapped Rows
        Pending                             : No
        Remapping Failure Occurred          : No
`

// text is of cards whose minor numbers are one more than their order, as on a machine
// where alixpu has the minor number 0.
func text(buses ...int) string {
	out := head
	for i, b := range buses {
		out += fmt.Sprintf(block, b, i, i+1)
	}
	return out
}

func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(
		devicetest.Card{Address: "0000:0f:00.0", ID: "1ded:6001", Class: "030200", Driver: "alixpu", NUMA: "0"},
		devicetest.Card{Address: "0000:a1:00.0", ID: "1ded:6001", Class: "030200", Driver: "alixpu", NUMA: "1"},
		devicetest.Card{Address: "0000:b0:00.0", ID: "1ded:107f", Class: "020000", Driver: "erdma"})
	m.Symlink("sys/dev/char/509:0", "../../devices/virtual/alixpu/alixpu").Symlink("sys/dev/char/509:100", "../../devices/virtual/alixpu/alixpu_ctl")
	for i := range 2 {
		m.Symlink(fmt.Sprintf("sys/dev/char/509:%d", i+1), fmt.Sprintf("../../devices/virtual/alixpu/alixpu_ppu%d", i))
	}
	return m.Tool("ppu-smi -q", text(0xa1, 0x0f))
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Outputs: [][]byte{[]byte(text(1))}, Strangers: []device.Function{
		{Vendor: "1ded", Device: "107f", Class: "020000"}, {Vendor: "1ded", Device: "5007", Class: "020700"}, {Vendor: "1ded", Device: "8000", Class: "060400"},
		{Vendor: "1ded", Device: "6001", Class: "020000"}, {Vendor: "1ded", Device: "7777", Class: "030200"},
	}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.PCI.Address != "0000:0f:00.0" || d.Nodes[0].Path != "/dev/alixpu_ppu1" || d.Nodes[0].Minor != 2 || len(d.Nodes) != 3 {
		t.Errorf("the first has the files %+v", d.Nodes)
	}
	if d.UUID != "PPU-7f53d39f-ce6e-dc78-c3d4-4c18653c19c1" || d.Serial != "" || d.Memory != 96<<30 || d.Driver.Version != "1.5.1-1d747a" || d.Driver.Stack != "13.0" {
		t.Errorf("it is %+v", d)
	}
	if r := d.Reading; *r.Temperature != 42 || *r.Power != 51.99 || *r.PowerLimit != 400 || *r.Utilization != 0.38 || *r.MemoryUsed != 248<<20 || d.Health.State != device.Healthy {
		t.Errorf("its meters say %+v, health %+v", r, d.Health)
	}
	if p, ok := catalogue.Of(d); !ok || p.Name != "PPU-ZW810E" {
		t.Errorf("the catalogue takes it for %+v", p)
	}
}

// TestLibrariesOfTheSDK runs a ppu-smi that finds its libraries only if told where.
func TestLibrariesOfTheSDK(t *testing.T) {
	h, _ := machine().Host()
	h.Run = func(_ context.Context, program string, args ...string) ([]byte, error) {
		if program == "env" && args[0] == libraries {
			return []byte(text(0xa1, 0x0f)), nil
		}
		return nil, errors.New("ppu-smi: exit status 127 error while loading shared libraries: libhgml.so")
	}
	if devices, err := New().Discover(t.Context(), h); err != nil || devices[0].UUID == "" {
		t.Errorf("%v, %+v", err, devices)
	}
}

func TestFaults(t *testing.T) {
	for code, c := range map[string]struct {
		old, new string
		state    device.State
	}{
		"sram-ecc-uncorrected":   {"SRAM Uncorrectable              : 0", "SRAM Uncorrectable              : 1", device.Degraded},
		"memory-ecc-uncorrected": {"DRAM Uncorrectable              : 0", "DRAM Uncorrectable              : 9", device.Degraded},
		"row-remap-failed":       {"Occurred          : No", "Occurred          : Yes", device.Failed},
	} {
		devices, err := New().Read([]byte(strings.Replace(text(1), c.old, c.new, 1)))
		if err != nil || devices[0].Health.State != c.state || devices[0].Health.Faults[0].Code != code {
			t.Errorf("%s: %v, %+v", code, err, devices)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", head, "PPU 00000000:01:00.0\n    Product Name : x", "XPU 00000000:01:00.0\n  XPU UUID : x"} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%q gives %v, %v", s, devices, err)
		}
	}
}

func FuzzRead(f *testing.F) { devicetest.FuzzRead(f, New(), text(1, 2)) }
