package kunlunxin

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

// head and block are the text of `xpu-smi -q` of P800 cards, by the sample in the
// source of a public project, whose card it was taken from.
const head = `
==============XPUSMI LOG==============

Timestamp                                 : Tue Feb  3 18:20:01 2026
Driver Version                            : 5.0.21.26
XPU-RT Version                            : 10.2

Attached XPUs                             : 2
`

const block = `XPU 00000000:%02x:00.0
    Product Name                          : P800 PCIe
    Product Brand                         : KUNLUNXIN
    Product Architecture                  : KL3
    Serial Number                         : 02K0MA0258D000%dR
    XPU UUID                              : GPU-420716f2-9928-5108-a5b2-e6b7cf36b37%d
    Minor Number                          : %d
    PCIe Id                               : 3
    Firmware Version
        PBL Version                       : 1.0
        ALL Version                       : 1.0.2.14.1.54
    PCI
        Bus                               : 0x01
        Device Id                         : 0x36862057
        Bus Id                            : 00000000:01:00.0
    Memory Usage
        Total                             : 98304 MiB
        Reserved                          : 0 MiB
        Used                              : 1024 MiB
    L3 Usage
        Total                             : 96 MiB
    Utilization
        Xpu                               : 25 %%
    ECC Errors
        Volatile
            DRAM Correctable              : 0
            DRAM Uncorrectable            : 0
        Aggregate
            DRAM Correctable              : 7
            DRAM Uncorrectable            : 7
    Temperature
        XPU Current Temp                  : 46 C
    Power Readings
        Enforced Power Limit              : 350.00 W
        Power Draw                        : 76.00 W
    Processes                             : None
`

func text(buses ...int) string {
	out := head
	for i, b := range buses {
		out += fmt.Sprintf(block, b, i, i, i)
	}
	return out
}

// machine has a card of each vendor number, with files whose numbers run against the
// order of their addresses.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(
		devicetest.Card{Address: "0000:01:00.0", ID: "2057:3686", Class: "120000", Driver: "kunlun", NUMA: "0"},
		devicetest.Card{Address: "0000:21:00.0", ID: "1d22:3688", Class: "120000", Driver: "kunlun", NUMA: "1"},
		devicetest.Card{Address: "0000:30:00.0", ID: "1d22:1380", Class: "010802"})
	for i := range 2 {
		m.Symlink(fmt.Sprintf("sys/dev/char/243:%d", i), fmt.Sprintf("../../devices/virtual/kunlun/xpu%d", i))
	}
	m.Symlink("sys/dev/char/243:128", "../../devices/virtual/kunlun/xpuctrl")
	return m.Tool("xpu-smi -q", text(0x21, 0x01))
}

var strangers = []device.Function{
	{Vendor: "1d22", Device: "1380", Class: "010802"}, {Vendor: "1d22", Device: "1380", Class: "120000"},
	{Vendor: "2057", Device: "0001", Class: "120000"}, {Vendor: "8086", Device: "0bd5", Class: "038000"},
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Strangers: strangers, Outputs: [][]byte{[]byte(text(1))}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.PCI.Address != "0000:01:00.0" || d.Nodes[0].Path != "/dev/xpu1" || d.Nodes[1].Path != "/dev/xpuctrl" || !d.Nodes[1].Shared {
		t.Errorf("the first has the files %+v", d.Nodes)
	}
	if d.Product != "P800 PCIe" || d.Architecture != "kl3" || d.UUID != "GPU-420716f2-9928-5108-a5b2-e6b7cf36b371" || d.Serial != "02K0MA0258D0001R" || d.Memory != 96<<30 {
		t.Errorf("it is %+v", d)
	}
	if d.Driver.Version != "5.0.21.26" || d.Driver.Stack != "10.2" || d.Driver.Firmware != "1.0.2.14.1.54" || d.Health.State != device.Healthy {
		t.Errorf("driver %+v, health %+v", d.Driver, d.Health)
	}
	if r := d.Reading; *r.Temperature != 46 || *r.Power != 76 || *r.PowerLimit != 350 || *r.Utilization != 0.25 || *r.MemoryUsed != 1<<30 || r.Errors["ecc-uncorrected"] != 0 {
		t.Errorf("its meters say %+v", r)
	}
	if p, ok := catalogue.Of(d); !ok || p.Name != "P800" {
		t.Errorf("the catalogue takes it for %+v", p)
	}
}

// TestIntelsProgramIsNotRun shows that a machine without a card of ours hears nothing
// of us, and that Intel's output is not taken for ours.
func TestIntelsProgramIsNotRun(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:4d:00.0", ID: "8086:0bd5", Class: "038000", Driver: "i915"})
	h, _ := m.Host()
	h.Run = func(context.Context, string, ...string) ([]byte, error) {
		t.Error("a program was run")
		return nil, nil
	}
	if devices, err := New().Discover(t.Context(), h); len(devices) > 0 || err != nil {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
	if err := New().Measure(t.Context(), h, nil); err != nil {
		t.Error(err)
	}
	m = machine().Tool("xpu-smi -q", "Run with --help for more information.")
	devices, err := m.Discover(t, New())
	if len(devices) != 2 || err == nil || !strings.Contains(err.Error(), "Intel") {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
}

func TestUncorrectedErrorsDegrade(t *testing.T) {
	devices, err := New().Read([]byte(strings.Replace(text(1), "DRAM Uncorrectable            : 0", "DRAM Uncorrectable            : 2", 1)))
	if err != nil || devices[0].Health.State != device.Degraded || devices[0].Health.Faults[0].Code != "ecc-uncorrected" {
		t.Errorf("%v, %+v", err, devices)
	}
	if devices[0].PCI.ID() != "2057:3686" {
		t.Errorf("its number is %s", devices[0].PCI.ID())
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", head, "XPU 00000000:01:00.0\n    Product Name : x", "GPU 00000000:01:00.0\n  XPU UUID : x"} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%q gives %v, %v", s, devices, err)
		}
	}
}

func FuzzRead(f *testing.F) { devicetest.FuzzRead(f, New(), text(1, 2)) }
