package gpustack

import (
	"errors"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// samples are GPUStack's own.
const samples = "gpustack-runtime/"

func read(t *testing.T, name string) []device.Device {
	t.Helper()
	devices, err := Read(devicetest.Saved(t, samples+name))
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

// Every sample is read to the end, with what all of them have.
func TestSamples(t *testing.T) {
	count := map[string]int{
		"amd_mi300x": 2, "amd_mi308x": 8, "amd_rx7800xt": 2, "ascend_910b2": 8, "hygon_k100ai": 8, "metax_c500": 8, "nvidia_gb10": 1,
		"nvidia_h100": 8, "nvidia_h100_mig": 11, "nvidia_rtx4080super": 2, "nvidia_rtx4090_48g": 2, "nvidia_rtx4090d": 1, "nvidia_rtx5090d": 1,
		"ascend_310p3": 2, "thead_ppu": 16, // in GPUStack's repository; where they are here, too
	}
	for _, f := range devicetest.Samples(t, samples+"detect_output_*.json") {
		f = strings.TrimPrefix(f, samples)
		name := strings.TrimSuffix(strings.TrimPrefix(f, "detect_output_"), ".json")
		devices := read(t, f)
		if want, known := count[name]; known && len(devices) != want {
			t.Errorf("%s has %d devices, not %d", name, len(devices), want)
		}
		device.Names(devices)
		names := map[string]bool{}
		for _, d := range devices {
			if names[d.Name] || d.Vendor == "" || d.Product == "" || d.Memory <= 0 || d.PCI == nil || d.Health.State != device.Healthy || d.Reading == nil || d.Reading.Temperature == nil {
				t.Errorf("%s: %+v", name, d)
			}
			names[d.Name] = true
		}
	}
}

// The capture of a real machine with eight 910B2.
func TestAscend910B2(t *testing.T) {
	devices := read(t, "detect_output_ascend_910b2.json")
	d := devices[0]
	if d.Vendor != "huawei" || d.Kind != device.NPU || d.Product != "Ascend 910B2" || d.Software != "cann" || d.Units != 24 || d.Memory != 64<<30 {
		t.Errorf("the first is %+v", d)
	}
	if d.UUID != "npu-e0f4ee64-802061b1-6a691492-89528485-104301e3" || devices[1].UUID != "npu-e281a66c-0140c979-2cfbed72-a4500485-104301e3" {
		t.Errorf("UUIDs are %s and %s", d.UUID, devices[1].UUID)
	}
	if d.PCI.Address != "0000:c1:00.0" || *d.NUMA != 6 || d.Nodes[0].Path != "/dev/davinci0" || d.Driver.Version != "25.5.1" || d.Driver.Stack != "" {
		t.Errorf("it is at %s, NUMA %d, files %+v, driver %+v", d.PCI.Address, *d.NUMA, d.Nodes, d.Driver)
	}
	if r := d.Reading; *r.Utilization != 0 || *r.MemoryUsed != 3432<<20 || *r.Temperature != 47 || *r.Power != 101.3 || r.PowerLimit != nil {
		t.Errorf("its reading is %+v", r)
	}
	if d.Fabric != nil || len(d.Links) > 0 {
		t.Error("it has a fabric before its topology was read")
	}
	if err := Join(devicetest.Saved(t, samples+"topology_output_ascend_910b2.json"), devices); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if len(d.Links) != 7 || d.Links[0].Type != "hccs" || d.Fabric == nil || d.Fabric.Type != "hccs" || d.Fabric.Domain != "hccs-npu-3281a664-01404b1e-01ac3572-86d28485-104301e3" {
			t.Errorf("%s has %d links, fabric %+v", d.UUID, len(d.Links), d.Fabric)
		}
	}
}

func TestOthers(t *testing.T) {
	h := read(t, "detect_output_nvidia_h100.json")[0]
	if h.Product != "H100 SXM5 80GB" || h.Driver.Stack != "12.8" || h.Units != 0 || *h.Reading.PowerLimit != 700 || h.Fabric != nil {
		t.Errorf("an H100 is %+v", h)
	}
	r := read(t, "detect_output_nvidia_rtx4090_48g.json")[1]
	if r.Nodes[0].Path != "/dev/nvidia1" || r.Units != 0 {
		t.Errorf("the second 4090 has files %+v, %d units; its cores are of another sort than the H100's", r.Nodes, r.Units)
	}
	a := read(t, "detect_output_amd_mi300x.json")[0]
	if a.Architecture != "gfx942" || a.Units != 304 || a.Memory != 196592<<20 || a.Nodes[1].Path != "/dev/dri/renderD136" || a.Nodes[0].Path != "/dev/dri/card9" {
		t.Errorf("an MI300X is %+v", a)
	}
	if g := read(t, "detect_output_nvidia_h100_mig.json")[0]; g.NUMA != nil {
		t.Errorf("the NUMA node 0-1 is taken for %d", *g.NUMA)
	}
}

func TestMIG(t *testing.T) {
	devices := read(t, "detect_output_nvidia_h100_mig.json")
	parts := map[string]int{}
	for _, d := range devices {
		if d.Form == device.MIG {
			parts[d.Profile]++
			if d.Memory <= 0 || !strings.HasPrefix(d.UUID, "MIG-") || len(d.Nodes) > 0 {
				t.Errorf("an instance is %+v", d)
			}
		}
	}
	if parts["1g.20gb"] != 1 || parts["1g.10gb"] != 2 || len(devices) != 11 {
		t.Errorf("%d devices, instances %v; cards 0 and 3 are cut into 3 and 2", len(devices), parts)
	}
	if devices[1].Ordinal != 1 || devices[1].PCI.Address != devices[0].PCI.Address {
		t.Errorf("the second instance is %+v", devices[1])
	}
	if err := Join(devicetest.Saved(t, samples+"topology_output_nvidia_h100_mig.json"), devices); err != nil {
		t.Fatal(err)
	}
	whole := 0
	for _, d := range devices {
		if d.Form == device.MIG && d.Fabric != nil {
			t.Errorf("the instance %s has NVLink", d.UUID)
		}
		if d.Fabric != nil {
			whole++
		}
	}
	if whole != 6 {
		t.Errorf("%d cards have NVLink; six are whole", whole)
	}
}

// The MetaX machine has two groups of four, the others one or none.
func TestTopologies(t *testing.T) {
	for name, want := range map[string]int{"metax_c500": 2, "amd_mi308x": 1, "nvidia_h100": 1, "hygon_k100ai": 0, "amd_mi300x": 0, "nvidia_rtx4090_48g": 0} {
		devices := read(t, "detect_output_"+name+".json")
		if err := Join(devicetest.Saved(t, samples+"topology_output_"+name+".json"), devices); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		domains := map[string]bool{}
		for _, d := range devices {
			if d.Fabric != nil {
				domains[d.Fabric.Domain] = true
			}
			if len(d.Links) != len(devices)-1 {
				t.Errorf("%s: a device has %d links", name, len(d.Links))
			}
		}
		if len(domains) != want {
			t.Errorf("%s has the domains %v; there are %d", name, domains, want)
		}
	}
	devices := read(t, "detect_output_metax_c500.json")
	if err := Join(devicetest.Saved(t, samples+"topology_output_ascend_910b2.json"), devices); err == nil || devices[0].Links != nil {
		t.Errorf("the topology of another machine is taken: %v", err)
	}
}

const pair = `[{"manufacturer":"ascend","index":0,"name":"310P3","uuid":"16E96E64 2101968D 5EB7E8E4 AED8030A 61003039","cores":8,"memory":44280,"memory_status":"unhealthy","appendix":{"bdf":"0000:81:00.0","numa":"2","card_id":4,"device_id":0}},
{"manufacturer":"ascend","index":1,"name":"310P3","uuid":null,"memory":-1,"temperature":null,"memory_status":null,"appendix":{"bdf":"0000:81:00.0"}}]`

func TestReadForms(t *testing.T) {
	devices, err := Read([]byte(pair))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.Ordinal != 0 || b.Ordinal != 1 || a.Health.State != device.Degraded || b.Health.State != device.Unknown || b.Memory != 0 || b.UUID != "" || b.Reading != nil || a.Nodes != nil {
		t.Errorf("two chips at one address are %+v and %+v", a, b)
	}
	for name, text := range map[string]string{
		"not JSON": "hello", "empty": "", "an empty list": "[]", "an object": `{"a": 1}`, "a list of something else": `[{"id": 1}]`,
		"numbers": "[1, 2]", "half": pair[:len(pair)/2], "a topology": `[{"manufacturer":"ascend","devices_distances":[[0]]}]`,
	} {
		if _, err := Read([]byte(text)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	devices, err = Read([]byte(`[{"manufacturer":"acme","index":0},{"manufacturer":"nvidia","index":1,"name":"NVIDIA Titan of Acme","appendix":null}]`))
	if err == nil || errors.Is(err, device.ErrFormat) || len(devices) != 1 || devices[0].Product != "Titan of Acme" {
		t.Errorf("of an unknown manufacturer and a known one: %+v, %v", devices, err)
	}
}

func TestFabricOfSeveralMachines(t *testing.T) {
	devices, err := Read([]byte(`[{"manufacturer":"nvidia","index":0,"name":"NVIDIA GB200","appendix":{"fabric_cluster_uuid":"8AD51FD2-56C5-4FF6-A4DF-F6DD2D3CF9D3","fabric_clique_id":32766}}]`))
	if err != nil || devices[0].Fabric == nil || devices[0].Fabric.Domain != "8ad51fd2-56c5-4ff6-a4df-f6dd2d3cf9d3.32766" {
		t.Errorf("%+v, %v", devices, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(pair), []byte(`[{"manufacturer":"ascend","devices_distances":[[0,5],[5,0]]}]`))
	f.Add([]byte(`[{"manufacturer":"nvidia","index":0,"appendix":{"bdf":"1:2.3","mig_devices":[{"name":"1g.10gb","memory":1e30}]}}]`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, output, topology []byte) {
		devices, _ := Read(output)
		_ = Join(topology, devices)
		for _, d := range devices {
			if d.Memory < 0 || d.Units < 0 || d.Product == "" || d.Health.State == "" || d.NUMA != nil && *d.NUMA < 0 {
				t.Errorf("it reads %+v", d)
			}
		}
	})
}
