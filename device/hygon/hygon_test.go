package hygon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

const (
	bus   = `{"card1": {"PCI Bus": "0000:5e:00.0 --> SN: T8R1380019021101 --> OAM ID: 4"}, "card0": {"PCI Bus": "0000:06:00.0 --> SN: T8R1380013061601"}}`
	nodes = `{"card0":{"(Topology) Numa Node":"0","(Topology) Numa Affinity":"0"}, "card1":{"(Topology) Numa Node":"4","(Topology) Numa Affinity":"4"}}`
	// all is shortened from what a machine with eight DCUs printed, commas missing.
	all = `{"card0": {"Card Series": "BW", "Card Vendor": "C-3000 IC Design Co., Ltd.", "Average Graphics Package Power (W)": "91.0""Average GFX Core Power (W)": "20.0", "Temperature (Sensor edge) (C)": "54.0", "HCU use (%)": "25.0", "HCU memory use (%)": "98", "": "", "vram Total Memory (MiB)": "65520", "vram Total Used Memory (MiB)": "64169"}, "card1": {"Card Series": "K100_AI", "Card Vendor": "C-3000 IC Design Co., Ltd.", "Unique ID": "0x7100f95cee823041", "Average Graphics Package Power (W)": "NaN"}}`
)

// machine has a DCU of the old class and one of the new on two NUMA nodes, made as KFD
// and hy-smi are documented.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Write("sys/devices/system/node/node0/cpulist", "0-15").Write("sys/devices/system/node/node1/cpulist", "16-31")
	for i, c := range []devicetest.Card{
		{Address: "0000:06:00.0", ID: "1d94:6211", Class: "038000", Driver: "hydcu", NUMA: "0"},
		{Address: "0000:5e:00.0", ID: "1d94:fff0", Class: "0b4000", Driver: "hydcu", NUMA: "0"},
	} {
		m.Plug(c)
		m.Symlink(fmt.Sprintf("sys/class/drm/card%d/device", 1+i), "../../../"+c.Address)
		m.Symlink(fmt.Sprintf("sys/class/drm/renderD%d/device", 128+i), "../../../"+c.Address)
		dir := fmt.Sprintf("sys/class/kfd/kfd/topology/nodes/%d", 1+i)
		m.Write(dir+"/properties", fmt.Sprintf("simd_count 480\nsimd_per_cu 4\ngfx_target_version 90208\nvendor_id 7572\nlocation_id %d\ndrm_render_minor %d\nunique_id %d", []int{0x600, 0x5e00}[i], 128+i, 8142508126285857857+i))
		m.Write(dir+"/mem_banks/0/properties", "heap_type 1\nsize_in_bytes 68702699520")
	}
	m.Plug(devicetest.Card{Address: "0000:00:01.1", ID: "1d94:1453", Class: "060400", Driver: "pcieport"})
	m.Plug(devicetest.Card{Address: "0000:03:00.2", ID: "1d94:1456", Class: "108000", Driver: "ccp"})
	return m.Tool("hy-smi --showbus --json", bus).Tool("hy-smi --showtoponuma --json", nodes)
}

func TestSuite(t *testing.T) {
	devicetest.Suite{
		Adapter: New(), Machine: machine, Devices: 2,
		Strangers: []device.Function{
			{Vendor: "1d94", Device: "1453", Class: "060400"},
			{Vendor: "1d94", Device: "1456", Class: "108000"},
			{Vendor: "1d94", Device: "1456", Class: "0b4000"}, // the security processor
			{Vendor: "1d94", Device: "1458", Class: "020000"}, // a network card
			{Vendor: "1d94", Device: "7901", Class: "010601"},
			{Vendor: "1d94", Device: "62b7", Class: "060400"}, // a number of a DCU, not its class
			{Vendor: "1002", Device: "740f", Class: "038000", Driver: "amdgpu"},
		},
		Outputs: [][]byte{[]byte(all), []byte(bus)},
	}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.Product != "K100-AI" || a.UUID != fmt.Sprintf("hygon-%016x", 8142508126285857857) || a.Serial != "T8R1380013061601" {
		t.Errorf("the first is %s, %s, %s", a.Product, a.UUID, a.Serial)
	}
	if a.Memory != 68702699520 || a.Units != 120 || a.Architecture != "gfx928" || a.Software != "dtk" {
		t.Errorf("the first has %d bytes, %d units, %s, %s", a.Memory, a.Units, a.Architecture, a.Software)
	}
	if a.NUMA == nil || *a.NUMA != 0 || b.NUMA == nil || *b.NUMA != 4 || b.Provenance["numa"].From != "hy-smi" || b.PCI.NUMA == nil || *b.PCI.NUMA != 0 {
		t.Errorf("NUMA nodes are %v and %v of %v; hy-smi says 0 and 4", a.NUMA, b.NUMA, b.Provenance)
	}
	want := []device.Node{{Path: "/dev/kfd", Type: "c", Shared: true}, {Path: "/dev/mkfd", Type: "c", Shared: true}, {Path: "/dev/dri/card2", Type: "c"}, {Path: "/dev/dri/renderD129", Type: "c"}}
	if d := cmp.Diff(want, b.Nodes); d != "" {
		t.Error(d)
	}
	e := New().Edits(devices)
	if len(e.Nodes) != 6 || e.Env["HCU_VISIBLE_DEVICES"] != "void" || e.Mounts[0].Host != "/opt/hyhal" {
		t.Errorf("a container is given %+v", e)
	}
}

func TestDiscoverTellsProductsByArchitecture(t *testing.T) {
	for gfx, want := range map[string]string{"90208": "K100-AI", "90006": "Z200SM"} {
		m := devicetest.New()
		m.Plug(devicetest.Card{Address: "0000:06:00.0", ID: "1d94:6210", Class: "038000", Driver: "hydcu"})
		m.Write("sys/class/kfd/kfd/topology/nodes/1/properties", "simd_count 480\nvendor_id 7572\nlocation_id 1536\ndrm_render_minor 128\ngfx_target_version "+gfx)
		m.Tool("hy-smi", bus)
		if devices, _ := m.Discover(t, New()); len(devices) != 1 || devices[0].Product != want {
			t.Errorf("%s is %+v, want %s", gfx, devices, want)
		}
	}
}

func TestDiscoverDistrustsTheKernelsNUMA(t *testing.T) {
	m := machine()
	m.Tools = nil
	devices, err := m.Discover(t, New())
	if len(devices) != 2 || devices[0].NUMA != nil || err == nil || !strings.Contains(err.Error(), "the kernel says 0 for all") {
		t.Errorf("%d devices, NUMA %v, error %v", len(devices), devices[0].NUMA, err)
	}
	delete(m.Files, "sys/devices/system/node/node1/cpulist")
	devices, err = m.Discover(t, New())
	if err != nil || devices[0].NUMA == nil || *devices[0].NUMA != 0 {
		t.Errorf("with one node NUMA is %v, error %v", devices[0].NUMA, err)
	}
	m = machine().Tool("hy-smi --showtoponuma --json", "This command does not support to set print format")
	devices, err = m.Discover(t, New())
	if err == nil || devices[1].NUMA != nil || devices[1].Serial != "T8R1380019021101" {
		t.Errorf("with half of the answers: %+v, error %v", devices[1], err)
	}
}

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(all))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.Product != "BW" || a.Memory != 65520<<20 || a.UUID != "" || a.PCI != nil {
		t.Errorf("the first is %+v", a)
	}
	if d := cmp.Diff(&device.Reading{Utilization: new(0.25), MemoryUsed: new(int64(64169 << 20)), Temperature: new(54.0), Power: new(91.0)}, a.Reading); d != "" {
		t.Error(d)
	}
	if b.Product != "K100-AI" || b.UUID != "hygon-7100f95cee823041" || b.Reading.Power != nil {
		t.Errorf("the second is %+v", b)
	}
	devices, err = New().Read([]byte(bus))
	if err != nil || devices[1].PCI.Address != "0000:5e:00.0" || devices[1].Serial != "T8R1380019021101" || devices[1].UUID != "hygon-T8R1380019021101" {
		t.Errorf("of --showbus: %+v, error %v", devices, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", "{}", `{"card0": {"Card Vendor": "Advanced Micro Devices, Inc. [AMD/ATI]", "PCI Bus": "0000:07:00.0"}}`, nodes} {
		if _, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%q gives %v", s, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(all))
	f.Add([]byte(bus))
	f.Add([]byte(nodes))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := New().Read(b)
		if (err == nil) == (len(devices) == 0) {
			t.Errorf("%d devices, error %v", len(devices), err)
		}
		for _, d := range devices {
			if d.Product == "" || d.Memory < 0 || d.NUMA != nil && *d.NUMA < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}
