package dpu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// infoOutput and healthOutput are in the form of iproute2's devlink.c. BlueField's
// versions are those that mlx5's documentation names.
const (
	infoOutput = `{"info":{
"pci/0000:03:00.0":{"driver":"mlx5_core","serial_number":"MT2331X00001","versions":{"fixed":{"fw.psid":"MT_0000000884"},"running":{"fw.version":"32.39.2048","fw":"32.39.2048"},"stored":{"fw":"32.41.1000"}}},
"pci/0000:03:00.1":{"driver":"mlx5_core","serial_number":"MT2331X00001","versions":{"fixed":{"fw.psid":"MT_0000000884"}}},
"pci/0000:23:00.0":{"driver":"ionic","serial_number":"FLM18420073","versions":{"fixed":{"asic.id":"0x0","asic.rev":"0x0"},"running":{"fw":"1.62.0-C-8"}}},
"auxiliary/mlx5_core.sf.4":{"driver":"mlx5_core.sf"}}}`
	healthOutput = `{"health":{
"pci/0000:03:00.0":[{"reporter":"fw","state":"healthy","error":0,"recover":0,"auto_dump":true},{"reporter":"fw_fatal","state":"healthy","error":1,"recover":1,"grace_period":1200000,"auto_recover":true,"auto_dump":true}],
"pci/0000:03:00.0/65535":[{"reporter":"tx","state":"healthy","error":0,"recover":0}]}}`
)

// bluefield plugs in a BlueField-3: two ports, its management, and two virtual
// functions of the first port.
func bluefield(m *devicetest.Machine) {
	for fn := range 2 {
		dir := m.Plug(devicetest.Card{
			Address: fmt.Sprintf("0000:03:00.%d", fn), ID: "15b3:a2dc", Sub: "15b3:0009", Class: "020000", Driver: "mlx5_core", NUMA: "0",
			Root: "pci0000:00", Bridges: []string{"0000:00:01.0"}, More: map[string]string{"sriov_totalvfs": "16", "sriov_numvfs": fmt.Sprint(2 - 2*fn)},
		})
		rdma := fmt.Sprintf("%s/infiniband/mlx5_%d", dir, fn)
		m.Write(rdma+"/sys_image_guid", "b83f:d203:00ab:cde0").Write(rdma+"/node_guid", fmt.Sprintf("b83f:d203:00ab:cde%d", fn))
		m.Write(rdma+"/fw_ver", "32.39.2048").Write(rdma+"/board_id", "MT_0000000884").Write(rdma+"/hca_type", "MT41692")
		m.Write(rdma+"/ports/1/state", []string{"4: ACTIVE", "1: DOWN"}[fn]).Write(rdma+"/ports/1/link_layer", "Ethernet")
		m.Write(rdma+"/ports/1/counters/link_downed", "2").Write(rdma+"/ports/1/counters/symbol_error", fmt.Sprint(fn))
		m.Write(fmt.Sprintf("%s/infiniband_verbs/uverbs%d/dev", dir, fn), fmt.Sprintf("231:%d", 192+fn))
		net := fmt.Sprintf("%s/net/ens1f%dnp%d", dir, fn, fn)
		m.Write(net+"/operstate", []string{"up", "down"}[fn]).Write(net+"/phys_port_name", fmt.Sprintf("p%d", fn)).Write(net+"/speed", "200000")
		m.Write(fmt.Sprintf("%s/hwmon/hwmon%d/temp1_input", dir, 4+fn), fmt.Sprint(61000+fn*1000))
	}
	m.Write("sys/devices/pci0000:00/0000:00:01.0/0000:03:00.0/net/ens1f0r1/phys_port_name", "pf0vf1")
	m.Plug(devicetest.Card{Address: "0000:03:00.2", ID: "15b3:c2d5", Class: "080100", Root: "pci0000:00", Bridges: []string{"0000:00:01.0"}})
	for vf := range 2 {
		dir := m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:03:00.%d", 3+vf), ID: "15b3:101e", Class: "020000", Driver: "mlx5_core", Root: "pci0000:00", Bridges: []string{"0000:00:01.0"}})
		m.Symlink(dir+"/physfn", "../0000:03:00.0")
	}
	m.Write("sys/class/misc/rdma_cm/dev", "10:58").Write("sys/module/mlx5_core/version", "24.10-0.5.5")
}

// pensando plugs in a DSC: each of its functions lies behind a port of the switch on
// the card, on a bus of its own.
func pensando(m *devicetest.Machine) {
	up := []string{"0000:20:01.0", "0000:21:00.0"}
	m.Plug(devicetest.Card{Address: up[0], ID: "8086:352a", Class: "060400", Root: "pci0000:20"},
		devicetest.Card{Address: up[1], ID: "1dd8:0002", Class: "060400", Root: "pci0000:20", Bridges: up[:1]})
	for i, c := range []devicetest.Card{
		{ID: "1dd8:1002", Class: "020000", Driver: "ionic"},
		{ID: "1dd8:1002", Class: "020000", Driver: "ionic"},
		{ID: "1dd8:1004", Class: "020000"},
		{ID: "1dd8:100c", Class: "120000", Driver: "pds_core"},
	} {
		port := fmt.Sprintf("0000:22:%02x.0", i)
		m.Plug(devicetest.Card{Address: port, ID: "1dd8:1001", Class: "060400", Root: "pci0000:20", Bridges: up})
		c.Address, c.Sub, c.Root, c.Bridges, c.NUMA = fmt.Sprintf("0000:%02x:00.0", 0x23+i), "1dd8:500b", "pci0000:20", []string{up[0], up[1], port}, "1"
		dir := m.Plug(c)
		if c.Driver == "ionic" {
			m.Write(fmt.Sprintf("%s/net/enp%ds0/operstate", dir, 0x23+i), "down")
		}
	}
}

func machine() *devicetest.Machine {
	m := devicetest.New()
	bluefield(m)
	pensando(m)
	m.Plug(devicetest.Card{Address: "0000:41:00.0", ID: "8086:1452", Class: "020001", Driver: "idpf"},
		devicetest.Card{Address: "0000:61:00.0", ID: "177d:b900", Class: "020000"},
		devicetest.Card{Address: "0000:81:00.0", ID: "15b3:1021", Class: "020700", Driver: "mlx5_core"})
	return m.Tool("devlink -j dev info", infoOutput).Tool("devlink -j health show", healthOutput)
}

func TestSuite(t *testing.T) {
	strangers := []device.Function{
		{Vendor: "15b3", Device: "a2d3", Class: "020000"}, // BlueField's virtual function
		{Vendor: "15b3", Device: "c2d5", Class: "080100"}, // and its management
		{Vendor: "15b3", Device: "197b", Class: "060400"},
		{Vendor: "1dd8", Device: "1003", Class: "020000"},
		{Vendor: "1dd8", Device: "1002", SubVendor: "1dd8", SubDevice: "5201", Class: "020000"}, // Pollara
		{Vendor: "1dd8", Device: "1001", Class: "060400"},
		{Vendor: "8086", Device: "145c", Class: "020001"},
		{Vendor: "8086", Device: "1599", Class: "020000"}, // an E810, whoever it says it is
		{Vendor: "8086", Device: "1521", Class: "020000"},
		{Vendor: "8086", Device: "09c4", Class: "120000"}, // an FPGA
		{Vendor: "177d", Device: "b903", Class: "020000"},
		{Vendor: "177d", Device: "a063", Class: "020000"},
		{Vendor: "10de", Device: "2330", Class: "030200"},
	}
	for _, connectX := range []string{"1003", "1013", "1015", "1017", "1019", "101b", "101d", "101e", "101f", "1021", "1023", "1025"} {
		strangers = append(strangers, device.Function{Vendor: "15b3", Device: connectX, Class: "020000"}, device.Function{Vendor: "15b3", Device: connectX, Class: "020700"})
	}
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 4, Strangers: strangers}.Run(t)
}

func discover(t *testing.T, m *devicetest.Machine) ([]device.Device, *device.Host, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	devices, err := New().Discover(t.Context(), h)
	device.Names(devices)
	return devices, h, err
}

func TestOneDevicePerCard(t *testing.T) {
	devices, _, err := discover(t, machine())
	if err != nil || len(devices) != 4 {
		t.Fatalf("error %v, %d devices", err, len(devices))
	}
	bf := devices[0]
	if bf.Name != "dpu-0000-03-00-0" || bf.Vendor != "nvidia" || bf.Product != "BlueField-3" || bf.Kind != device.DPU || bf.Form != device.Whole || *bf.NUMA != 0 {
		t.Errorf("BlueField is %+v", bf)
	}
	if bf.UUID != "nvidia-guid-b83fd20300abcde0" || bf.Serial != "MT2331X00001" || bf.Provenance["serial"].From != program {
		t.Errorf("BlueField is told by %s, serial %s from %v", bf.UUID, bf.Serial, bf.Provenance["serial"])
	}
	if diff := cmp.Diff(device.Driver{Module: "mlx5_core", Version: "24.10-0.5.5", Firmware: "32.39.2048"}, bf.Driver); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ethernet", "rdma", "sriov"}, bf.Features); diff != "" {
		t.Error(diff)
	}
	if bf.PCI.VFs != 2 || bf.PCI.VFsMax != 16 || bf.Health.State != device.Healthy || len(bf.Health.Faults) != 0 {
		t.Errorf("BlueField has %d of %d virtual functions, health %v", bf.PCI.VFs, bf.PCI.VFsMax, bf.Health)
	}
	want := []device.Node{
		{Path: "/dev/infiniband/uverbs0", Type: "c", Major: 231, Minor: 192}, {Path: "/dev/infiniband/uverbs1", Type: "c", Major: 231, Minor: 193},
		{Path: "/dev/infiniband/rdma_cm", Type: "c", Shared: true},
	}
	if diff := cmp.Diff(want, bf.Nodes); diff != "" {
		t.Error(diff)
	}
	dsc := devices[1]
	if dsc.Name != "dpu-0000-23-00-0" || dsc.Vendor != "amd" || dsc.UUID != "amd-FLM18420073" || dsc.Driver.Firmware != "1.62.0-C-8" || *dsc.NUMA != 1 {
		t.Errorf("the DSC is %+v", dsc)
	}
	for _, field := range []string{"uuid", "serial", "driver.firmware"} {
		if dsc.Provenance[field].From != program {
			t.Errorf("the DSC's %s is from %v", field, dsc.Provenance[field])
		}
	}
	if dsc.Health.State != device.Healthy || len(dsc.Health.Faults) != 1 || dsc.Health.Faults[0].Code != "no-link" {
		t.Errorf("without a link the DSC is %v", dsc.Health)
	}
	if ipu, octeon := devices[2], devices[3]; ipu.Vendor != "intel" || octeon.Vendor != "marvell" || octeon.Health.State != device.Unknown {
		t.Errorf("the others are %+v %+v", ipu, octeon)
	}
}

// TestTwoCardsOfAKind has two DSCs, and two BlueFields in neighbouring slots.
func TestTwoCardsOfAKind(t *testing.T) {
	m := devicetest.New()
	for i, bus := range []string{"30", "40"} {
		up := []string{"0000:" + bus + ":00.0", fmt.Sprintf("0000:%s:01.0", bus)}
		m.Plug(devicetest.Card{Address: up[0], ID: "1dd8:1000", Class: "060400", Root: "pci0000:00"}, devicetest.Card{Address: up[1], ID: "1dd8:1001", Class: "060400", Root: "pci0000:00", Bridges: up[:1]})
		m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:%s:02.0", bus), ID: "1dd8:1002", Class: "020000", Root: "pci0000:00", Bridges: up},
			devicetest.Card{Address: fmt.Sprintf("0000:50:%02x.0", i), ID: "15b3:a2d6", Class: "020000"}, devicetest.Card{Address: fmt.Sprintf("0000:50:%02x.1", i), ID: "15b3:a2d6", Class: "020000"})
	}
	devices, _, err := discover(t, m)
	if err != nil || len(devices) != 4 {
		t.Errorf("error %v, %d devices; there are four cards", err, len(devices))
	}
}

// TestACardInTwoSlots has the same GUID in both.
func TestACardInTwoSlots(t *testing.T) {
	m := devicetest.New()
	for i, address := range []string{"0000:10:00.0", "0000:90:00.0", "0000:a0:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "15b3:a2dc", Class: "020700", Driver: "mlx5_core"})
		rdma := fmt.Sprintf("%s/infiniband/mlx5_%d", dir, i)
		m.Write(rdma+"/sys_image_guid", []string{"b83f:d203:0000:0001", "b83f:d203:0000:0001", "0000:0000:0000:0000"}[i]).Write(rdma+"/ports/1/state", "1: DOWN")
		m.Write(fmt.Sprintf("%s/infiniband_verbs/uverbs%d/dev", dir, i), fmt.Sprintf("231:%d", 192+i))
	}
	devices, _, err := discover(t, m)
	if err != nil || len(devices) != 2 {
		t.Fatalf("error %v, %d devices; there are two cards", err, len(devices))
	}
	if len(devices[0].Nodes) != 2 || devices[1].Nodes[0].Path != "/dev/infiniband/uverbs2" || devices[1].UUID != "nvidia-dpu-0000-a0-00-0" {
		t.Errorf("they are %+v", devices)
	}
	if got := devices[0].Features; !cmp.Equal(got, []string{"infiniband", "rdma"}) {
		t.Errorf("features are %v", got)
	}
}

func TestHealthFromReporters(t *testing.T) {
	for _, c := range []struct {
		name, health string
		state        device.State
		code         string
	}{
		{"a fatal error of firmware", `{"health":{"pci/0000:03:00.1":[{"reporter":"fw","state":"error","error":3},{"reporter":"fw_fatal","state":"error","error":1}]}}`, device.Failed, "health-fw-fatal"},
		{"a queue of a port", `{"health":{"pci/0000:03:00.0/65535":[{"reporter":"tx","state":"error","error":9}]}}`, device.Degraded, "health-tx"},
		{"an error that is over", `{"health":{"pci/0000:03:00.0":[{"reporter":"fw","state":"healthy","error":9}]}}`, device.Healthy, ""},
		{"of another device", `{"health":{"pci/0000:81:00.0":[{"reporter":"fw","state":"error","error":9}]}}`, device.Healthy, ""},
		{"a name that is none", `{"health":{"pci/0000:03:00.0":[{"reporter":"a b\n","state":"error","error":9}]}}`, device.Healthy, ""},
		{"nothing", "", device.Healthy, ""},
	} {
		m := machine().Tool("devlink -j health show", c.health)
		devices, _, err := discover(t, m)
		if err != nil || devices[0].Health.State != c.state || c.code != "" && devices[0].Health.Faults[0].Code != c.code {
			t.Errorf("%s: error %v, health %v", c.name, err, devices[0].Health)
		}
	}
}

// TestDevlinkThatFails costs serial numbers and faults, and a word each.
func TestDevlinkThatFails(t *testing.T) {
	m := machine().Tool("devlink -j dev info", "kernel answers: Operation not permitted").Tool("devlink -j health show", "{")
	devices, _, err := discover(t, m)
	if len(devices) != 4 || devices[0].Serial != "" || devices[0].UUID != "nvidia-guid-b83fd20300abcde0" || devices[0].Health.State != device.Healthy {
		t.Errorf("found %+v", devices)
	}
	for _, want := range []string{"serial numbers", "faults"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	devices, _, _ := discover(t, m)
	m.Tool("devlink -j health show", `{"health":{"pci/0000:03:00.0":[{"reporter":"fw","state":"error","error":1}]}}`)
	for name := range m.Files {
		if strings.HasSuffix(name, "/0000:61:00.0") {
			delete(m.Files, name)
		}
	}
	h, _ := m.Host()
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	want := &device.Reading{Temperature: new(62.0), Errors: map[string]int64{"link-downed": 4, "symbol-error": 1}}
	if diff := cmp.Diff(want, devices[0].Reading); diff != "" {
		t.Error(diff)
	}
	if devices[0].Health.State != device.Degraded || devices[1].Reading != nil || devices[1].Health.State != device.Healthy {
		t.Errorf("they are %+v", devices[:2])
	}
	if gone := devices[3].Health; gone.State != device.Failed || gone.Faults[0].Code != "lost" {
		t.Errorf("the card that is gone is %v", gone)
	}
}
