package fpga

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has an Alveo U250, made from the sources of XRT's drivers, and two cards of
// DFL, made from the kernel's documentation: a PAC, and one of a number nobody knows.
func machine() *devicetest.Machine {
	m := devicetest.New()
	mgmt := m.Plug(devicetest.Card{Address: "0000:3b:00.0", ID: "10ee:5004", Sub: "10ee:000e", Class: "120000", Driver: managing, NUMA: "0"})
	m.Write(mgmt+"/xmc.m.12582912/serial_num", "21320312Y00A").Write(mgmt+"/xmc.m.12582912/bmc_ver", "4.6.20")
	user := m.Plug(devicetest.Card{Address: "0000:3b:00.1", ID: "10ee:5005", Sub: "10ee:000e", Class: "120000", Driver: using, NUMA: "0"})
	m.Write(user+"/xmc.u.12582912/serial_num", "21320312Y00A").Write(user+"/drm/renderD129/dev", "226:129")
	m.Symlink("sys/class/drm/renderD129/device", "../../../0000:3b:00.1")
	m.Write("sys/module/xocl/version", "2.16.204,1")
	for i, id := range []string{"8086:09c4", "8086:bcce"} {
		dir := m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:%02x:00.0", 0x60+i), ID: id, Class: "120000", Driver: dfl, NUMA: "1"})
		region := fmt.Sprintf("%s/fpga_region/region%d", dir, 2*i)
		fme := fmt.Sprintf("%s/dfl-fme.%d", region, i)
		m.Write(fme+"/bitstream_id", "0x23000410010310").Write(fme+"/ports_num", "1").Write(fme+"/dev", fmt.Sprintf("240:%d", i))
		m.Write(fme+"/errors/catfatal_errors", "0x0").Write(fme+"/errors/nonfatal_errors", "0x0").Write(fme+"/errors/fme_errors", "0x100000000000000")
		m.Write(fme+"/hwmon/hwmon7/name", "dfl_fme_thermal").Write(fme+"/hwmon/hwmon7/temp1_input", "53000")
		m.Write(fme+"/hwmon/hwmon8/name", "dfl_fme_power").Write(fme+"/hwmon/hwmon8/power1_input", "23500000")
		// The number of a port is not that of its card.
		port := fmt.Sprintf("%s/dfl-port.%d", region, 1-i)
		m.Write(port+"/dev", fmt.Sprintf("241:%d", 1-i)).Write(port+"/afu_id", "d8424dc4a4a3c413f89e433683f9040b").Write(port+"/id", "0")
		m.Write(fmt.Sprintf("%s/dfl-fme-region.0/fpga_region/region%d/compat_id", fme, 2*i+1), "f3c9941350814aadbced07eb84a6d0bb")
	}
	m.Plug(devicetest.Card{Address: "0000:80:00.0", ID: "10ee:5084", Class: "020000", Driver: "sfc"})
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 3, Strangers: []device.Function{
		{Vendor: "10ee", Device: "5084", Class: "020000"}, // a network card
		{Vendor: "10ee", Device: "7011", Class: "058000"}, // somebody's own design
		{Vendor: "8086", Device: "0b60", Class: "120000"}, // no FPGA because of its class
		{Vendor: "8086", Device: "56c0", Class: "038000"},
		{Vendor: "8086", Device: "1452", Class: "020001"}, // a DPU
		{Vendor: "8086", Device: "0cf8", Class: "020000"}, // the network ports of a PAC N3000
		{Vendor: "1002", Device: "74a1", Class: "120000"},
		{Vendor: "1da3", Device: "1020", Class: "120000"},
	}}.Run(t)
}

func discover(t *testing.T, m *devicetest.Machine) ([]device.Device, *device.Host, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	devices, err := New().Discover(t.Context(), h)
	device.Names(devices)
	return devices, h, err
}

func TestAlveoIsOneDevice(t *testing.T) {
	devices, _, err := discover(t, machine())
	if err != nil || len(devices) != 3 {
		t.Fatalf("error %v, %d devices", err, len(devices))
	}
	d := devices[0]
	if d.Name != "fpga-0000-3b-00-0" || d.Vendor != "amd" || d.Product != "Alveo U250" || d.Kind != device.FPGA || d.Form != device.Whole || *d.NUMA != 0 {
		t.Errorf("the card is %+v", d)
	}
	if d.UUID != "alveo-21320312Y00A" || d.Serial != "21320312Y00A" || d.Driver != (device.Driver{Module: "xocl", Version: "2.16.204,1", Firmware: "4.6.20"}) {
		t.Errorf("the card is %s, serial %s, driver %+v", d.UUID, d.Serial, d.Driver)
	}
	if diff := cmp.Diff([]device.Node{{Path: "/dev/dri/renderD129", Type: "c"}}, d.Nodes); diff != "" {
		t.Error(diff)
	}
	if d.Health.State != device.Unknown {
		t.Errorf("nobody asked, and its health is %v", d.Health)
	}
}

// TestAlveoInAGuest that was given the user's function alone.
func TestAlveoInAGuest(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:00:07.0", ID: "10ee:5005", Class: "120000", Driver: using})
	m.Symlink("sys/class/drm/renderD128/device", "../../../0000:00:07.0")
	devices, _, err := discover(t, m)
	if err != nil || len(devices) != 1 || devices[0].Nodes[0].Path != "/dev/dri/renderD128" || devices[0].UUID != "amd-fpga-0000-00-07-0" {
		t.Errorf("error %v, devices %+v", err, devices)
	}
}

func TestWithoutDriverSaysWhatToLoad(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:3b:00.0", ID: "10ee:5004", Class: "120000"}, devicetest.Card{Address: "0000:60:00.0", ID: "8086:09c4", Class: "120000"})
	devices, _, err := discover(t, m)
	if len(devices) != 2 || len(devices[0].Nodes)+len(devices[1].Nodes) > 0 {
		t.Errorf("found %+v", devices)
	}
	for _, want := range []string{"0000:3b:00.0: has no render file; load the driver xocl", "0000:60:00.0: has no port in fpga_region; load the driver dfl-pci"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in %v", want, err)
		}
	}
}

func TestRegions(t *testing.T) {
	devices, _, _ := discover(t, machine())
	pac, other := devices[1], devices[2]
	if pac.Vendor != "intel" || pac.Product != "PAC Arria 10 GX" || pac.Driver.Firmware != "0x23000410010310" || pac.Driver.Module != dfl || *pac.NUMA != 1 {
		t.Errorf("the PAC is %+v", pac)
	}
	if other.Product != "device 8086:bcce" || other.Kind != device.FPGA {
		t.Errorf("the card that only its driver tells of is %+v", other)
	}
	if diff := cmp.Diff([]device.Node{{Path: "/dev/dfl-port.1", Type: "c", Major: 241, Minor: 1}}, pac.Nodes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"afu-d8424dc4a4a3c413f89e433683f9040b"}, pac.Features); diff != "" {
		t.Error(diff)
	}
	if pac.Health.State != device.Healthy {
		t.Errorf("the revision of a register is taken for an error: %v", pac.Health)
	}
}

func TestMeasure(t *testing.T) {
	const errors = "sys/devices/pci0000:60/0000:60:00.0/fpga_region/region0/dfl-fme.0/errors/"
	for _, c := range []struct {
		name, file, value string
		state             device.State
		code              string
	}{
		{"nothing", "", "", device.Healthy, ""},
		{"a fatal error", "catfatal_errors", "0x20", device.Failed, "catfatal-errors"},
		{"an error of the engine", "fme_errors", "0x100000000000001", device.Degraded, "fme-errors"},
		{"all bits", "pcie0_errors", "0xffffffffffffffff", device.Degraded, "pcie0-errors"},
		{"no number", "nonfatal_errors", "many", device.Healthy, ""},
	} {
		m := machine()
		devices, _, _ := discover(t, m)
		if c.file != "" {
			m.Write(errors+c.file, c.value)
		}
		delete(m.Files, "sys/bus/pci/devices/0000:61:00.0")
		h, _ := m.Host()
		if err := New().Measure(t.Context(), h, devices); err != nil {
			t.Fatal(err)
		}
		d := devices[1]
		if d.Health.State != c.state || c.code != "" && d.Health.Faults[0].Code != c.code {
			t.Errorf("%s: health is %v", c.name, d.Health)
		}
		if diff := cmp.Diff(&device.Reading{Temperature: new(53.0), Power: new(23.5)}, d.Reading); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if devices[0].Reading != nil || devices[2].Health.State != device.Failed {
			t.Errorf("the others are %v, %v", devices[0].Reading, devices[2].Health)
		}
	}
}

// TestVirtualFunctionsAreNoDevices: they belong to the card whose ports they carry.
func TestVirtualFunctionsAreNoDevices(t *testing.T) {
	m := machine()
	vf := m.Plug(devicetest.Card{Address: "0000:3b:00.4", ID: "10ee:5005", Class: "120000"})
	m.Symlink(vf+"/physfn", "../0000:3b:00.1")
	if devices, _, err := discover(t, m); err != nil || len(devices) != 3 {
		t.Errorf("error %v, %d devices", err, len(devices))
	}
}

// FuzzFiles reads a card whose files hold any bytes.
func FuzzFiles(f *testing.F) {
	f.Add("0x1", "241:0", "21320312Y00A", "d8424dc4a4a3c413f89e433683f9040b")
	f.Add("-1", "0:0:0", "\x00", "\xff\xff")
	f.Add("0xffffffffffffffffff", "99999999999999999999:1", strings.Repeat("A", 100), "")
	f.Fuzz(func(t *testing.T, register, dev, serial, afu string) {
		m := machine()
		m.Write("sys/devices/pci0000:60/0000:60:00.0/fpga_region/region0/dfl-fme.0/errors/fme_errors", register)
		m.Write("sys/devices/pci0000:60/0000:60:00.0/fpga_region/region0/dfl-port.1/dev", dev).Write("sys/devices/pci0000:60/0000:60:00.0/fpga_region/region0/dfl-port.1/afu_id", afu)
		m.Write("sys/devices/pci0000:3b/0000:3b:00.0/xmc.m.12582912/serial_num", serial)
		h, err := m.Host()
		if err != nil {
			t.Fatal(err)
		}
		devices, _ := New().Discover(t.Context(), h)
		if len(devices) != 3 {
			t.Fatalf("%d devices", len(devices))
		}
		for _, d := range devices {
			for _, s := range append(d.Features, d.Serial, d.UUID) {
				if len(s) > 80 || !utf8.ValidString(s) || strings.ContainsAny(s, " \n\x00") {
					t.Errorf("%q is passed on", s)
				}
			}
		}
	})
}
