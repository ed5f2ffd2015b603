package furiosa

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

// output was printed by furiosa-smi on a machine with RNGD cards, and shortened by
// those who published it.
const output = `[
 {"arch": "rngd", "dev_name": "npu0", "device_uuid": "C0413086-0708-4606", "device_sn": "RNG26040100181Q", "firmware": "2026.3.0, 2d3f72a", "pci_bdf": "0000:45:00.0"},
 {"arch": "rngd", "dev_name": "npu3", "device_uuid": "89413086-0709-4707", "device_sn": "RNG26040100105Q", "firmware": "2026.3.0, 2d3f72a", "pci_bdf": "0000:03:00.0"}
]`

// machine has two RNGD, with the files that the vendor's own programs read and sensors
// as seen on one, and a Warboy. The numbers run against the order of the addresses.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:45:00.0", "0000:03:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "1ed2:0001", Class: "120000", Driver: "furiosa_rngd", NUMA: "0"})
		m.Write(dir+"/hwmon/hwmon4/name", "rngd0").Write(dir+"/hwmon/hwmon4/temp1_input", "36238").Write(dir+"/hwmon/hwmon4/temp1_label", "PEAK")
		m.Write(dir+"/hwmon/hwmon4/temp10_input", "34000").Write(dir+"/hwmon/hwmon4/temp10_label", "MEMORY0").Write(dir+"/hwmon/hwmon4/power1_average", "37000000")
		at := fmt.Sprintf("%s/rngd!npu%dmgmt", class, i)
		m.Write(at+"/busname", address).Write(at+"/device_uuid", fmt.Sprintf("C0413086-0708-460%d", i)).Write(at+"/device_sn", fmt.Sprintf("RNG2604010018%dQ", i))
		m.Write(at+"/dev", fmt.Sprintf("234:%d", i)).Write(at+"/fw_version", "2026.3.0, 2d3f72a").Write(at+"/version", "2026.3.0, c1bebfd")
		m.Write(fmt.Sprintf("%s/npu%dmgmt", nodes, i), "").Write(fmt.Sprintf("%s/npu%dbar0", nodes, i), "").Write(fmt.Sprintf("%s/npu%dpe0-3", nodes, i), "")
		for pe := range 8 {
			m.Write(fmt.Sprintf("%s/npu%dpe%d", nodes, i, pe), "").Write(fmt.Sprintf("%s/npu%dch%d", nodes, i, pe), "")
			m.Write(fmt.Sprintf("%s/rngd!npu%dpe%d/alloc_status", class, i, pe), "")
		}
	}
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Outputs: [][]byte{[]byte(output)},
		Strangers: []device.Function{{Vendor: "1ed2", Device: "9999", Class: "020000"}}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.PCI.Address != "0000:03:00.0" || d.UUID != "C0413086-0708-4601" || d.Serial != "RNG26040100181Q" || d.Units != 8 || d.Product != "RNGD" {
		t.Errorf("the first is %+v", d)
	}
	if d.Driver.Version != "2026.3.0, c1bebfd" || d.Driver.Firmware != "2026.3.0, 2d3f72a" || *d.Reading.Temperature != 36.238 || *d.Reading.Power != 37 {
		t.Errorf("driver %+v, meters %+v", d.Driver, d.Reading)
	}
	if len(d.Nodes) != 19 {
		t.Errorf("it has %d files", len(d.Nodes))
	}
	for _, n := range d.Nodes {
		if !strings.HasPrefix(n.Path, "/dev/rngd/npu1") {
			t.Errorf("%s is not its own", n.Path)
		}
	}
}

// TestNumbersOfTwoDigits shows that npu1 is not given the files of npu10.
func TestNumbersOfTwoDigits(t *testing.T) {
	m := machine().Write(nodes+"/npu10pe0", "").Write(nodes+"/npu01pe0", "").Write(nodes+"/other", "")
	devices, err := m.Discover(t, New())
	if err != nil || len(devices[0].Nodes) != 19 {
		t.Errorf("%v, %d files", err, len(devices[0].Nodes))
	}
}

func TestWithoutDevTheDriverTellsTheFiles(t *testing.T) {
	m := machine()
	for k := range m.Files {
		if strings.HasPrefix(k, nodes) {
			delete(m.Files, k)
		}
	}
	devices, err := m.Discover(t, New())
	if err != nil || len(devices[0].Nodes) != 9 || devices[0].Units != 8 {
		t.Errorf("%v, %+v", err, devices[0])
	}
}

func TestWarboyIsFound(t *testing.T) {
	m := devicetest.New()
	dir := m.Plug(devicetest.Card{Address: "0000:af:00.0", ID: "1ed2:0000", Class: "120000"})
	m.Write(dir+"/hwmon/hwmon1/name", "npu0").Write(dir+"/hwmon/hwmon1/temp1_input", "47000").Write(dir+"/hwmon/hwmon1/temp1_label", "Peak")
	devices, err := m.Discover(t, New())
	if len(devices) != 1 || err == nil || devices[0].Product != "Warboy" || *devices[0].Reading.Temperature != 47 || devices[0].Reading.Power != nil {
		t.Errorf("%v, %+v", err, devices)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, _ := m.Host()
	devices, _ := New().Discover(t.Context(), h)
	for k := range m.Files {
		if strings.HasSuffix(k, "power1_average") {
			m.Write(k, "80000000")
		}
	}
	if err := New().Measure(t.Context(), h, devices); err != nil || *devices[0].Reading.Power != 80 {
		t.Errorf("%v, %+v", err, devices[0].Reading)
	}
}

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(output))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.PCI.Address != "0000:03:00.0" || d.UUID != "89413086-0709-4707" || d.Serial != "RNG26040100105Q" || d.Provenance["uuid"].From != "furiosa-smi" {
		t.Errorf("the first is %+v", d)
	}
	if p, ok := catalogue.Of(d); !ok || p.Name != "RNGD" {
		t.Errorf("the catalogue takes it for %+v", p)
	}
	for _, s := range []string{"{}", "[]", `[{"arch":"rngd","pci_bdf":"0000:03:00.0"}]`, `[{"arch":"rngd","device_uuid":"x","pci_bdf":"here"}]`} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%s gives %v, %v", s, devices, err)
		}
	}
}

func FuzzRead(f *testing.F) { devicetest.FuzzRead(f, New(), output) }

func FuzzSplit(f *testing.F) {
	f.Add("npu0pe4-7")
	f.Fuzz(func(t *testing.T, s string) {
		if n, rest, ok := split(s); ok && (n < 0 || fmt.Sprintf("npu%d%s", n, rest) != s) {
			t.Errorf("%q became %d and %q", s, n, rest)
		}
	})
}
