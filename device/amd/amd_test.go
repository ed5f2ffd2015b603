package amd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// node writes a node of KFD with a bank of memory. The names are those of the
// kernel's kfd_topology.c, the values of captures where there are any.
func node(m *devicetest.Machine, number int, memory int64, properties map[string]uint64) {
	dir := fmt.Sprintf("sys/class/kfd/kfd/topology/nodes/%d", number)
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s %d\n", k, properties[k])
	}
	m.Write(dir+"/properties", strings.TrimSpace(text.String()))
	if memory > 0 {
		m.Write(dir+"/mem_banks/0/properties", fmt.Sprintf("heap_type 1\nsize_in_bytes %d\nflags 0", memory))
	}
}

func link(m *devicetest.Machine, kind string, from, to, number int, what uint64, low, high int) {
	m.Write(fmt.Sprintf("sys/class/kfd/kfd/topology/nodes/%d/%s/%d/properties", from, kind, number),
		fmt.Sprintf("type %d\nnode_from %d\nnode_to %d\nweight 15\nmin_bandwidth %d\nmax_bandwidth %d", what, from, to, low, high))
}

// drawn makes the entries of sys/class/drm.
func drawn(m *devicetest.Machine, card, render int, of string) {
	m.Symlink(fmt.Sprintf("sys/class/drm/card%d/device", card), "../../../"+of)
	m.Symlink(fmt.Sprintf("sys/class/drm/renderD%d/device", render), "../../../"+of)
}

// machine has an MI300X in CPX of which KFD shows three partitions, two MI210 that XGMI
// joins, a Radeon without a number of its own, and one that KFD does not know, all made
// from the kernel's documentation and captures of the same kinds of GPU.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Write("sys/module/amdgpu/version", "6.12.12")
	node(m, 0, 0, map[string]uint64{"cpu_cores_count": 64, "simd_count": 0})
	ras := map[string]string{"ras/umc_err_count": "ue: 0\nce: 3", "ras/gfx_err_count": "ue: 0\nce: 0", "ras/features": "feature mask: 0x3"}
	mi300 := map[string]string{
		"current_compute_partition": "CPX", "current_memory_partition": "NPS1", "available_compute_partition": "SPX, DPX, QPX, CPX",
		"mem_info_vram_total": "206141652992", "unique_id": "e3a9f0a1b2c3d4e5", "serial_number": "692432000123", "product_name": "AMD Instinct MI300X OAM", "vbios_version": "113-M3000100-102",
		"hwmon/hwmon2/name": "amdgpu", "hwmon/hwmon2/temp2_label": "junction", "hwmon/hwmon2/temp2_input": "41000", "hwmon/hwmon2/power1_input": "140000000",
	}
	maps.Copy(mi300, ras)
	m.Plug(devicetest.Card{Address: "0000:05:00.0", ID: "1002:74a1", Class: "120000", Driver: "amdgpu", NUMA: "0", More: mi300})
	drawn(m, 1, 128, "0000:05:00.0")
	for part := range 3 {
		node(m, 2+part, 25767706624, map[string]uint64{
			"simd_count": 152, "simd_per_cu": 4, "gfx_target_version": 90402, "vendor_id": 4098, "device_id": 29857, "num_xcc": 1,
			"location_id": 0x500 + uint64(part), "drm_render_minor": uint64(128 + part), "hive_id": 15188982192727901047, "unique_id": 0xe3a9f0a1b2c3d4e5,
		})
	}
	drawn(m, 2, 129, "amdgpu_xcp_0")
	drawn(m, 3, 130, "amdgpu_xcp_1")
	link(m, "io_links", 2, 3, 0, 11, 819200, 819200)
	for i, bus := range []uint64{0x63, 0x43} {
		address := fmt.Sprintf("0000:%02x:00.0", bus)
		more := map[string]string{"serial_number": fmt.Sprintf("6921380000%d", i), "mem_info_vram_used": "10850304", "gpu_busy_percent": "97"}
		if i == 0 {
			maps.Copy(more, map[string]string{"ras/umc_err_count": "ue: 2\nce: 0", "hwmon/hwmon3/name": "amdgpu", "hwmon/hwmon3/temp1_label": "edge", "hwmon/hwmon3/temp1_input": "36000", "hwmon/hwmon3/power1_average": "41000000", "hwmon/hwmon3/power1_cap": "300000000"})
		}
		m.Plug(devicetest.Card{Address: address, ID: "1002:740f", Class: "038000", Driver: "amdgpu", NUMA: "1", More: more})
		drawn(m, 4+i, 131+i, address)
		node(m, 5+i, 68702699520, map[string]uint64{
			"simd_count": 416, "simd_per_cu": 4, "gfx_target_version": 90010, "vendor_id": 4098, "device_id": 29711, "num_xcc": 1,
			"location_id": bus << 8, "drm_render_minor": uint64(131 + i), "hive_id": 12609507387757274807, "unique_id": 1801979520617338022 + uint64(i),
		})
		link(m, "io_links", 5+i, 0, 0, 2, 312, 32000)
		link(m, "io_links", 5+i, 6-i, 1, 11, 50000, 50000)
		link(m, "p2p_links", 5+i, 2, 0, 2, 0, 0)
	}
	m.Plug(devicetest.Card{Address: "0000:83:00.0", ID: "1002:73df", Class: "030000", Driver: "amdgpu"})
	drawn(m, 6, 133, "0000:83:00.0")
	node(m, 7, 12868124672, map[string]uint64{"simd_count": 80, "simd_per_cu": 2, "gfx_target_version": 100301, "vendor_id": 4098, "device_id": 29663, "location_id": 0x8300, "drm_render_minor": 133})
	m.Plug(devicetest.Card{Address: "0000:85:00.0", ID: "1002:515e", Class: "030000", Driver: "radeon"})
	m.Tool("rocm-smi -a --json", `{"card4": {"Card vendor": "0x1002", "PCI Bus": "0000:83:00.0", "Serial Number": "692140000777"}, "system": {"Driver version": "6.12.12"}}`)
	m.Plug(devicetest.Card{Address: "0000:05:00.1", ID: "1002:ab28", Class: "040300", Driver: "snd_hda_intel"})
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{
		Adapter: New(), Machine: machine, Devices: 6,
		Messages: []string{
			"amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!", "amdgpu 0000:c1:00.0: amdgpu: GPU reset(2) succeeded!", "amdgpu 0000:c1:00.0: GPU reset(2) failed",
			"amdgpu 0000:c1:00.0: {1}uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!",
			"amdgpu 0000:c1:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block",
		},
		Strangers: []device.Function{
			{Vendor: "1002", Device: "515e", Class: "030000", Driver: "radeon"}, // ES1000, a console of servers
			{Vendor: "1002", Device: "ab28", Class: "040300", Driver: "snd_hda_intel"},
			{Vendor: "1002", Device: "1478", Class: "060400"},
			{Vendor: "1022", Device: "1502", Class: "118000"},                  // a processor's
			{Vendor: "1dd8", Device: "1002", Class: "020000"},                  // Pensando
			{Vendor: "10ee", Device: "5000", Class: "120000"},                  // Alveo
			{Vendor: "1d94", Device: "62b7", Class: "038000", Driver: "hydcu"}, // Hygon's
			{Vendor: "10de", Device: "2330", Class: "030200", Driver: "nvidia"},
		},
		Outputs: [][]byte{[]byte(output)},
	}.Run(t)
}

func discover(t *testing.T, m *devicetest.Machine) ([]device.Device, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	return New().Discover(t.Context(), h)
}

func paths(nodes []device.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Path)
	}
	return out
}

func TestDiscoverPartitions(t *testing.T) {
	devices, err := discover(t, machine())
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range devices[:3] {
		if d.PCI.Address != "0000:05:00.0" || d.Ordinal != i || d.Form != device.XCP || d.Profile != "cpx-nps1" || len(d.Partitions) != 0 {
			t.Errorf("partition %d: %+v at %s", i, d, d.PCI.Address)
		}
		if d.Parent != "amd-e3a9f0a1b2c3d4e5" || d.UUID != fmt.Sprintf("amd-e3a9f0a1b2c3d4e5-%d", i) || d.Memory != 25767706624 || d.Units != 38 || d.Architecture != "gfx942" {
			t.Errorf("partition %d is %s of %s with %d bytes, %d units, %s", i, d.UUID, d.Parent, d.Memory, d.Units, d.Architecture)
		}
		if d.Fabric == nil || d.Fabric.Domain != "d2ca1ad46147c377" { // above the greatest int64
			t.Errorf("partition %d is in %+v", i, d.Fabric)
		}
		if d.Serial != "692432000123" || *d.NUMA != 0 || d.Driver.Version != "6.12.12" || d.Health.State != device.Healthy {
			t.Errorf("partition %d: %+v", i, d)
		}
		want := []string{"/dev/kfd", fmt.Sprintf("/dev/dri/card%d", 1+i), fmt.Sprintf("/dev/dri/renderD%d", 128+i)}
		if got := paths(d.Nodes); !slices.Equal(got, want) || !d.Nodes[0].Shared || d.Nodes[1].Shared {
			t.Errorf("partition %d has the files %v, want %v", i, d.Nodes, want)
		}
	}
	want := []device.Link{{To: "amd-e3a9f0a1b2c3d4e5-1", Type: "xgmi", Count: 1, Bandwidth: 819200e6}}
	if d := cmp.Diff(want, devices[0].Links); d != "" {
		t.Error(d)
	}
}

func TestDiscoverWhole(t *testing.T) {
	devices, _ := discover(t, machine())
	a, b := devices[3], devices[4]
	if a.PCI.Address != "0000:43:00.0" || a.Product != "MI210" || a.Memory != 68702699520 || a.Units != 104 || a.Form != device.Whole || a.Ordinal != 0 {
		t.Errorf("the MI210 is %+v", a)
	}
	if a.Fabric == nil || a.Fabric.Type != "xgmi" || a.Fabric.Domain != b.Fabric.Domain || a.Fabric.Domain == devices[0].Fabric.Domain {
		t.Errorf("the MI210 are in %+v and %+v; both are in one hive, and the MI300X in another", a.Fabric, b.Fabric)
	}
	want := []device.Link{
		{To: b.UUID, Type: "xgmi", Count: 1, Bandwidth: 50e9},
		{To: devices[0].UUID, Type: "pcie"},
	}
	if d := cmp.Diff(want, a.Links); d != "" {
		t.Error(d)
	}
	if a.Health.State != device.Unknown || b.Health.State != device.Degraded || b.Health.Faults[0].Code != "ecc-uncorrected" {
		t.Errorf("health is %+v and %+v; one counts nothing, the other two errors", a.Health, b.Health)
	}
	radeon := devices[5]
	if radeon.UUID != "" || radeon.Product != "device 1002:73df" || radeon.Architecture != "gfx1031" || radeon.Units != 40 || radeon.Fabric != nil || radeon.Health.State != device.Unknown {
		t.Errorf("the Radeon is %+v", radeon)
	}
}

func TestDiscoverOnePartitionOfMany(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:05:00.0", ID: "1002:74a1", Class: "120000", Driver: "amdgpu", More: map[string]string{"current_compute_partition": "DPX"}})
	node(m, 1, 1<<30, map[string]uint64{"simd_count": 8, "vendor_id": 4098, "location_id": 0x500, "drm_render_minor": 128, "unique_id": 1, "gfx_target_version": 90402})
	devices, err := discover(t, m)
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if d := devices[0]; d.Form != device.XCP || d.Profile != "dpx" || d.Parent != "amd-0000000000000001" || d.UUID != "amd-0000000000000001-0" {
		t.Errorf("it is %+v; the mode says that it is a part", d)
	}
}

func TestDiscoverListsModes(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:05:00.0", ID: "1002:74a1", Class: "120000", Driver: "amdgpu", More: map[string]string{
		"current_compute_partition": "SPX", "current_memory_partition": "NPS4", "available_compute_partition": "SPX, DPX, QPX, CPX, CPX, ODD"}})
	node(m, 1, 1<<30, map[string]uint64{"simd_count": 1216, "simd_per_cu": 4, "num_xcc": 8, "vendor_id": 4098, "location_id": 0x500, "drm_render_minor": 128, "unique_id": 1, "gfx_target_version": 90402})
	devices, err := discover(t, m)
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	want := []device.Partition{{Profile: "dpx-nps4", Count: 2, Share: 500}, {Profile: "qpx-nps4", Count: 4, Share: 250}, {Profile: "cpx-nps4", Count: 8, Share: 125}}
	if d := cmp.Diff(want, devices[0].Partitions); d != "" || devices[0].Units != 304 || devices[0].Form != device.Whole {
		t.Errorf("%d units, %s\n%s", devices[0].Units, devices[0].Form, d)
	}
}

func TestDiscoverSaysWhatAGPULacks(t *testing.T) {
	for _, c := range []struct{ driver, want string }{
		{"", "has no driver"},
		{"amdgpu", "unknown to KFD"},
		{"radeon", "is driven by radeon"},
		{"vfio-pci", ""},
	} {
		m := devicetest.New()
		m.Plug(devicetest.Card{Address: "0000:05:00.0", ID: "1002:ffff", Class: "038000", Driver: c.driver, More: map[string]string{"mem_info_vram_total": "8573157376", "unique_id": "0123456789abcdef"}})
		devices, err := discover(t, m)
		if len(devices) != 1 || devices[0].Memory != 8573157376 || devices[0].UUID != "amd-0123456789abcdef" {
			t.Errorf("driver %q: found %+v", c.driver, devices)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("driver %q: said %v, want %q", c.driver, err, c.want)
		}
	}
}

func TestDiscoverGraphicsOfProcessors(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:c5:00.0", ID: "1002:1586", Class: "038000", Driver: "amdgpu"})
	node(m, 1, 512<<20, map[string]uint64{"simd_count": 80, "simd_per_cu": 2, "vendor_id": 4098, "location_id": 0xc500, "drm_render_minor": 128, "gfx_target_version": 110501})
	node(m, 2, 0, map[string]uint64{"simd_count": 32, "cpu_cores_count": 4, "vendor_id": 4098, "location_id": 8, "drm_render_minor": 129, "gfx_target_version": 80001})
	m.Write("sys/class/kfd/kfd/topology/nodes/2/mem_banks/0/properties", "heap_type 0\nsize_in_bytes 17179869184")
	devices, err := discover(t, m)
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	for _, d := range devices {
		if o := d.Provenance["memory"]; d.Kind != device.GPU || d.Memory == 0 || !strings.Contains(o.Source, "memory of the machine") {
			t.Errorf("%s has %d bytes from %+v; they are the machine's", d.Architecture, d.Memory, o)
		}
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
	part, whole := devices[0].Reading, devices[4].Reading
	want := &device.Reading{Temperature: new(41.0), Errors: map[string]int64{"ecc-uncorrected": 0, "ecc-corrected": 3}}
	if d := cmp.Diff(want, part); d != "" {
		t.Errorf("a partition:\n%s", d)
	}
	want = &device.Reading{Utilization: new(0.97), MemoryUsed: new(int64(10850304)), Temperature: new(36.0), Power: new(41.0), PowerLimit: new(300.0),
		Errors: map[string]int64{"ecc-uncorrected": 2, "ecc-corrected": 0}}
	if d := cmp.Diff(want, whole); d != "" {
		t.Errorf("a whole GPU:\n%s", d)
	}
	for name := range m.Files {
		if strings.Contains(name, "0000:63:00.0") {
			delete(m.Files, name)
		}
	}
	if err := New().Measure(t.Context(), h, devices); err == nil || devices[4].Health.State != device.Failed || devices[3].Health.State != device.Unknown {
		t.Errorf("a GPU that is gone is %s, error %v; the other is %s", devices[4].Health.State, err, devices[3].Health.State)
	}
}

func FuzzErrorCounts(f *testing.F) {
	f.Add("ue: 2\nce: 3\n")
	f.Add("ue: 9223372036854775807\nue: 9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		m := devicetest.New().Write("d/ras/umc_err_count", text)
		uncorrected, corrected, ok := errorCounts(&device.Host{FS: m.Files}, "d")
		if uncorrected < 0 || corrected < 0 || !ok && uncorrected+corrected > 0 {
			t.Errorf("%q: %d, %d, %v", text, uncorrected, corrected, ok)
		}
	})
}

// TestDiscoverTakesWhatIsThere has eight MI300X in CPX as KFD alone shows them, of which
// one partition is not there.
func TestDiscoverTakesWhatIsThere(t *testing.T) {
	m := devicetest.New()
	for n := range 64 {
		if n == 21 {
			continue
		}
		card, part := uint64(n/8), uint64(n%8)
		node(m, 2+n, 0, map[string]uint64{
			"simd_count": 152, "simd_per_cu": 4, "gfx_target_version": 90402, "vendor_id": 4098, "device_id": 29857, "hive_id": 15188982192727901047,
			"location_id": (0x05+0x22*card)<<8 | part, "drm_render_minor": uint64(128 + n), "unique_id": 16404946649897475633 + card, "num_xcc": 1,
		})
		link(m, "io_links", 2+n, 2+(n+1)%64, 0, 11, 0, 0)
	}
	devices, err := discover(t, m)
	if err != nil || len(devices) != 63 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	uuids, cards, links := map[string]bool{}, map[string]int{}, 0
	for _, d := range devices {
		uuids[d.UUID] = true
		cards[d.PCI.Address+" "+d.Parent]++
		links += len(d.Links)
		if d.Form != device.XCP || d.Product != "MI300X" || d.UUID != fmt.Sprintf("%s-%d", d.Parent, d.Ordinal) || d.Memory != 0 {
			t.Errorf("%s, partition %d, is %+v", d.PCI.Address, d.Ordinal, d)
		}
	}
	third := fmt.Sprintf("0000:49:00.0 amd-%016x", uint64(16404946649897475635))
	if len(uuids) != 63 || len(cards) != 8 || cards[third] != 7 || links != 62 {
		t.Errorf("%d UUIDs, %d links, cards %v; the third lacks a partition", len(uuids), links, cards)
	}
}
