package cpu

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// block is what cpuinfo says of one processor of a server with AMX.
const block = `processor	: %d
vendor_id	: GenuineIntel
cpu family	: 6
model name	: Intel(R) Xeon(R)  Platinum 8480+
microcode	: 0x2b000590
physical id	: %d
core id		: %d
flags		: fpu lm avx f16c fma avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8

`

// machine has two sockets with two cores of two threads each, numbered as Intel's
// servers do: first all cores, then their second threads. The second socket has two
// nodes of memory. It is made from the kernel's documentation.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Write(cpus+"/online", "0-7")
	var info strings.Builder
	for n := range 8 {
		socket, core := n/2%2, n%2
		fmt.Fprintf(&info, block, n, socket, core)
		dir := topology(n)
		m.Write(dir+"/physical_package_id", fmt.Sprint(socket)).Write(dir+"/core_id", fmt.Sprint(core))
		m.Write(dir+"/core_siblings_list", fmt.Sprintf("%d-%d,%d-%d", 2*socket, 2*socket+1, 4+2*socket, 5+2*socket))
		m.Write(dir+"/thread_siblings_list", fmt.Sprintf("%d,%d", n%4, n%4+4))
	}
	m.Write("proc/cpuinfo", info.String())
	m.Write("proc/meminfo", "MemTotal: 7168 kB\nMemFree: 1024 kB\nMemAvailable: 2048 kB")
	for node, list := range []string{"0-1,4-5", "2,6", "3,7", ""} {
		dir := fmt.Sprintf("%s/node%d", nodes, node)
		m.Write(dir+"/cpulist", list)
		m.Write(dir+"/meminfo", fmt.Sprintf("Node %[1]d MemTotal: %[2]d kB\nNode %[1]d MemFree: 512 kB\nNode %[1]d Inactive(file): 100 kB\nNode %[1]d Active(file): 12 kB", node, 1024<<node))
	}
	for i := range 2 {
		dir := fmt.Sprintf("sys/devices/platform/coretemp.%d/hwmon/hwmon%d", i, 5+i)
		m.Write(dir+"/name", "coretemp").Write(dir+"/temp1_label", fmt.Sprintf("Package id %d", i)).Write(dir+"/temp1_input", fmt.Sprint(40000+i*1000))
		dir = fmt.Sprintf("%s/intel-rapl:%d", powercap, i)
		m.Write(dir+"/name", fmt.Sprintf("package-%d", i)).Write(dir+"/energy_uj", fmt.Sprint(2500000*(i+1)))
		m.Write(dir+"/constraint_0_name", "long_term").Write(dir+"/constraint_0_power_limit_uw", "350000000")
	}
	m.Plug(devicetest.Card{Address: "0000:00:18.3", ID: "1022:1493", Class: "060000"})
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Strangers: []device.Function{
		{Vendor: "1022", Device: "1493", Class: "060000"},
		{Vendor: "8086", Device: "09a2", Class: "088000"},
		{Vendor: "8086", Device: "225c", Class: "0b4000"}, // a co-processor on a card
	}}.Run(t)
}

func discover(t *testing.T, m *devicetest.Machine) []device.Device {
	t.Helper()
	devices, err := m.Discover(t, New())
	if err != nil {
		t.Error(err)
	}
	device.Names(devices)
	return devices
}

func TestDiscoverTwoSockets(t *testing.T) {
	want := device.Device{
		Name: "cpu-0", Kind: device.CPU, Vendor: "intel", Product: "Intel(R) Xeon(R) Platinum 8480+", Architecture: "amd64",
		UUID: "intel-cpu-0", Form: device.Whole, NUMA: new(0), Memory: 1 << 20, Units: 2, Software: "cpu",
		Driver:     device.Driver{Firmware: "0x2b000590"},
		Features:   []string{"avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"},
		Health:     device.Health{State: device.Healthy},
		Provenance: map[string]device.Origin{"uuid": {From: "place in the machine"}},
	}
	devices := discover(t, machine())
	if len(devices) != 2 {
		t.Fatalf("%d devices", len(devices))
	}
	if diff := cmp.Diff(want, devices[0]); diff != "" {
		t.Error(diff)
	}
	if d := devices[1]; d.NUMA != nil || d.Memory != (2+4)<<20 || d.Units != 2 {
		t.Errorf("the socket with two nodes has node %v, memory %d, %d cores", d.NUMA, d.Memory, d.Units)
	}
	if got := devices[0].Computes(); !slices.Contains(got, device.BF16) {
		t.Errorf("a processor with amx_bf16 computes in %v", got)
	}
}

func TestDiscoverCounts(t *testing.T) {
	for _, c := range []struct {
		name            string
		change          func(m *devicetest.Machine)
		sockets, cores  int // cores of the last socket
		memory          int64
		features, words int // of the last socket, and with the word "avx2"
	}{
		{"one thread offline", func(m *devicetest.Machine) { m.Write(cpus+"/online", "0-6") }, 2, 2, 6 << 20, 11, 1},
		{"one core offline", func(m *devicetest.Machine) { m.Write(cpus+"/online", "0-2,4-6") }, 2, 1, 2 << 20, 11, 1},
		{"one socket offline", func(m *devicetest.Machine) { m.Write(cpus+"/online", "0-1,4-5") }, 1, 2, 1 << 20, 11, 1},
		{"nobody says who is online", func(m *devicetest.Machine) { delete(m.Files, cpus+"/online") }, 2, 2, 6 << 20, 11, 1},
		{"names of new kernels only", func(m *devicetest.Machine) {
			for n := range 8 {
				for from, to := range map[string]string{"core_siblings_list": "package_cpus_list", "thread_siblings_list": "core_cpus_list"} {
					m.Files[topology(n)+"/"+to] = m.Files[topology(n)+"/"+from]
					delete(m.Files, topology(n)+"/"+from)
				}
			}
		}, 2, 2, 6 << 20, 11, 1},
		{"no sysfs, as in a sandbox", func(m *devicetest.Machine) { drop(m, "sys/") }, 2, 2, 0, 11, 1},
		{"a part of sysfs, and one socket", func(m *devicetest.Machine) {
			drop(m, "sys/")
			m.Write("proc/cpuinfo", fmt.Sprintf(block, 0, 0, 0)+fmt.Sprintf(block, 1, 0, 0)).Write(cpus+"/online", "0-1")
		}, 1, 1, 7 << 20, 11, 1},
		{"no nodes", func(m *devicetest.Machine) { drop(m, nodes) }, 2, 2, 0, 11, 1},
		{"a hybrid", func(m *devicetest.Machine) {
			info := string(m.Files["proc/cpuinfo"].Data)
			i := strings.LastIndex(info, "avx2 ")
			m.Write("proc/cpuinfo", info[:i]+info[i+5:])
		}, 2, 2, 6 << 20, 10, 0},
	} {
		m := machine()
		c.change(m)
		devices := discover(t, m)
		if len(devices) != c.sockets {
			t.Errorf("%s: %d sockets, want %d", c.name, len(devices), c.sockets)
			continue
		}
		d := devices[len(devices)-1]
		if d.Units != c.cores || d.Memory != c.memory || len(d.Features) != c.features || slices.Contains(d.Features, "avx2") != (c.words > 0) {
			t.Errorf("%s: the last has %d cores, memory %d, %v", c.name, d.Units, d.Memory, d.Features)
		}
	}
}

func drop(m *devicetest.Machine, prefix string) {
	for name := range m.Files {
		if strings.HasPrefix(name, prefix) {
			delete(m.Files, name)
		}
	}
}

// TestDiscoverWithoutCpuinfo still counts sockets and memory, and says what is
// missing.
func TestDiscoverWithoutCpuinfo(t *testing.T) {
	m := machine()
	delete(m.Files, "proc/cpuinfo")
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err == nil || !strings.Contains(err.Error(), "/proc/cpuinfo") {
		t.Errorf("the error is %v", err)
	}
	if len(devices) != 2 || devices[0].Units != 2 || devices[0].Vendor != "unknown-cpu" || devices[0].Product == "" {
		t.Errorf("found %+v", devices)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	devices := discover(t, m)
	h, _ := m.Host()
	devices = devices[1:] // the name tells which it is
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	want := device.Reading{Temperature: new(41.0), Energy: new(5.0), PowerLimit: new(350.0), MemoryUsed: new(int64(6<<20 - 2*(512+112)<<10))}
	if diff := cmp.Diff(&want, devices[0].Reading); diff != "" {
		t.Error(diff)
	}
	if devices[0].Health.State != device.Healthy {
		t.Errorf("it is %v", devices[0].Health)
	}
}

func TestMeasureOneSocket(t *testing.T) {
	m := machine().Write(cpus+"/online", "0-1,4-5")
	drop(m, nodes)
	drop(m, "sys/devices/platform")
	drop(m, powercap)
	mc := "sys/devices/system/edac/mc/mc"
	m.Write(mc+"0/ce_count", "3").Write(mc+"0/ue_count", "0").Write(mc+"1/ce_count", "4").Write(mc+"1/ue_count", "1")
	amd := "sys/bus/pci/drivers/k10temp/0000:00:18.3/hwmon/hwmon1"
	m.Write(amd+"/name", "k10temp").Write(amd+"/temp1_label", "Tctl").Write(amd+"/temp1_input", "51250")
	devices := discover(t, m)
	h, _ := m.Host()
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	want := device.Reading{Temperature: new(51.25), MemoryUsed: new(int64(5 << 20)), Errors: map[string]int64{"ecc-corrected": 7, "ecc-uncorrected": 1}}
	if diff := cmp.Diff(&want, devices[0].Reading); diff != "" {
		t.Error(diff)
	}
	if got := devices[0].Health; got.State != device.Degraded || got.Faults[0].Code != "ecc-uncorrected" {
		t.Errorf("it is %v", got)
	}
}

// TestMeasureOfASocketThatIsGone has one go offline between two looks.
func TestMeasureOfASocketThatIsGone(t *testing.T) {
	m := machine()
	devices := discover(t, m)
	m.Write(cpus+"/online", "0-1,4-5")
	h, _ := m.Host()
	err := New().Measure(t.Context(), h, devices)
	if err == nil || !strings.Contains(err.Error(), "cpu-1") || devices[1].Health.State != device.Unknown || devices[0].Reading == nil {
		t.Errorf("the error is %v, the devices are %+v", err, devices)
	}
}
