package intel

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// list has the keys of Intel's guide to xpu-smi, and those seen of later versions.
const list = `{"device_list": [
 {"device_function_type": "physical", "device_id": 0, "device_name": "Intel(R) Data Center GPU Max 1100", "device_type": "GPU", "drm_device": "/dev/dri/card1",
  "pci_bdf_address": "0000:29:00.0", "pci_device_id": "0xbda", "uuid": "00000000-0000-0029-0000-002f0bda8086", "vendor_name": "Intel(R) Corporation"},
 {"device_id": 1, "device_name": "Intel(R) Arc(TM) Pro B99 Graphics", "device_type": "GPU", "pci_bdf_address": "0000:51:00.0", "pci_device_id": "0xfff0",
  "uuid": "00000000-0000-0000-6769-DF256E271362", "vendor_name": "Intel(R) Corporation"}]}`

// machine has a Max with two tiles driven by xe, a card that no catalogue knows driven by
// i915, a virtual function of the first without driver, and graphics inside the
// processor, made from the documentation of Linux.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:29:00.0", ID: "8086:0bda", Class: "038000", Driver: "xe", NUMA: "0", More: map[string]string{
		"tile0/physical_vram_size_bytes": "25769803776", "tile1/physical_vram_size_bytes": "25769803776", "sriov_numvfs": "1", "sriov_totalvfs": "63",
		"hwmon/hwmon5/name": "xe", "hwmon/hwmon5/temp2_input": "41000", "hwmon/hwmon5/power1_max": "300000000", "hwmon/hwmon5/energy1_input": "1500000",
	}})
	m.Symlink("sys/class/drm/card1/device", "../../../0000:29:00.0").Symlink("sys/class/drm/renderD129/device", "../../../0000:29:00.0")
	m.Plug(devicetest.Card{Address: "0000:51:00.0", ID: "8086:fff0", Class: "038000", Driver: "i915", NUMA: "1", More: map[string]string{
		"hwmon/hwmon6/name": "i915_gt0", "hwmon/hwmon6/energy1_input": "7", "hwmon/hwmon7/name": "i915", "hwmon/hwmon7/temp1_input": "50000", "hwmon/hwmon7/power1_max": "0",
	}})
	m.Symlink("sys/class/drm/card2/device", "../../../0000:51:00.0").Symlink("sys/class/drm/renderD130/device", "../../../0000:51:00.0")
	m.Write("sys/class/drm/card2/lmem_total_bytes", "17179869184")
	dir := m.Plug(devicetest.Card{Address: "0000:29:00.1", ID: "8086:0bda", Class: "038000"})
	m.Symlink(dir+"/physfn", "../0000:29:00.0")
	m.Plug(devicetest.Card{Address: "0000:00:02.0", ID: "8086:4680", Class: "030000", Driver: "i915"})
	m.Symlink("sys/class/drm/card0/device", "../../../0000:00:02.0").Symlink("sys/class/drm/renderD128/device", "../../../0000:00:02.0")
	m.Plug(devicetest.Card{Address: "0000:3b:00.0", ID: "8086:1592", Class: "020000", Driver: "ice"})
	return m.Tool("xpu-smi discovery -j", list)
}

func TestSuite(t *testing.T) {
	devicetest.Suite{
		Adapter: New(), Machine: machine, Devices: 3,
		Messages: []string{"xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.\nIOCTLs and executions are blocked."},
		Strangers: []device.Function{
			{Address: "0000:00:02.0", Vendor: "8086", Device: "4680", Class: "030000", Driver: "i915"}, // inside a processor
			{Address: "0000:00:02.0", Vendor: "8086", Device: "4680", Class: "038000", Driver: "i915"}, // where it draws nothing
			{Address: "0000:3b:00.0", Vendor: "8086", Device: "1592", Class: "020000", Driver: "ice"},
			{Address: "0000:5c:00.0", Vendor: "8086", Device: "1452", Class: "020000", Driver: "idpf"}, // an IPU, of the catalogue
			{Address: "0000:5d:00.0", Vendor: "8086", Device: "09c4", Class: "120000"},                 // an FPGA, of the catalogue
			{Address: "0000:6a:01.0", Vendor: "8086", Device: "0b25", Class: "088000", Driver: "idxd"},
			{Address: "0000:00:0b.0", Vendor: "8086", Device: "7d1d", Class: "120000", Driver: "intel_vpu"}, // inside a processor
			{Address: "0000:e7:00.0", Vendor: "8086", Device: "4940", Class: "0b4000", Driver: "4xxx"},      // QuickAssist
			{Address: "0000:08:00.0", Vendor: "8086", Device: "4f90", Class: "040300"},
			{Address: "0000:19:00.0", Vendor: "1da3", Device: "1060", Class: "120000"},
		},
		Outputs: [][]byte{[]byte(list)},
	}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 3 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, v, b := devices[0], devices[1], devices[2]
	if a.Product != "Data Center GPU Max 1100" || a.Memory != 48<<30 || a.UUID != "" || a.Form != device.Whole || a.PCI.VFs != 1 || a.Health.State != device.Unknown {
		t.Errorf("the first is %+v; its UUID is made of its address", a)
	}
	if v.Form != device.VF || len(v.Nodes) != 0 || v.Memory != 0 {
		t.Errorf("the virtual function is %+v", v)
	}
	if b.Product != "Arc Pro B99 Graphics" || b.UUID != "00000000-0000-0000-6769-df256e271362" || b.Memory != 16<<30 || b.Provenance["uuid"].From != "xpu-smi" || *b.NUMA != 1 {
		t.Errorf("the last is %+v", b)
	}
	if d := cmp.Diff([]device.Node{{Path: "/dev/dri/card2", Type: "c"}, {Path: "/dev/dri/renderD130", Type: "c"}}, b.Nodes); d != "" {
		t.Error(d)
	}
}

func TestDiscoverACardInAGuest(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:00:02.0", ID: "8086:56c0", Class: "038000", Driver: "vfio-pci"})
	if devices, err := m.Discover(t, New()); len(devices) != 1 || err != nil {
		t.Errorf("%d devices, error %v; the catalogue knows the number", len(devices), err)
	}
}

func TestDiscoverSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		driver, file, want string
		state              device.State
	}{
		{"", "", "has no driver", device.Unknown},
		{"xe", "", "has no file in /dev/dri", device.Unknown},
		{"xe", "survivability_mode", "", device.Failed},
		{"vfio-pci", "", "", device.Unknown},
	} {
		m := devicetest.New()
		card := devicetest.Card{Address: "0000:51:00.0", ID: "8086:fff0", Class: "038000", Driver: c.driver}
		if c.file != "" {
			card.More = map[string]string{c.file: "Survivability mode type: Boot"}
		}
		m.Plug(card)
		devices, err := m.Discover(t, New())
		if len(devices) != 1 || devices[0].Health.State != c.state || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("driver %q, file %q: %+v, error %v", c.driver, c.file, devices, err)
		}
	}
}

func TestDiscoverWithKunlunxinsProgram(t *testing.T) {
	m := machine().Tool("xpu-smi discovery -j", "usage: xpu-smi [-h] [-m]\nerror: unrecognized arguments: discovery")
	if devices, err := m.Discover(t, New()); len(devices) != 3 || err == nil || !strings.Contains(err.Error(), "xpu-smi: cannot be used") {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	devices, _ := New().Discover(t.Context(), h)
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&device.Reading{Temperature: new(41.0), PowerLimit: new(300.0), Energy: new(1.5)}, devices[0].Reading); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&device.Reading{Temperature: new(50.0)}, devices[2].Reading); d != "" {
		t.Errorf("a tile's meter and a limit of none:\n%s", d)
	}
	for name := range m.Files {
		if strings.Contains(name, "0000:51:00.0") {
			delete(m.Files, name)
		}
	}
	if err := New().Measure(t.Context(), h, devices); err == nil || devices[2].Health.Faults[0].Code != "gpu-lost" || devices[0].Health.State != device.Unknown {
		t.Errorf("a card that is gone: %+v, error %v", devices[2].Health, err)
	}
}

func TestOwn(t *testing.T) {
	for uuid, want := range map[string]string{
		"00000000-0000-0000-0000-020a00008086": "", "00000000-0000-0023-0000-0000e2238086": "",
		"00000000-0000-0000-0000-000000000000": "", "00000000-0000-0000-0000-000000000001": "", "card": "", "": "",
		"00000000-0000-0000-6769-DF256E271362": "00000000-0000-0000-6769-df256e271362",
	} {
		if got := own(uuid); got != want {
			t.Errorf("%s is %q, want %q", uuid, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(list))
	if err != nil || len(devices) != 2 || devices[0].Product != "Data Center GPU Max 1100" || devices[0].PCI.ID() != "8086:0bda" || devices[1].Product != "Arc Pro B99 Graphics" {
		t.Errorf("%+v, error %v", devices, err)
	}
	one := `{"device_id": 0, "device_name": "Intel(R) Arc(TM) Pro B65 Graphics", "pci_bdf_address": "0000:51:00.0", "memory_physical_size_byte": 34242297856, "pcie_generation": "N/A"}`
	devices, err = New().Read([]byte(one))
	if err != nil || len(devices) != 1 || devices[0].Memory != 34242297856 || devices[0].Product != "Arc Pro B65" || devices[0].Provenance["memory"].From != "xpu-smi" {
		t.Errorf("%+v, error %v", devices, err)
	}
	for _, s := range []string{"", "[]", "{}", `{"device_list": []}`, `{"device_list": [{"device_name": "P800", "pci_bdf_address": "0000:1:0.0", "vendor_name": "Kunlunxin"}]}`} {
		if _, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%q gives %v", s, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	devicetest.FuzzRead(f, New(), list, `{"device_name": "x", "pci_bdf_address": "0:0.0", "memory_physical_size_byte": 1e99}`)
}

func TestDumpXpuSmi(t *testing.T) {
	devices, err := New().Read(devicetest.Saved(t, "intel/xpu-smi-discovery-j.doc-sample.json"))
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if d := devices[0]; d.PCI.Address != "0000:4d:00.0" || d.PCI.ID() != "8086:020a" || d.Product != "Graphics [0x020a]" || d.UUID != "" || d.Memory != 0 {
		t.Errorf("it is %+v at %+v", d, d.PCI)
	}
}
