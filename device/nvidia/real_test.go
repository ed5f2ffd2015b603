package nvidia

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// Outputs of hardware, and of NVIDIA's mock of its library, which has faults that
// hardware was not caught with.
const (
	hardware = "nvidia-nvml-mock/nvidia-smi-xml/hardware/qx-"
	mock     = "nvidia-nvml-mock/nvidia-smi-xml/qx-"
	telegraf = "telegraf/nvidia_smi/"
	captures = "nvidia-smi-captures/"
)

func readSaved(t testing.TB, name string) []device.Device {
	t.Helper()
	devices, err := New().Read(devicetest.Saved(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return devices
}

// TestRealLogs reads logs of all versions that were saved.
func TestRealLogs(t *testing.T) {
	for _, c := range []struct {
		name                    string
		devices, mib            int
		address, driver, stack  string
		pciID, family, firmware string
	}{
		{hardware + "h100.xml", 8, 81559, "0000:53:00.0", "580.105.08", "13.0", "10de:2330", "Hopper", "96.00.99.00.01"},
		{hardware + "b200.xml", 8, 183359, "0000:8f:00.0", "580.105.08", "13.0", "10de:2901", "Blackwell", "97.00.FA.00.09"},
		{hardware + "gb200.xml", 4, 189471, "0000:29:00.0", "580.173.02", "13.0", "10de:2941", "Blackwell", "97.00.B9.00.69"},
		{hardware + "a100.xml", 1, 40960, "0000:06:00.0", "570.148.08", "12.8", "10de:20b0", "Ampere", "92.00.45.00.03"},
		{hardware + "l40s.xml", 1, 46068, "0000:30:00.0", "595.91.07", "13.2", "10de:26b9", "Ada Lovelace", "95.02.66.00.15"},
		{hardware + "t4.xml", 1, 15360, "0000:00:1e.0", "595.91.07", "13.2", "10de:1eb8", "Turing", "90.04.96.00.02"},
		{telegraf + "gtx-1070-ti.xml", 1, 4096, "0000:01:00.0", "", "", "10de:", "", ""}, // DTD 10, of which little was kept
		{telegraf + "gtx-1660-ti.xml", 1, 5912, "0000:43:00.0", "418.43", "10.1", "10de:2184", "", "90.16.25.00.4C"},
		{telegraf + "quadro-p400.xml", 1, 1998, "0000:43:00.0", "418.43", "10.1", "10de:1cb3", "", "86.07.3B.00.4A"},
		{telegraf + "quadro-p2000-v12.xml", 1, 5120, "0000:17:00.0", "525.125.06", "12.0", "10de:1c30", "Pascal", "86.06.3F.00.30"},
		{telegraf + "tesla-t4.xml", 1, 15360, "0000:00:1e.0", "515.105.01", "11.7", "10de:1eb8", "Turing", "90.04.84.00.06"},
		{telegraf + "rtx-3060-v12.xml", 1, 12288, "0000:2d:00.0", "570.124.04", "12.8", "10de:2487", "Ampere", "94.04.71.00.69"},
		{telegraf + "rtx-3080-v12.xml", 1, 10240, "0000:04:00.0", "536.40", "12.2", "10de:2216", "Ampere", "94.02.71.40.72"},
		{telegraf + "rtx-3080-v13.xml", 1, 10240, "0000:0c:00.0", "595.58.03", "13.2", "10de:2216", "Ampere", "94.02.71.40.72"},
		{telegraf + "rtx-3090-v12.xml", 1, 24576, "0000:00:10.0", "525.147.05", "12.0", "10de:", "Ampere", "94.02.71.40.72"}, // its number is masked
		{telegraf + "rtx-4000-sff-ada-v13.xml", 1, 20475, "0000:06:00.0", "595.84", "13.2", "10de:27b0", "Ada Lovelace", "95.04.53.00.01"},
	} {
		t.Run(filepath.Base(c.name), func(t *testing.T) {
			devices := readSaved(t, c.name)
			if len(devices) != c.devices {
				t.Fatalf("%d devices, not %d", len(devices), c.devices)
			}
			d := devices[0]
			if d.Memory != int64(c.mib)<<20 || d.PCI.Address != c.address || d.PCI.ID() != c.pciID || d.Driver.Version != c.driver || d.Driver.Stack != c.stack || d.Driver.Firmware != c.firmware || d.Family != c.family {
				t.Errorf("the first is %+v on %+v", d, d.PCI)
			}
			for _, d := range devices {
				if d.Health.State != device.Healthy || d.Form != device.Whole {
					t.Errorf("%s is %+v", d.UUID, d.Health)
				}
			}
		})
	}
}

// TestRealFabrics shows that switches within a machine have cluster 0 everywhere, so
// that the cluster is a domain only where it is none of zeros.
func TestRealFabrics(t *testing.T) {
	for name, want := range map[string]string{
		"h100": "nvlink-", "b200": "nvlink-", "gb200": "00000001-0000-0000-0000-000000000001.2", "l40s": "", "a100": "", "t4": "",
	} {
		devices := readSaved(t, hardware+name+".xml")
		for _, d := range devices {
			if want == "" {
				if d.Fabric != nil {
					t.Errorf("%s: the fabric is %+v, there is none", name, d.Fabric)
				}
				continue
			}
			if d.Fabric == nil || !strings.HasPrefix(d.Fabric.Domain, want) || d.Fabric.Domain != devices[0].Fabric.Domain {
				t.Errorf("%s: the fabric is %+v, not of the domain %s that all have", name, d.Fabric, want)
			}
		}
	}
}

func TestRealMeters(t *testing.T) {
	d := readSaved(t, hardware+"gb200.xml")[0]
	if r := d.Reading; *r.Power != 165.93 || *r.PowerLimit != 1200 || *r.Temperature != 27 || *r.MemoryUsed != 0 || *r.Utilization != 0 {
		t.Errorf("meters of the GB200 are %+v; its module's are others", r)
	}
	if d.PCI.Link.String() != "gen5x16" || d.Serial != "1650000000001" || d.Architecture != "blackwell" {
		t.Errorf("the GB200 is %+v on %+v", d, d.PCI)
	}
	d = readSaved(t, hardware+"l40s.xml")[0]
	if d.PCI.Link.String() != "gen4x8" || d.PCI.LinkMax.String() != "gen4x16" || d.Architecture != "ada" {
		t.Errorf("the L40S is %+v on %+v", d, d.PCI)
	}
	d = readSaved(t, hardware+"t4.xml")[0]
	if d.Reading.Errors["ecc-corrected"] != 1 || d.Reading.Errors["ecc-uncorrected"] != 0 || d.Health.State != device.Healthy {
		t.Errorf("the T4, which corrected one error in its life, has %+v and is %+v", d.Reading.Errors, d.Health)
	}
	d = readSaved(t, telegraf+"tesla-t4.xml")[0] // names of before driver 535
	if r := d.Reading; *r.Power != 26.78 || *r.PowerLimit != 70 || *r.MemoryUsed != 1032<<20 {
		t.Errorf("meters of the older T4 are %+v", r)
	}
	d = readSaved(t, telegraf+"quadro-p400.xml")[0] // has no meter of power, and no ECC
	if r := d.Reading; r.Power != nil || r.PowerLimit != nil || r.Errors["ecc-uncorrected"] != 0 || *r.Temperature != 33 {
		t.Errorf("meters of the P400 are %+v", r)
	}
}

func TestRealInstances(t *testing.T) {
	devices := readSaved(t, telegraf+"a100-sxm4-v12.xml")
	if len(devices) != 4 {
		t.Fatalf("%d instances, not 4", len(devices))
	}
	for i, d := range devices {
		want := fmt.Sprintf("MIG-GPU-513536b6-7d19-9063-b049-1e69664bb298/%d/0", i+3)
		if d.Form != device.MIG || d.UUID != want || d.Parent != "GPU-513536b6-7d19-9063-b049-1e69664bb298" || d.Memory != 19968<<20 || d.Units != 14 || d.Ordinal != i || *d.Reading.MemoryUsed != 12<<20 {
			t.Errorf("instance %d is %+v", i, d)
		}
	}
}

// TestRealList reads captures of a whole session, of which it understands the list.
func TestRealList(t *testing.T) {
	devices := readSaved(t, captures+"linux-x86_64__nvidia-h100-mig__590.48.01.txt")
	var got []string
	for _, d := range devices {
		got = append(got, d.Profile+" "+d.UUID)
	}
	want := "3g.40gb MIG-00000000-0000-0000-0000-000000000000, 2g.20gb MIG-00000001-0000-0000-0000-000000000001, 1g.10gb MIG-00000002-0000-0000-0000-000000000002, 1g.10gb MIG-00000003-0000-0000-0000-000000000003"
	if strings.Join(got, ", ") != want {
		t.Errorf("instances are %v", got)
	}
	for _, name := range []string{"linux-x86_64__nvidia-h200__590.48.01", "windows-x86_64__nvidia-geforce-rtx-2080-super__591.86"} {
		if devices := readSaved(t, captures+name+".txt"); len(devices) != 1 || devices[0].UUID != "GPU-00000000-0000-0000-0000-000000000000" {
			t.Errorf("%s: devices are %+v", name, devices)
		}
	}
}

func TestRealMatrixOfOneCard(t *testing.T) {
	cells := parseMatrix(string(devicetest.Saved(t, captures+"linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt")))
	if len(cells) != 1 || cells[[2]int{0, 0}] != "X" {
		t.Errorf("cells are %v", cells)
	}
}

func TestMockedFaults(t *testing.T) {
	for _, c := range []struct{ name, first, second string }{
		{"gb200-healthy", "", ""},
		{"gb200-lost", "row-remap-failure ecc-uncorrected", "gpu-lost"},
		{"gb200-ecc-injected", "row-remap-failure ecc-uncorrected", ""},
		{"gb200-fabric-degraded", "", "fabric-degraded"},
		{"gb200-throttle-counters", "", ""}, // counters of the past are no fault now
		{"a100-healthy", "", ""},
	} {
		devices := readSaved(t, mock+c.name+".xml")
		if len(devices) != 2 || faultsOf(&devices[0]) != c.first || faultsOf(&devices[1]) != c.second {
			t.Errorf("%s: faults are %q and %q, not %q and %q", c.name, faultsOf(&devices[0]), faultsOf(&devices[1]), c.first, c.second)
		}
	}
	lost := readSaved(t, mock+"gb200-lost.xml")[1]
	if lost.Health.State != device.Failed || lost.Memory != 0 || lost.Fabric != nil || lost.Reading != nil && lost.Reading.Power != nil {
		t.Errorf("a lost card is %+v", lost)
	}
}

// TestRealLogOnAMachine discovers eight H100 whose bus is made up around their log.
func TestRealLogOnAMachine(t *testing.T) {
	text := devicetest.Saved(t, hardware+"h100.xml")
	l, err := parseLog(text)
	if err != nil {
		t.Fatal(err)
	}
	m := devicetest.New().Tool("nvidia-smi -q -x", string(text))
	for _, c := range l.cards {
		m.Plug(devicetest.Card{Address: c.address(), ID: "10de:2330", Class: "030200", Driver: module})
	}
	devices, err := discover(t, m)
	if len(devices) != 8 || !strings.Contains(fmt.Sprint(err), "topo -m shows no matrix") {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	for i, d := range devices {
		if len(d.Nodes) == 0 || d.Nodes[0].Path != fmt.Sprintf("/dev/nvidia%d", i) || d.Memory != 81559<<20 || d.Fabric == nil {
			t.Errorf("card %d is %+v", i, d)
		}
	}
}

func TestRealMachine(t *testing.T) {
	devices, err := onDump(t, "ghw-snapshots/linux-amd64-accel-nvidia.tar.gz")
	if len(devices) != 1 || devices[0].PCI.Address != "0000:06:00.0" || devices[0].PCI.ID() != "10de:15f8" || devices[0].NUMA != nil || devices[0].Driver.Module != "nvidia" {
		t.Errorf("devices are %+v; there is one P100", devices)
	}
	if !strings.Contains(fmt.Sprint(err), "memory comes from the catalogue") {
		t.Errorf("problems are %v", err)
	}
}

func TestRealMachineWithoutABus(t *testing.T) {
	if devices, err := onDump(t, "hwloc/linux/nvidia-dgx-gb10.tar.bz2"); len(devices) > 0 || err != nil {
		t.Errorf("devices %+v, error %v; the copy has neither bus nor driver", devices, err)
	}
}
