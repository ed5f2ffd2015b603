package enflame

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

// head and block are the text of `efsmi -q` of an S60, by the sample in the source of
// a public project, whose cards it was taken from.
const head = `
---------------------- Enflame System Management Interface ----------------------
--------- Enflame Tech, All Rights Reserved. 2024-2025 Copyright (C) ----------
--------------------------------------------------------------------------------
`

const block = `DEV ID %d
    Driver Info
        Ver                     : 1.4.3.4
    Device Info
        Dev Name                : S60
        Dev UUID                : TR6Y4601030%d
        Dev SN                  : A0A165051067%d
        Dev PN                  : EFB-0088000-00
        Health                  : True
    PCIe Info
        Vendor ID               : 1e36
        Device ID               : c035
        Domain                  : 0000
        Bus                     : %02x
        Dev                     : 00
        Func                    : 0
        Link Info
        Max Link Speed          : Gen5
    Power Info
        Power Capa              : 300 W
        Cur Power               : 96 W
        Dpm Level               : Sleep
    Device Mem Info
        Total Size              : 42976 MiB
        Reserved Size           : 1129 MiB
        Used Size               : 0 MiB
    Temperature Info
        GCU Temp                : 35 ℃
    Device Usage Info
        GCU Usage               : 50.0 %%
    RMA Info
        Flags                   : False
        Total DBE               : 0
    Power Cable
        Status                  : Normal
`

func text(buses ...int) string {
	out := head
	for i, b := range buses {
		out += fmt.Sprintf(block, i, i, i, b)
	}
	return out
}

// machine has two cards that efsmi numbers against the order of their addresses, and
// whose files hang below no function.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(
		devicetest.Card{Address: "0000:17:00.0", ID: "1e36:c035", Class: "120000", Driver: "enflame", NUMA: "0"},
		devicetest.Card{Address: "0000:65:00.0", ID: "1e36:c035", Class: "120000", Driver: "enflame", NUMA: "1"})
	for i := range 2 {
		m.Symlink(fmt.Sprintf("sys/dev/char/240:%d", i), fmt.Sprintf("../../devices/virtual/gcu/gcu%d", i))
	}
	m.Symlink("sys/dev/char/240:255", "../../devices/virtual/gcu/gcuctl")
	return m.Tool("efsmi -q", text(0x65, 0x17))
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Outputs: [][]byte{[]byte(text(0x17))},
		Strangers: []device.Function{{Vendor: "1e81", Device: "1203", Class: "010802"}, {Vendor: "1e36", Device: "9999", Class: "020000"}},
	}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.PCI.Address != "0000:17:00.0" || d.Nodes[0].Path != "/dev/gcu1" || d.Nodes[0].Minor != 1 || d.Nodes[1].Path != "/dev/gcuctl" {
		t.Errorf("the first has the files %+v", d.Nodes)
	}
	if d.Product != "S60" || d.UUID != "TR6Y46010301" || d.Serial != "A0A1650510671" || d.Memory != 42976<<20 || d.Driver.Version != "1.4.3.4" {
		t.Errorf("it is %+v", d)
	}
	if d.Provenance["memory"].From != "efsmi" || d.Health.State != device.Healthy {
		t.Errorf("memory comes from %+v, health is %+v", d.Provenance["memory"], d.Health)
	}
	if r := d.Reading; *r.Temperature != 35 || *r.Power != 96 || *r.PowerLimit != 300 || *r.Utilization != 0.5 || *r.MemoryUsed != 0 || r.Errors["ecc-double-bit"] != 0 {
		t.Errorf("its meters say %+v", r)
	}
	if catalogue.Fill(d); len(d.Partitions) != 2 {
		t.Errorf("it can be split into %+v", d.Partitions)
	}
}

func TestFilesBelowFunctionsNeedNoTool(t *testing.T) {
	m := machine()
	m.Tools = nil
	m.Symlink("sys/dev/char/240:0", "../../devices/pci0000:65/0000:65:00.0/gcu/gcu0")
	m.Symlink("sys/dev/char/240:1", "../../devices/pci0000:17/0000:17:00.0/gcu/gcu1")
	devices, err := m.Discover(t, New())
	if len(devices) != 2 || devices[0].Nodes[0].Path != "/dev/gcu1" || devices[1].Nodes[0].Path != "/dev/gcu0" {
		t.Errorf("devices %+v", devices)
	}
	if err == nil || !strings.Contains(err.Error(), "efsmi") || strings.Contains(err.Error(), "cannot be used") {
		t.Errorf("it is said: %v", err)
	}
}

func TestNumbersThatDoNotAgreeAreNoProof(t *testing.T) {
	m := machine()
	delete(m.Files, "sys/dev/char/240:0")
	m.Symlink("sys/dev/char/240:2", "../../devices/virtual/gcu/gcu2")
	devices, err := m.Discover(t, New())
	if err == nil || len(devices[0].Nodes) > 0 || len(devices[1].Nodes) > 0 {
		t.Errorf("files 1 and 2 are given to cards 0 and 1: %+v", devices)
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		state    device.State
		code     string
	}{
		"not healthy":         {"Health                  : True", "Health                  : False", device.Failed, "unhealthy"},
		"to be returned":      {"Flags                   : False", "Flags                   : True", device.Degraded, "rma"},
		"cable":               {"Status                  : Normal", "Status                  : Abnormal", device.Degraded, "power-cable"},
		"nothing about it":    {"Health                  : True", "", device.Unknown, ""},
		"old names of memory": {"Total Size", "Mem Size", device.Healthy, ""},
	} {
		devices, err := New().Read([]byte(strings.Replace(text(0x17), c.old, c.new, 1)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		d := devices[0]
		if d.Health.State != c.state || c.code != "" && d.Health.Faults[0].Code != c.code || d.Memory != 42976<<20 {
			t.Errorf("%s: %+v, %d bytes", name, d.Health, d.Memory)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", head, "DEV ID 0\n  PCIe Info\n    Domain : 0", "DEV ID x\n"} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%q gives %v, %v", s, devices, err)
		}
	}
}

func FuzzRead(f *testing.F) { devicetest.FuzzRead(f, New(), text(1, 2)) }
