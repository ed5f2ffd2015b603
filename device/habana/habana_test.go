package habana

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// table is what hl-smi prints, by its documentation and others' outputs.
const table = `bus_id, uuid, name, serial, driver_version, memory.total [MiB]
0000:19:00.0, 01P4-HL3090A0-18-U4V193-22-07-00, HL-325L, AN44112233, 1.22.1-97ec1a4, 131072 MiB
0000:9b:00.0, 01P4-HL3090A0-18-U4V298-03-04-04, HL-325L, N/A, 1.22.1-97ec1a4, 131072 MiB
`

const readings = `bus_id, memory.used [MiB], power.draw [W], temperature.aip [C], utilization.aip [%], ecc.errors.uncorrected.volatile.total
0000:19:00.0, 672 MiB, 226 W, 36 C, 25 %, 0
0000:9b:00.0, 672 MiB, N/A, 39 C, 0 %, 2
`

// machine has two Gaudi 3, of which one is resetting, and an accelerator of another
// vendor in the same list, made from the documentation of Linux.
func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Write("sys/module/habanalabs/version", "1.22.1-97ec1a4")
	for i, address := range []string{"0000:19:00.0", "0000:9b:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "1da3:1060", Class: "120000", Driver: "habanalabs", NUMA: fmt.Sprint(i), More: map[string]string{
			fmt.Sprintf("infiniband_verbs/uverbs%d/dev", 4+i): "231:196",
		}})
		at := fmt.Sprintf("sys/class/accel/accel%d", 1-i)
		m.Symlink(at+"/device", "../../../"+dir[len("sys/"):])
		for file, text := range map[string]string{
			"device_type": "GAUDI3", "module_id": fmt.Sprint(6 + i), "status": []string{"Operational", "In reset"}[i], "pci_addr": address,
			"cpucp_ver": "1.22.1", "max_power": "850000",
		} {
			m.Write(dir+"/"+file, text)
		}
		m.Write(fmt.Sprintf("sys/class/accel/accel_controlD%d/dev", 1-i), "261:1")
	}
	m.Plug(devicetest.Card{Address: "0000:c1:00.0", ID: "17cb:a100", Class: "120000", Driver: "qaic"})
	m.Symlink("sys/class/accel/accel2/device", "../../../0000:c1:00.0")
	return m.Tool("hl-smi -Q "+strings.Join(identity, ",")+" -f csv", table).Tool("hl-smi -Q "+strings.Join(meters, ",")+" -f csv", readings)
}

func TestSuite(t *testing.T) {
	devicetest.Suite{
		Adapter: New(), Machine: machine, Devices: 2,
		Messages: []string{"habanalabs hl0: Failed to reset! Device is NOT usable"},
		Strangers: []device.Function{
			{Vendor: "17cb", Device: "a100", Class: "120000", Driver: "qaic"},
			{Vendor: "8086", Device: "0bd5", Class: "038000", Driver: "xe"},
			{Vendor: "1da3", Device: "1060", Class: "020000"}, // its ports, if they were functions
			{Vendor: "1e52", Device: "401e", Class: "120000"},
		},
		Outputs: [][]byte{[]byte(table)},
	}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.Vendor != "intel" || a.Kind != device.NPU || a.UUID != "01P4-HL3090A0-18-U4V193-22-07-00" || a.Serial != "AN44112233" || b.Serial != "" || *b.NUMA != 1 {
		t.Errorf("the first is %+v", a)
	}
	if a.Memory != 128<<30 || a.Provenance["memory"].From != "hl-smi" || a.Driver != (device.Driver{Module: "habanalabs", Version: "1.22.1-97ec1a4", Firmware: "1.22.1"}) {
		t.Errorf("the first has %d bytes of %v, driver %+v", a.Memory, a.Provenance["memory"], a.Driver)
	}
	if a.Fabric == nil || *a.Fabric.Index != 6 || *b.Fabric.Index != 7 || a.Fabric.Domain != "" {
		t.Errorf("slots are in %+v and %+v", a.Fabric, b.Fabric)
	}
	if a.Health.State != device.Healthy || b.Health.State != device.Degraded || b.Health.Faults[0].Code != "in-reset" {
		t.Errorf("health is %+v and %+v", a.Health, b.Health)
	}
	want := []device.Node{{Path: "/dev/accel/accel0", Type: "c"}, {Path: "/dev/accel/accel_controlD0", Type: "c"}, {Path: "/dev/infiniband/uverbs5", Type: "c"}}
	if d := cmp.Diff(want, b.Nodes); d != "" {
		t.Errorf("the files are not numbered by the driver:\n%s", d)
	}
}

func TestDiscoverWithAnOldDriver(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:19:00.0", ID: "1da3:fff0", Class: "120000", Driver: "habanalabs"})
	m.Symlink("sys/class/habanalabs/hl2/device", "../../../../virtual/habanalabs/hl2")
	m.Write("sys/class/habanalabs/hl2/pci_addr", "0000:19:00.0").Write("sys/class/habanalabs/hl2/device_type", "GAUDI").Write("sys/class/habanalabs/hl2/status", "Malfunction")
	m.Write("sys/class/habanalabs/hl_controlD2/dev", "1:1")
	devices, err := m.Discover(t, New())
	if len(devices) != 1 || err == nil || !strings.Contains(err.Error(), "hl-smi: cannot be used") {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.Product != "GAUDI" || d.Health.State != device.Failed || len(d.Nodes) != 2 || d.Nodes[0].Path != "/dev/hl2" || d.Nodes[1].Path != "/dev/hl_controlD2" || d.Fabric != nil {
		t.Errorf("it is %+v", d)
	}
	if e := New().Edits(devices); e.Env["HABANA_VISIBLE_DEVICES"] != "2" || e.Env["HL_VISIBLE_DEVICES"] != "/dev/hl2" {
		t.Errorf("a container is given %+v", e)
	}
}

func TestDiscoverSaysWhatIsMissing(t *testing.T) {
	for driver, want := range map[string]string{"": "has no driver", "habanalabs": "has no entry in /sys/class/accel", "vfio-pci": ""} {
		m := devicetest.New().Tool("hl-smi", table)
		m.Plug(devicetest.Card{Address: "0000:19:00.0", ID: "1da3:1060", Class: "120000", Driver: driver})
		devices, err := m.Discover(t, New())
		if len(devices) != 1 || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("driver %q: %d devices, error %v", driver, len(devices), err)
		}
	}
}

func TestEdits(t *testing.T) {
	devices, _ := machine().Discover(t, New())
	e := New().Edits(devices)
	want := map[string]string{"HABANA_VISIBLE_DEVICES": "1,0", "HL_VISIBLE_DEVICES": "/dev/accel/accel1,/dev/accel/accel0", "HABANA_VISIBLE_MODULES": "6,7"}
	if d := cmp.Diff(want, e.Env); d != "" || len(e.Nodes) != 6 || len(e.Mounts) != 1 {
		t.Errorf("%d files, %d mounts\n%s", len(e.Nodes), len(e.Mounts), d)
	}
	devices[1].Fabric = nil
	if e := New().Edits(devices); e.Env["HABANA_VISIBLE_MODULES"] != "" {
		t.Errorf("slots are %q although one is not known", e.Env["HABANA_VISIBLE_MODULES"])
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
	want := &device.Reading{Utilization: new(0.25), MemoryUsed: new(int64(672 << 20)), Temperature: new(36.0), Power: new(226.0), PowerLimit: new(850.0), Errors: map[string]int64{"ecc-uncorrected": 0}}
	if d := cmp.Diff(want, devices[0].Reading); d != "" || devices[0].Health.State != device.Healthy {
		t.Errorf("health %s\n%s", devices[0].Health.State, d)
	}
	b := devices[1]
	if b.Reading.Power != nil || b.Reading.Errors["ecc-uncorrected"] != 2 || len(b.Health.Faults) != 2 || b.Health.State != device.Degraded {
		t.Errorf("the second reads %+v, %+v", b.Reading, b.Health)
	}
	delete(m.Files, "sys/class/accel/accel1/device")
	m.Tools = nil
	err = New().Measure(t.Context(), h, devices)
	if devices[0].Health.State != device.Failed || err == nil || !strings.Contains(err.Error(), "hl-smi: cannot be used") || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("one that is gone is %+v, error %v", devices[0].Health, err)
	}
}

func TestHealth(t *testing.T) {
	for status, want := range map[string]device.State{
		"Operational": device.Healthy, "Malfunction": device.Failed, "Disabled": device.Failed, "Needs reset": device.Failed,
		"In reset": device.Degraded, "In reset after device release": device.Degraded, "In device creation": device.Degraded, "": device.Unknown, "Dreaming": device.Unknown,
	} {
		m := devicetest.New().Write("d/status", status)
		h, _ := m.Host()
		if got := (&entry{dirs: []string{"d"}}).health(h); got.State != want {
			t.Errorf("%q is %+v, want %s", status, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(table + "a line that is too short\n"))
	if err != nil || len(devices) != 2 || devices[0].Product != "Gaudi3" || devices[0].Memory != 128<<30 || devices[1].PCI.Address != "0000:9b:00.0" {
		t.Errorf("%+v, error %v", devices, err)
	}
	one := "index, name, bus_id, driver_version, uuid, module_id, memory.total [MiB], memory.free [MiB], memory.used [MiB], temperature.aip [C]\n" +
		"0, HL-225, 0000:3b:00.0, 1.20.0-abc123, some-uuid-here, 3, 98304 MiB, 97000 MiB, 1304 MiB, NaN\n"
	devices, err = New().Read([]byte(one))
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if d := devices[0]; d.Product != "Gaudi2" || *d.Fabric.Index != 3 || *d.Reading.MemoryUsed != 1304<<20 || d.Reading.Temperature != nil || d.Memory != 96<<30 {
		t.Errorf("it is %+v", d)
	}
	for _, s := range []string{"", "hello", "index, name\n0, HL-225\n", "name, bus_id\nNVIDIA H100, 0000:19:00.0\n", "bus_id, name\n", "bus_id, name\nx, HL-225\n"} {
		if _, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%q gives %v", s, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	devicetest.FuzzRead(f, New(), table, "bus_id, name, memory.total [MiB]\n0000:19:00.0, HL-225, 1e99 MiB\n\"\n")
}
