package aws

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

// ring is the output of neuron-ls for four chips in a ring, whose numbers are not in
// the order of their addresses.
const ring = `[
 {"neuron_device": 0, "bdf": "cc:00.0", "numa_node": "1", "connected_to": [3, 1], "nc_count": 4, "logical_neuroncore_config": 2, "memory_size": 103079215104},
 {"neuron_device": 1, "bdf": "b5:00.0", "numa_node": "1", "connected_to": [0, 2], "nc_count": 4, "logical_neuroncore_config": 2, "memory_size": 103079215104},
 {"neuron_device": 2, "bdf": "6f:00.0", "numa_node": "0", "connected_to": [1, 3], "nc_count": 4, "logical_neuroncore_config": 2, "memory_size": 103079215104},
 {"neuron_device": 3, "bdf": "58:00.0", "numa_node": "0", "connected_to": [2, 0], "nc_count": 4, "logical_neuroncore_config": 2, "memory_size": 103079215104}
]`

// machine has four Trainium2 in a ring, made from Neuron's documentation of its
// driver's files.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:cc:00.0", "0000:b5:00.0", "0000:6f:00.0", "0000:58:00.0"} {
		m.Plug(devicetest.Card{Address: address, ID: "1d0f:7364", Class: "088000", Driver: "neuron"})
		at := path.Join(dir, entry(i))
		m.Write(at+"/core_count", "8").Write(at+"/connected_devices", fmt.Sprintf("%d, %d", (i+3)%4, (i+1)%4))
		m.Write(at+"/info/serial_number", fmt.Sprintf("%016x", 0xa00+i))
		m.Write(at+"/info/architecture/arch_type", "NCv3").Write(at+"/info/architecture/device_name", "Trainium2")
		for _, c := range counters {
			m.Write(at+"/stats/hardware/"+c.file, "0")
		}
		for core := range 8 {
			m.Write(fmt.Sprintf("%s/neuron_core%d/stats/memory_usage/device_mem/total", at, core), "1000")
		}
	}
	m.Write(dir+"/neuron1/stats/hardware/mem_ecc_repairable_uncorrected", "2")
	m.Write(dir+"/neuron2/stats/hardware/sram_ecc_uncorrected", "1")
	m.Write("sys/module/neuron/version", "2.19.64.0")
	return m.Tool("neuron-ls -j", ring)
}

// strangers are AWS's network cards and disks.
func strangers() []device.Function {
	out := []device.Function{{Vendor: "1d0f", Device: "8061", Class: "010802"}, {Vendor: "1d0f", Device: "cd01", Class: "010802"}, {Vendor: "1d0f", Device: "ec20", Class: "020000"}}
	for _, n := range []string{"efa0", "efa1", "efa2", "efa3", "efa4"} {
		out = append(out, device.Function{Vendor: "1d0f", Device: n, Class: "020000"})
	}
	return out
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 4, Strangers: strangers(), Outputs: [][]byte{[]byte(ring)}}.Run(t)
}

func at(t *testing.T, devices []device.Device, address string) *device.Device {
	t.Helper()
	for i := range devices {
		if devices[i].PCI != nil && devices[i].PCI.Address == address {
			return &devices[i]
		}
	}
	t.Fatalf("there is no device at %s", address)
	return nil
}

func TestFilesGoToTheirFunctions(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 4 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := at(t, devices, "0000:cc:00.0")
	if d.Nodes[0].Path != "/dev/neuron0" || d.Serial != "0000000000000a00" || d.UUID != "neuron-0000000000000a00" || d.Units != 8 || d.Product != "Trainium2" {
		t.Errorf("the device of number 0 is %+v", d)
	}
	if d.Memory != 96<<30 || d.Provenance["memory"].From != "neuron-ls" || d.NUMA == nil || *d.NUMA != 1 || d.Driver.Version != "2.19.64.0" {
		t.Errorf("memory %d from %+v, NUMA %v, driver %+v", d.Memory, d.Provenance["memory"], d.NUMA, d.Driver)
	}
	if d.Reading == nil || d.Reading.MemoryUsed == nil || *d.Reading.MemoryUsed != 8000 {
		t.Errorf("its meters say %+v", d.Reading)
	}
}

func TestRingIsOneDomain(t *testing.T) {
	devices, _ := machine().Discover(t, New())
	for _, d := range devices {
		if d.Fabric == nil || d.Fabric.Domain != "neuronlink-0000000000000a00" || len(d.Links) != 2 {
			t.Errorf("%s is in %+v with the links %+v", d.UUID, d.Fabric, d.Links)
		}
	}
	d := at(t, devices, "0000:cc:00.0")
	if d.Links[0].To != "neuron-0000000000000a03" || d.Links[1].To != "neuron-0000000000000a01" || d.Links[0].Count != 1 {
		t.Errorf("the links of number 0 lead to %+v", d.Links)
	}
	catalogue.Fill(d)
	if d.Fabric.Bandwidth != 1280e9 {
		t.Errorf("the bandwidth of the fabric is %d", d.Fabric.Bandwidth)
	}
}

func TestErrorsMakeHealth(t *testing.T) {
	devices, _ := machine().Discover(t, New())
	for address, want := range map[string]device.State{"0000:cc:00.0": device.Healthy, "0000:b5:00.0": device.Degraded, "0000:6f:00.0": device.Failed} {
		if d := at(t, devices, address); d.Health.State != want {
			t.Errorf("%s is %+v, not %s", address, d.Health, want)
		}
	}
	m := machine()
	for k := range m.Files {
		if strings.Contains(k, "/stats/") {
			delete(m.Files, k)
		}
	}
	devices, _ = m.Discover(t, New())
	if d := devices[0]; d.Health.State != device.Unknown || d.Reading != nil {
		t.Errorf("without counters health is %+v and the reading %+v", d.Health, d.Reading)
	}
}

func TestWithoutToolNoFileIsGuessed(t *testing.T) {
	m := machine()
	m.Tools = nil
	devices, err := m.Discover(t, New())
	if len(devices) != 4 || err == nil || !strings.Contains(err.Error(), "4 of 4 devices have no device file") {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	for _, d := range devices {
		if len(d.Nodes) > 0 || d.Serial != "" {
			t.Errorf("%+v has what may be another's", d)
		}
	}
}

func TestOneChipNeedsNoTool(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:00:1f.0", ID: "1d0f:7264", Class: "088000", Driver: "neuron"})
	m.Write(dir+"/neuron0/core_count", "2").Write(dir+"/neuron0/connected_devices", "").Write(dir+"/neuron0/info/serial_number", "00000000000000ff")
	devices, err := m.Discover(t, New())
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if d := devices[0]; d.Nodes[0].Path != "/dev/neuron0" || d.Product != "Inferentia2" || d.Fabric != nil || d.Units != 2 {
		t.Errorf("it is %+v", d)
	}
}

func TestWithoutPCITheDriverIsEnough(t *testing.T) {
	m := machine()
	for k := range m.Files {
		if strings.HasPrefix(k, "sys/bus/") || strings.HasPrefix(k, "sys/devices/pci") {
			delete(m.Files, k)
		}
	}
	devices, err := m.Discover(t, New())
	if err != nil || len(devices) != 4 || devices[3].Nodes[0].Path != "/dev/neuron3" || devices[3].Product != "Trainium2" || devices[3].PCI != nil {
		t.Errorf("error %v, devices %+v", err, devices)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, _ := m.Host()
	devices, _ := New().Discover(t.Context(), h)
	m.Write(dir+"/neuron0/stats/hardware/mem_ecc_uncorrected", "3")
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	if d := at(t, devices, "0000:cc:00.0"); d.Health.State != device.Failed || d.Reading.Errors["memory-ecc-uncorrected"] != 3 {
		t.Errorf("after an error it is %+v, %+v", d.Health, d.Reading)
	}
	for k := range m.Files {
		if strings.HasPrefix(k, dir+"/neuron1/") {
			delete(m.Files, k)
		}
	}
	if err := New().Measure(t.Context(), h, devices); err == nil || at(t, devices, "0000:b5:00.0").Health.State != device.Unknown {
		t.Errorf("a chip that the driver lost gives %v", err)
	}
}

func TestReadForms(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		product string
		units   int
	}{
		"with instance, domain and no links": {`[{"instance_type":"trn2.3xlarge","neuron_device":0,"bdf":"0000:33:00.0","numa_node":"0","connected_to":null,"nc_count":4,"logical_neuroncore_config":2,"memory_size":103079215104,"neuroncore_ids":[0,1,2,3],"neuron_processes":[]}]`, "Trainium2", 8},
		"old, without logical cores":         {`[{"neuron_device":0,"bdf":"00:1e.0","connected_to":null,"nc_count":2,"memory_size":34359738368,"neuron_processes":[]}]`, "Neuron device", 2},
	} {
		devices, err := New().Read([]byte(c.text))
		if err != nil || len(devices) != 1 {
			t.Fatalf("%s: %d devices, error %v", name, len(devices), err)
		}
		if d := devices[0]; d.Product != c.product || d.Units != c.units || d.Fabric != nil || d.Memory == 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{"[]", "{}", "[{}]", `[null]`, `[{"neuron_device":-1,"bdf":"x"}]`, `[{"gpu":0}]`, `[{"index":0,"name":"x"}]`} {
		if devices, err := New().Read([]byte(text)); !errors.Is(err, device.ErrFormat) || devices != nil {
			t.Errorf("%s gives %v, %v", text, devices, err)
		}
	}
}

// TestDocumentedSample reads what AWS's documentation shows of a trn2.48xlarge.
func TestDocumentedSample(t *testing.T) {
	devices, err := New().Read(devicetest.Saved(t, "aws-neuron/neuron-ls-j.trn2.doc-sample.json"))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.PCI.Address != "0000:cc:00.0" || b.PCI.Address != "0000:f7:00.0" || a.Memory != 96<<30 || a.Units != 8 || *b.NUMA != 1 || b.Nodes[0].Path != "/dev/neuron15" {
		t.Errorf("they are %+v and %+v", a, b)
	}
	// Numbers 0 and 15 are both linked to 12, of which the sample does not tell.
	if len(a.Links) != 0 || a.Fabric != nil {
		t.Errorf("links to devices that are not there: %+v", a.Links)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ring))
	f.Add([]byte(`[{"neuron_device":0,"bdf":"0000:33:00.0","numa_node":7,"connected_to":[0,0,1],"nc_count":-1,"memory_size":1e3}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := New().Read(b)
		if err == nil && len(devices) == 0 || len(devices) > chipsMax {
			t.Errorf("%d devices, error %v", len(devices), err)
		}
		for _, d := range devices {
			if d.Memory < 0 || d.Units < 0 || d.Product == "" {
				t.Errorf("%+v", d)
			}
		}
	})
}
