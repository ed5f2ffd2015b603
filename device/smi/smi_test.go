package smi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/outline"
	"polder.dev/polder/device/pci"
)

// The vendor and its program are made up: rooms prove theirs.
var family = pci.Family{Vendor: "acme", Kind: device.NPU, Numbers: []string{"acac"}, Classes: []string{"1200"}, Software: "anvil"}

func program() *Program {
	p := Like("AXU", Program{
		Name: "axu-smi", Family: &family, Product: "Acme card",
		Texts: map[string][]string{"architecture": {"Product Architecture"}, "driver.firmware": {"Firmware"}},
		Head:  map[string]string{"driver.stack": "Anvil Version"},
		Meters: func(l *outline.Line) (device.Health, *device.Reading) {
			r := Meters(l, "AXU")
			r.Errors = Errors(l, map[string]string{"Bits": "ecc"})
			return device.Of(), r
		},
		Costs: "serial numbers", Remedy: "buy one",
		Files: "axu", Control: []string{"/dev/axuctl"},
	})
	return &p
}

const block = `AXU 00000000:%02X:00.0
    Product Name : Roadrunner
    Product Architecture : RR1
    Serial Number : N/A
    AXU UUID : AXU-%d
    Minor Number : %d
    Memory Usage
        Total : 1024 MiB
        Used : 1 MiB
    Utilization
        Axu : 25 %%
    ECC Errors
        Volatile
            Bits : 3
        Aggregate
            Bits : 9
    Temperature
        AXU Current Temp : 40 C
    Power Readings
        Power Draw : 50 W
        Enforced Power Limit : 100 W
`

// text tells of cards that have the minor numbers 0, 1 ... in this order.
func text(buses ...int) string {
	out := "Driver Version : 1.2\nAnvil Version : 3\nSerial Number : of none\n\n"
	for i, b := range buses {
		out += fmt.Sprintf(block, b, b, i)
	}
	return out
}

// machine has two cards, of whose files the kernel says nothing.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:01:00.0", ID: "acac:0001", Class: "120000"}, devicetest.Card{Address: "0000:02:00.0", ID: "acac:0001", Class: "120000"})
	m.Symlink("sys/dev/char/240:0", "../../devices/virtual/axu/axu0").Symlink("sys/dev/char/240:1", "../../devices/virtual/axu/axu1")
	return m.Tool("axu-smi -q", text(2, 1))
}

func host(t *testing.T, m *devicetest.Machine) *device.Host {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func discover(t *testing.T, p *Program, h *device.Host) ([]device.Device, error) {
	t.Helper()
	devices, err := p.Discover(t.Context(), h, family.Devices(h))
	if len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	device.Names(devices)
	return devices, err
}

func files(devices []device.Device) string {
	var out []string
	for _, d := range devices {
		own := "none"
		if len(d.Nodes) > 0 {
			own = d.Nodes[0].Path
		}
		out = append(out, own)
	}
	return strings.Join(out, " ")
}

func TestCardsAreKnownByTheirAddress(t *testing.T) {
	devices, err := discover(t, program(), host(t, machine()))
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	if d.UUID != "AXU-1" || d.Product != "Roadrunner" || d.Architecture != "rr1" || d.Serial != "" || d.Memory != 1<<30 || d.Driver != (device.Driver{Version: "1.2", Stack: "3"}) {
		t.Errorf("the first is %+v", d)
	}
	if d.Provenance["memory"].From != "axu-smi" || d.Provenance["serial"].From != "" || d.Health.State != device.Healthy {
		t.Errorf("values are from %+v, health %+v", d.Provenance, d.Health)
	}
	want := &device.Reading{Utilization: new(0.25), MemoryUsed: new(int64(1 << 20)), Temperature: new(40.0), Power: new(50.0), PowerLimit: new(100.0), Errors: map[string]int64{"ecc": 3}}
	if diff := cmp.Diff(want, d.Reading); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]device.Node{{Path: "/dev/axu1", Type: "c", Major: 240, Minor: 1}, {Path: "/dev/axuctl", Type: "c", Shared: true}}, d.Nodes); diff != "" {
		t.Error(diff)
	}
}

func TestFileIsTheCardsForCertain(t *testing.T) {
	below := func(m *devicetest.Machine, first, second int) {
		m.Symlink(fmt.Sprintf("sys/dev/char/240:%d", first), fmt.Sprintf("../../devices/pci0000:00/0000:01:00.0/axu/axu%d", first))
		m.Symlink(fmt.Sprintf("sys/dev/char/240:%d", second), fmt.Sprintf("../../devices/pci0000:00/0000:02:00.0/axu/axu%d", second))
	}
	none := func([]chardev.File, Cards, string) (chardev.File, bool) { return chardev.File{}, false }
	for name, c := range map[string]struct {
		change func(*devicetest.Machine)
		file   func([]chardev.File, Cards, string) (chardev.File, bool)
		files  string
		says   string
	}{
		"only the program tells":         {func(*devicetest.Machine) {}, nil, "/dev/axu1 /dev/axu0", ""},
		"kernel and program agree":       {func(m *devicetest.Machine) { below(m, 1, 0) }, nil, "/dev/axu1 /dev/axu0", ""},
		"kernel and program disagree":    {func(m *devicetest.Machine) { below(m, 0, 1) }, nil, "none none", "0000:01:00.0: is /dev/axu0 by the kernel and has the minor number 1 by axu-smi; it is left unused"},
		"only the kernel tells":          {func(m *devicetest.Machine) { below(m, 0, 1); clear(m.Tools) }, nil, "/dev/axu0 /dev/axu1", "axu-smi: tells nothing ("},
		"nobody tells":                   {func(m *devicetest.Machine) { clear(m.Tools) }, nil, "none none", "0000:02:00.0: which of /dev/axu0, /dev/axu1 ... is its file is not known, so it cannot be used; load the driver, and install axu-smi"},
		"there is no file of the number": {func(m *devicetest.Machine) { delete(m.Files, "sys/dev/char/240:1") }, nil, "none /dev/axu0", "which of"},
		"the number of two cards is none": {func(m *devicetest.Machine) {
			m.Tool("axu-smi -q", strings.ReplaceAll(text(2, 1), "Number : 1", "Number : 0"))
		}, nil, "none none", "which of"},
		"a number that is no minor number": {func(m *devicetest.Machine) {
			m.Tool("axu-smi -q", strings.ReplaceAll(text(2, 1), "Number : 1", "Number : 0.5"))
		}, nil, "none /dev/axu0", "which of"},
		"the room has a rule of its own":  {func(*devicetest.Machine) {}, none, "none none", "which of"},
		"what the kernel tells is enough": {func(m *devicetest.Machine) { below(m, 0, 1) }, none, "/dev/axu0 /dev/axu1", ""},
	} {
		m, p := machine(), program()
		c.change(m)
		p.File = c.file
		devices, err := discover(t, p, host(t, m))
		if got := files(devices); got != c.files || (c.says == "") != (err == nil) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: the cards have %s, error %v", name, got, err)
		}
	}
}

func TestFileMustBeThere(t *testing.T) {
	h := host(t, machine())
	h.Live = true // where no file is in dev
	devices, err := discover(t, program(), h)
	if files(devices) != "none none" || !strings.Contains(fmt.Sprint(err), "its device file cannot be used: ") {
		t.Errorf("the cards have %s, error %v", files(devices), err)
	}
}

// TestSilence is of a program that tells nothing: on a machine that is a problem, on a
// copy of one it is not.
func TestSilence(t *testing.T) {
	h := host(t, machine().Tool("axu-smi -q", "usage: axu-smi [command]"))
	_, err := discover(t, program(), h)
	if want := "axu-smi: tells nothing (the output of axu-smi -q: not in the format: there is no AXU with a UUID), so serial numbers are not known; buy one"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("error %v; want %s", err, want)
	}
	h.Run = nil
	if devices, err := discover(t, program(), h); strings.Contains(fmt.Sprint(err), "tells nothing") || devices[0].Health.State != device.Unknown {
		t.Errorf("of a copy: %v, %+v", err, devices[0])
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h := host(t, m)
	devices, _ := discover(t, program(), h)
	m.Tool("axu-smi -q", strings.Replace(text(2), "40 C", "80 C", 1))
	err := program().Measure(t.Context(), h, devices)
	if want := "npu-0000-01-00-0: axu-smi does not tell of it any more; look at the kernel's log"; fmt.Sprint(err) != want || devices[0].Health.State != device.Unknown || devices[0].Reading != nil {
		t.Errorf("a card that is gone: %v, %+v", err, devices[0])
	}
	if *devices[1].Reading.Temperature != 80 || devices[1].Health.State != device.Healthy {
		t.Errorf("the meters were not read again: %+v", devices[1].Reading)
	}
	clear(m.Tools)
	err = program().Measure(t.Context(), h, devices)
	if !strings.HasPrefix(fmt.Sprint(err), "axu-smi: tells nothing (") || !strings.HasSuffix(fmt.Sprint(err), "), so health and meters are not known") || devices[1].Health.State != device.Unknown || devices[1].Reading != nil {
		t.Errorf("without the program: %v, %+v", err, devices[1])
	}
}

// TestNoCardNoProgram: the program of the name may be another vendor's.
func TestNoCardNoProgram(t *testing.T) {
	h := &device.Host{Run: func(context.Context, string, ...string) ([]byte, error) {
		t.Error("a program was run")
		return nil, nil
	}}
	if devices, err := program().Discover(t.Context(), h, nil); devices != nil || err != nil {
		t.Errorf("%v, %v", devices, err)
	}
	if err := program().Measure(t.Context(), h, nil); err != nil {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	devices, err := program().Read([]byte(text(2, 1) + text(2)))
	if err != nil || len(devices) != 2 || devices[0].PCI.Address != "0000:02:00.0" || devices[0].Vendor != "acme" || devices[0].Software != "anvil" || devices[0].Kind != device.NPU {
		t.Errorf("%+v, %v", devices, err)
	}
	for _, s := range []string{"", text(), "AXU 00000000:01:00.0\n    Product Name : x", "AXU 1\n    AXU UUID : x", "XPU 00000000:01:00.0\n    AXU UUID : x"} {
		if devices, err := program().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%q gives %v, %v", s, devices, err)
		}
	}
	many := text()
	for i := range 2 * cardsMax {
		many += strings.Replace(fmt.Sprintf(block, i%256, i, i), "00000000:", fmt.Sprintf("%08x:", i/256), 1)
	}
	if devices, err := program().Read([]byte(many)); len(devices) != cardsMax {
		t.Errorf("%d devices, error %v; more than %d are not believed", len(devices), err, cardsMax)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(text(1, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := program().Read(b)
		if (err == nil) != (len(devices) > 0) {
			t.Errorf("%d devices, error %v", len(devices), err)
		}
		for _, d := range devices {
			if d.Memory < 0 || d.UUID == "" || d.Product == "" || d.PCI.Address == "" {
				t.Errorf("%+v", d)
			}
		}
	})
}
