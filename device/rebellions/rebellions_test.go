package rebellions

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

// output is of the form that the vendor's device plugin reads.
const output = `{"KMD_version": "3.0.0", "devices": [
 {"group_id": "0", "npu": 0, "name": "RBLN-CA22", "sid": "0000000022502229", "uuid": "d86d3e84-f99d-4c5f-9c73-2b8f5b1b2a00", "device": "rbln0", "status": "ready", "fw_ver": "1.2.3",
  "pci": {"dev": "1220", "bus_id": "0000:c3:00.0", "numa_node": "1", "link_speed": "32.0GT/s", "link_width": "16"}, "memory": {"used": "0", "total": "16857956352"}},
 {"group_id": "0", "npu": 1, "name": "RBLN-CA22", "sid": "0000000022502230", "uuid": "d86d3e84-f99d-4c5f-9c73-2b8f5b1b2a01", "device": "rbln1", "status": "ready", "fw_ver": "1.2.3",
  "pci": {"dev": "1220", "bus_id": "0000:83:00.0", "numa_node": "0"}, "memory": {"used": "0", "total": "16857956352"}}
]}`

// machine has two cards with the files that were seen on an RBLN-CA12.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:c3:00.0", "0000:83:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "1eff:1220", Class: "120000", Driver: "rebellions", NUMA: fmt.Sprint(1 - i)})
		at := fmt.Sprintf("%s/rbln%d", class, i)
		m.Symlink(at+"/device", "../../../"+strings.TrimPrefix(dir, "sys/"))
		m.Write(at+"/status", fmt.Sprint(i*3)).Write(at+"/kernel_version", "3.0.0-abc123").Write(at+"/card_name", "RBLN-CA22")
		m.Write(at+"/dram_total", "16857956352").Write(at+"/dram_used", "1048576")
		m.Write(at+"/hwmon/hwmon0/name", "rebellions").Write(at+"/hwmon/hwmon0/temp_input", "35000").Write(at+"/hwmon/hwmon0/card_power_input", "18278596")
	}
	m.Write(class+"/rsd0/rsd_group", "group,x,rbln")
	return m.Tool("rbln-stat -j", output)
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Outputs: [][]byte{[]byte(output)},
		Strangers: []device.Function{{Vendor: "1eff", Device: "9999", Class: "020000"}, {Vendor: "1efd", Device: "1220", Class: "120000"}}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := &devices[0], &devices[1]
	if a.PCI.Address != "0000:83:00.0" || a.Nodes[0].Path != "/dev/rbln1" || a.UUID != "d86d3e84-f99d-4c5f-9c73-2b8f5b1b2a01" || a.Serial != "0000000022502230" {
		t.Errorf("the first is %+v", a)
	}
	if b.Memory != 16857956352 || b.Product != "RBLN-CA22" || b.Driver.Version != "3.0.0-abc123" || b.Driver.Firmware != "1.2.3" {
		t.Errorf("the second is %+v", b)
	}
	if _, ok := b.Provenance["memory"]; ok {
		t.Error("the memory that the driver tells is said to come from the program")
	}
	if a.Health.State != device.Failed || b.Health.State != device.Healthy {
		t.Errorf("health is %+v and %+v; the first has status 3", a.Health, b.Health)
	}
	if r := b.Reading; *r.Temperature != 35 || *r.Power != 18.278596 || *r.MemoryUsed != 1<<20 {
		t.Errorf("its meters say %+v", r)
	}
	if p, ok := catalogue.Of(b); !ok || p.Name != "RBLN-CA22" {
		t.Errorf("the catalogue takes it for %+v", p)
	}
}

func TestTheLaterNameOfTheProgram(t *testing.T) {
	m := machine()
	clear(m.Tools)
	if devices, err := m.Tool("rbln-smi -j", output).Discover(t, New()); err != nil || devices[0].UUID == "" {
		t.Errorf("%v, %+v", err, devices)
	}
	clear(m.Tools)
	devices, err := m.Discover(t, New())
	if err == nil || len(devices) != 2 || devices[0].Nodes[0].Path != "/dev/rbln1" || devices[0].UUID != "" {
		t.Errorf("without it: %v, %+v", err, devices)
	}
}

func TestSplitCardIsNoComplaint(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:c3:00.0", ID: "1eff:2030", Class: "120000", Driver: "rebellions", More: map[string]string{"sriov_numvfs": "1", "sriov_totalvfs": "4"}})
	dir := m.Plug(devicetest.Card{Address: "0000:c3:00.1", ID: "1eff:2031", Class: "120000", Driver: "rebellions"})
	m.Symlink(dir+"/physfn", "../0000:c3:00.0")
	m.Symlink(class+"/rbln0/device", "../../../"+strings.TrimPrefix(dir, "sys/"))
	m.Tool("rbln-stat -j", strings.Replace(output, "0000:83:00.0", "0000:c3:00.1", 1))
	devices, err := m.Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if d := devices[1]; d.Form != device.VF || d.Parent != "d86d3e84-f99d-4c5f-9c73-2b8f5b1b2a00" || d.Nodes[0].Path != "/dev/rbln0" || len(devices[0].Nodes) != 0 {
		t.Errorf("the part is %+v", d)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, _ := m.Host()
	devices, _ := New().Discover(t.Context(), h)
	m.Write(class+"/rbln0/status", "2").Write(class+"/rbln1/status", "7")
	if err := New().Measure(t.Context(), h, devices); err != nil || devices[1].Health.State != device.Degraded || devices[0].Health.State != device.Unknown {
		t.Errorf("%v, %+v, %+v", err, devices[0].Health, devices[1].Health)
	}
	devices[0].Nodes = nil
	if err := New().Measure(t.Context(), h, devices); err == nil {
		t.Error("of a device without a file nothing is said")
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"{}", "[]", `{"devices":[{"pci":{"bus_id":"0000:01:00.0"}}]}`, `{"KMD_version":"1","devices":[null,{"pci":{"bus_id":"x"}}]}`} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%s gives %v, %v", s, devices, err)
		}
	}
}

func FuzzRead(f *testing.F) { devicetest.FuzzRead(f, New(), output) }
