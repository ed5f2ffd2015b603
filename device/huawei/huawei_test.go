package huawei

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// unit is a chip of a made-up machine.
type unit struct {
	npu, chip, logic, physical   int
	name, bus, numa, die, health string
	memory                       int // MiB
}

// a2 has eight 910B2, at the addresses and with the dies of the machine whose
// capture is detect_output_ascend_910b2.json of gpustack/runtime.
func a2() []unit {
	var out []unit
	for i, at := range []string{"c1", "01", "c2", "02", "81", "41", "82", "42"} {
		out = append(out, unit{
			npu: i, logic: i, physical: i, name: "910B2", bus: "0000:" + strings.ToUpper(at) + ":00.0", numa: []string{"6", "0", "6", "0", "4", "2", "4", "2"}[i],
			die: fmt.Sprintf("%08X 802061B1 6A691492 89528485 104301E3", 0xe0f4ee64+i), health: "OK", memory: 65536,
		})
	}
	return out
}

const rule = "+------+\n"

// tableOf prints `npu-smi info` in the form that the 910A and 910B have (1Panel issue
// 9472, version 24.1.1; Huawei's FaultDiag documentation, 23.0.5).
func tableOf(units []unit) string {
	out := rule + "| npu-smi 25.5.1                   Version: 25.5.1                                               |\n" + rule +
		"| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|\n" +
		"| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |\n" + rule
	for _, u := range units {
		out += fmt.Sprintf("| %d     %-19s | %-13s | %.1f       %d                0    / 0             |\n", u.npu, u.name, u.health, 95+float64(u.npu)/2, 44+u.npu)
		out += fmt.Sprintf("| %d                         | %s  | %d           0    / 0          3432 / %-12d |\n", u.chip, u.bus, 10*u.npu, u.memory) + rule
	}
	return out + "| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |\n" + rule +
		"| No running processes found in NPU 0                                                            |\n" +
		"| 5       0                 | 2290156       | VLLMEngineCore           | 56630                   |\n" + rule
}

// tableOf310P prints it in the form of cards with two chips at one address (ollama
// issue 5315, version 24.1.rc2; Syllo/nvtop issue 421, version 25.2.0).
func tableOf310P(units []unit) string {
	out := "| npu-smi 24.1.rc2                                 Version: 24.1.rc2                                     |\n" +
		"| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |\n" +
		"| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |\n" + rule
	for _, u := range units {
		out += fmt.Sprintf("| %d       310P3                 | %-15s | NA           59                0     / 0             |\n", u.npu, u.health)
		out += fmt.Sprintf("| %d       %d                     | %s    | 0            1397 / %d                            |\n", u.chip, u.logic, u.bus, u.memory) + rule
	}
	return out
}

// tableOfA3 prints it in the form of the 910C (vllm-project/vllm-ascend issue 2534).
func tableOfA3(units []unit) string {
	out := "| npu-smi 25.2.1                   Version: 25.2.1                                               |\n" +
		"| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|\n" +
		"| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |\n" + rule
	for _, u := range units {
		power := []string{"178.5", "-    "}[u.chip]
		out += fmt.Sprintf("| %d     Ascend910           | %-13s | %s       36                0    / 0             |\n", u.npu, u.health, power)
		out += fmt.Sprintf("| %d     %d                   | %s  | 0           0    / 0          3416 / %d         |\n", u.chip, u.physical, u.bus, u.memory) + rule
	}
	return out
}

// mappingOf prints `npu-smi info -m`, with the column Chip Phy-ID or without it
// (vllm-ascend's tests have both; the captures in ascend/ are without).
func mappingOf(units []unit, physical bool) string {
	out, last := "\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Name\n", unit{npu: -1}
	if physical {
		out = "\tNPU ID      Chip ID      Chip Logic ID      Chip Phy-ID      Chip Name\n"
	}
	for i, u := range units {
		out += fmt.Sprintf("\t%d      %d      %d     ", u.npu, u.chip, u.logic)
		if physical {
			out += fmt.Sprintf(" %d     ", u.physical)
		}
		out += " Ascend " + u.name + "\n"
		if last = u; i+1 == len(units) || units[i+1].npu != u.npu {
			out += fmt.Sprintf("\t%d      %d      -     %s Mcu\n", last.npu, last.chip+1, map[bool]string{true: " -     "}[physical])
		}
	}
	return out
}

// boardOf prints `npu-smi info -t board -i N -c M` (ascend/mind-cluster_npu_info_before.txt).
func boardOf(u unit) string {
	return fmt.Sprintf("\tNPU ID                         : %d\n\tChip ID                        : %d\n\tChip Type                      : Ascend\n\tChip Name                      : %s\n\tVDie ID                        : %s\n\tPCIe Bus Info                  : %s\n\tFirmware Version               : 7.7.0.6.236\n", u.npu, u.chip, u.name, u.die, u.bus)
}

// eccOf prints `npu-smi info -t ecc -i N -c M`.
func eccOf(u unit, single, double int) string {
	return fmt.Sprintf("\tNPU ID                                   : %d\n\tHBM Single Bit Error Count               : %d\n\tHBM Double Bit Error Count               : %d\n\tChip ID                                  : %d\n", u.npu, single, double, u.chip)
}

// topoOf prints `npu-smi info -t topo` (modelscope/ms-swift, docs on NPUs: 910B3).
func topoOf(n int) string {
	out := "\t  "
	for i := range n {
		out += fmt.Sprintf(" NPU%d      ", i)
	}
	out += "CPU Affinity\n"
	for i := range n {
		out += fmt.Sprintf("NPU%d ", i)
		for j := range n {
			out += map[bool]string{true: "      X   ", false: "      HCCS"}[i == j]
		}
		out += "       144-167\n"
	}
	return out + "\nLegend:\n\n  X    = Self\n  SYS  = Path traversing PCIe and NUMA nodes.\n  HCCS = Connection traversing HCCS.\n  NA   = Unknown relationship.\n"
}

// plug makes a machine of units, with the driver's files and the answers that all
// products give.
func plug(units []unit, id string) *devicetest.Machine {
	m := devicetest.New()
	at := map[string]bool{}
	for _, u := range units {
		if bus := strings.ToLower(u.bus); !at[bus] {
			at[bus] = true
			m.Plug(devicetest.Card{Address: bus, ID: "19e5:" + id, Sub: "19e5:6001", Class: "120000", Driver: "devdrv_device_driver", NUMA: u.numa})
		}
		m.Write(fmt.Sprintf("dev/davinci%d", u.physical), "")
		m.Tool(fmt.Sprintf("npu-smi info -t board -i %d -c %d", u.npu, u.chip), boardOf(u))
		m.Tool(fmt.Sprintf("npu-smi info -t ecc -i %d -c %d", u.npu, u.chip), eccOf(u, 0, 0))
		m.Tool(fmt.Sprintf("npu-smi info -t phyid-remap -p %d", u.physical),
			fmt.Sprintf("\tChip Physical ID            :%d\n\tChip Logic ID               :%d\n\tNPU ID                      :%d\n\tChip ID                     :%d\n", u.physical, u.logic, u.npu, u.chip))
	}
	for _, f := range []string{"davinci_manager", "devmm_svm", "hisi_hdc", "dvpp_cmdlist"} {
		m.Write("dev/"+f, "")
	}
	m.Plug(devicetest.Card{Address: "0000:06:00.0", ID: "19e5:1711", Class: "030000"}, devicetest.Card{Address: "0000:7d:00.0", ID: "19e5:a222", Class: "020000", Driver: "hns3"})
	return m.Write("usr/local/Ascend/driver/version.info", "Version=25.5.1\nascendhal_version=7.35.23\npackage_version=25.5.1")
}

func machine() *devicetest.Machine {
	units := a2()
	return plug(units, "d802").Tool("npu-smi info", tableOf(units)).Tool("npu-smi info -m", mappingOf(units, false)).Tool("npu-smi info -t topo", topoOf(8))
}

func TestSuite(t *testing.T) {
	units := a2()
	devicetest.Suite{
		Adapter: New(), Machine: machine, Devices: 8,
		Strangers: []device.Function{
			{Vendor: "19e5", Device: "1711", Class: "030000"}, // graphics of a management controller
			{Vendor: "19e5", Device: "1822", Class: "020000"}, // Hi1822 network card
			{Vendor: "19e5", Device: "a222", Class: "020000"},
			{Vendor: "19e5", Device: "3714", Class: "010802"}, // SSD
			{Vendor: "10de", Device: "d802", Class: "120000"},
		},
		Outputs: [][]byte{[]byte(tableOf(units)), []byte(mappingOf(units, false)), []byte(tableOfA3(a3()))},
	}.Run(t)
}

func find(t *testing.T, m *devicetest.Machine) []device.Device {
	t.Helper()
	devices, err := m.Discover(t, New())
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

func TestDiscover910B(t *testing.T) {
	devices := find(t, machine())
	if len(devices) != 8 {
		t.Fatalf("%d devices", len(devices))
	}
	d := devices[0] // by address: NPU 1
	if d.Product != "Ascend 910B2" || d.PCI.Address != "0000:01:00.0" || *d.NUMA != 0 || d.Memory != 64<<30 || d.Nodes[0].Path != "/dev/davinci1" {
		t.Errorf("the first is %+v", d)
	}
	if d.UUID != "npu-e0f4ee65-802061b1-6a691492-89528485-104301e3" || d.Driver.Version != "25.5.1" || d.Driver.Firmware != "7.7.0.6.236" {
		t.Errorf("its identity is %s, driver %+v", d.UUID, d.Driver)
	}
	if d.Health.State != device.Healthy || *d.Reading.Power != 95.5 || *d.Reading.Temperature != 45 || *d.Reading.Utilization != 0.1 || *d.Reading.MemoryUsed != 3432<<20 {
		t.Errorf("health %+v, reading %+v", d.Health, d.Reading)
	}
	if d.Provenance["memory"].From != "npu-smi" || d.Provenance["driver.version"].From != "" {
		t.Errorf("memory comes from npu-smi and the driver's version from its file, but is noted as %+v", d.Provenance)
	}
	for _, d := range devices {
		if d.Fabric == nil || d.Fabric.Type != "hccs" || d.Fabric.Domain != "hccs-npu-e0f4ee64-802061b1-6a691492-89528485-104301e3" || len(d.Links) != 7 {
			t.Errorf("%s: fabric %+v, %d links; all eight are of one domain", d.PCI.Address, d.Fabric, len(d.Links))
		}
	}
	shared := 0
	for _, n := range d.Nodes {
		if n.Shared {
			shared++
		}
	}
	if shared != 4 || len(d.Nodes) != 5 {
		t.Errorf("device files are %+v", d.Nodes)
	}
}

// The numbers of the device files need not be those of the cards: here they run the
// other way.
func TestNodesByPhysicalID(t *testing.T) {
	units := a2()
	for i := range units {
		units[i].physical = 7 - i
	}
	m := plug(units, "d802").Tool("npu-smi info", tableOf(units)).Tool("npu-smi info -m", mappingOf(units, false)).Tool("npu-smi info -t topo", topoOf(8))
	for _, d := range find(t, m) {
		if d.PCI.Address == "0000:c1:00.0" && d.Nodes[0].Path != "/dev/davinci7" {
			t.Errorf("NPU 0 has %s; the driver calls it 7", d.Nodes[0].Path)
		}
	}
	m = plug(units, "d802").Tool("npu-smi info", tableOf(units)).Tool("npu-smi info -m", mappingOf(units, false)).Tool("npu-smi info -t topo", topoOf(8))
	for i := range 8 {
		delete(m.Tools, fmt.Sprintf("npu-smi info -t phyid-remap -p %d", i))
	}
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err == nil || len(devices) != 8 || len(devices[0].Nodes) != 0 {
		t.Errorf("without the numbers of the driver there is error %v and %d devices with files %+v; none is certain", err, len(devices), devices[0].Nodes)
	}
}

// Where npu-smi does not tell the number, a file that the kernel lists below a card of
// one chip is that chip's.
func TestNodesOfKernel(t *testing.T) {
	units := a2()[:1]
	m := plug(units, "d802").Tool("npu-smi info", tableOf(units)).Tool("npu-smi info -m", mappingOf(units, false))
	delete(m.Tools, "npu-smi info -t phyid-remap -p 0")
	m.Symlink("sys/dev/char/236:5", "../../devices/pci0000:c1/0000:c1:00.0/davinci/davinci5")
	h, _ := m.Host()
	devices, _ := New().Discover(t.Context(), h)
	if len(devices) != 1 || len(devices[0].Nodes) == 0 || devices[0].Nodes[0].Path != "/dev/davinci5" {
		t.Errorf("it is %+v", devices)
	}
}

// a3 has two cards of two chips, which each have an address (910C).
func a3() []unit {
	var out []unit
	for i, at := range []string{"9d", "9f", "99", "9b"} {
		out = append(out, unit{npu: i / 2, chip: i % 2, logic: i, physical: i, name: "910", bus: "0000:" + at + ":00.0", die: fmt.Sprintf("%X 1 2 3 4", 0x100+i), health: "OK", memory: 65536})
	}
	return out
}

func TestDiscover910C(t *testing.T) {
	units := a3()
	// The form of the matrix with Phy-ID: collect_env of sglang, run on a 910C.
	topo := "\t   Phy-ID0   Phy-ID1   Phy-ID2   Phy-ID3   CPU Affinity\nPhy-ID0   X   SIO   HCCS_SW   HCCS_SW   0-39\nPhy-ID1   SIO   X   HCCS_SW   HCCS_SW   0-39\n" +
		"Phy-ID2   HCCS_SW   HCCS_SW   X   SIO   40-79\nPhy-ID3   HCCS_SW   HCCS_SW   SIO   X   40-79\n"
	m := plug(units, "d803").Tool("npu-smi info", tableOfA3(units)).Tool("npu-smi info -m", mappingOf(units, true)).Tool("npu-smi info -t topo", topo)
	devices := find(t, m)
	if len(devices) != 4 {
		t.Fatalf("%d devices", len(devices))
	}
	for _, d := range devices {
		if d.NUMA != nil || d.Ordinal != 0 || d.Memory != 64<<30 || d.Fabric == nil || d.Fabric.Type != "hccs" || d.Fabric.Domain != devices[0].Fabric.Domain {
			t.Errorf("%s is %+v, fabric %+v", d.PCI.Address, d, d.Fabric)
		}
	}
	last := devices[3] // 9f: chip 1 of NPU 0
	if last.Nodes[0].Path != "/dev/davinci1" || last.Reading.Power != nil || len(last.Links) != 3 {
		t.Errorf("chip 1 of NPU 0 is %+v", last)
	}
}

func TestDiscover310PDuo(t *testing.T) {
	var units []unit
	for i := range 4 {
		units = append(units, unit{npu: 1 + i/2, chip: i % 2, logic: i, physical: i, name: "310P3", bus: []string{"0000:01:00.0", "0000:81:00.0"}[i/2], die: fmt.Sprintf("%X 2101968D 5EB7E8E4 AED8030A 61003039", 0x16e90000+i), health: "OK", memory: []int{44280, 43693}[i%2]})
	}
	m := plug(units, "d500").Tool("npu-smi info", tableOf310P(units)).Tool("npu-smi info -m", mappingOf(units, false)).
		Tool("npu-smi info -t topo", "This device does not support querying topo.\n")
	devices := find(t, m)
	if len(devices) != 4 {
		t.Fatalf("%d devices; each card has two", len(devices))
	}
	a, b := devices[0], devices[1]
	if a.PCI.Address != b.PCI.Address || a.Ordinal != 0 || b.Ordinal != 1 || a.UUID == b.UUID || a.Memory != 44280<<20 || b.Memory != 43693<<20 || a.Fabric != nil {
		t.Errorf("the first card has %+v and %+v", a, b)
	}
	if a.Nodes[0].Path != "/dev/davinci0" || b.Nodes[0].Path != "/dev/davinci1" {
		t.Errorf("their files are %s and %s", a.Nodes[0].Path, b.Nodes[0].Path)
	}
	device.Names(devices)
	if devices[1].Name != "npu-0000-01-00-0-c1" {
		t.Errorf("the second chip is called %s", devices[1].Name)
	}
}

// The 950 has no chips below its cards, and refuses -c (npu-smi 25.7.rc1: SwanLab
// pull request 1719, vllm-ascend issue 10463).
func TestDiscover950(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:61:00.0", ID: "19e5:d806", Class: "120000"})
	for _, f := range []string{"davinci3", "davinci_manager", "devmm_svm", "hisi_hdc", "uburma/uburma0"} {
		m.Write("dev/"+f, "")
	}
	m.Tool("npu-smi info", "| npu-smi 25.7.rc1                                 Version: 25.7.rc1                              |\n"+
		"| NPU ID | Name             | Health        | Power(W)    Temp(C)           Hugepages-Usage(page) |\n"+
		"|        |                  | Bus-Id        | NPU Util(%) Memory-Usage(MB)  HBM-Usage(MB)         |\n"+rule+
		"| 0      | Ascend950PR      | OK            | 195.6       56                0     / 0             |\n"+
		"|        |                  | 0000:61:00.0  | 7           0    / 0          5239  / 131072        |\n"+rule+
		"| No running processes found in NPU 0                                                             |\n")
	m.Tool("npu-smi info -m", "NPU ID     Slot ID     Chip ID     Chip Phy-ID     Chip Name\n0     0     0     3     Ascend950PR\n")
	m.Tool("npu-smi info -t board -i 0", "NPU ID                         : 0\nNPU Name                       : 9579\nChip Name                      : Ascend950PR\nSerial Number                  : 10264L540872\nSoftware Version               : 25.7.rc1.6\nFirmware Version               : 9.0.0.105.229\nPCIe Bus Info                  : 0000:61:00.0\nPCI Vendor ID                  : 0x19E5\nPCI Device ID                  : 0xD806\nChip Count                     : 1\n")
	d := find(t, m)[0]
	if d.Product != "Ascend 950PR" || d.Memory != 128<<30 || d.Serial != "10264L540872" || d.Driver.Version != "25.7.rc1.6" || *d.Reading.Utilization != 0.07 {
		t.Errorf("it is %+v, %+v", d, d.Reading)
	}
	if len(d.Nodes) != 5 || d.Nodes[0].Path != "/dev/davinci3" || d.Nodes[4].Path != "/dev/uburma/uburma0" {
		t.Errorf("its files are %+v", d.Nodes)
	}
}

func TestEdits(t *testing.T) {
	devices := find(t, machine())
	e := New().Edits(devices[:2])
	if len(e.Nodes) != 6 || e.Env["ASCEND_VISIBLE_DEVICES"] != "void" || len(e.Mounts) != len(mounts) {
		t.Errorf("two chips are given %+v", e)
	}
	if e := New().Edits(nil); len(e.Env)+len(e.Mounts) > 0 {
		t.Errorf("nothing is given %+v", e)
	}
}
