package iluvatar

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// output has two cards in the form that gpustack's and siltide's readers read; the
// minor numbers are not in the order of the addresses.
func output(used int) string {
	out := `<?xml version="1.0" ?><ixsmi_log><attached_gpus>2</attached_gpus>`
	for i, bus := range []string{"00000000:0C:00.0", "00000000:8B:00.0"} {
		out += fmt.Sprintf(`<gpu id="%s"><product_name>Iluvatar MR-V100</product_name><serial>2301%d</serial><uuid>GPU-1ac807aa-cbcd-5579-8591-d59d436d6ec%d</uuid>
<minor_number>%d</minor_number><pci><pci_bus_id>%s</pci_bus_id></pci><memory_usage><total>32768 MiB</total><used>%d MiB</used></memory_usage>
<utilization><gpu_util>%d %%</gpu_util></utilization><temperature><gpu_temp>44 C</gpu_temp></temperature><power_readings><gpu_power_draw>37 W</gpu_power_draw><current_gpu_power_limit>N/A</current_gpu_power_limit></power_readings></gpu>`,
			bus, i, i, 1-i, bus, used, 10*i)
	}
	return out + "</ixsmi_log>\n"
}

func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:0c:00.0", "0000:8b:00.0"} {
		m.Plug(devicetest.Card{Address: address, ID: "1e3e:0002", Class: "120000", Driver: "iluvatar", NUMA: fmt.Sprint(i)})
		m.Write(fmt.Sprintf("dev/iluvatar%d", i), "")
	}
	return m.Write("dev/itrctl", "").Write("sys/module/iluvatar/version", "4.3.0").Tool("ixsmi -q -x", output(27780))
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Outputs: [][]byte{[]byte(output(0))}, Strangers: []device.Function{
		{Vendor: "1e3e", Device: "0002", Class: "020000"}, {Vendor: "10de", Device: "1e3e", Class: "030200"}, // TU102GL
	}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.UUID != "GPU-1ac807aa-cbcd-5579-8591-d59d436d6ec0" || d.Serial != "23010" || d.Memory != 32<<30 || d.Driver.Version != "4.3.0" || d.Provenance["memory"].From != "ixsmi" || !strings.HasSuffix(d.Product, "MR-V100") {
		t.Errorf("the first is %+v", d)
	}
	if len(d.Nodes) != 2 || d.Nodes[0].Path != "/dev/iluvatar1" || !d.Nodes[1].Shared {
		t.Errorf("its files are %+v", d.Nodes)
	}
	if r := d.Reading; *r.MemoryUsed != 27780<<20 || *r.Temperature != 44 || *r.Power != 37 || *r.Utilization != 0 || r.PowerLimit != nil || d.Health.State != device.Unknown {
		t.Errorf("its reading is %+v, health %s", r, d.Health.State)
	}
}

func TestProblems(t *testing.T) {
	for name, text := range map[string]string{
		"no minor number": strings.ReplaceAll(output(0), "minor_number>", "major_number>"),
		"one is missing":  strings.ReplaceAll(output(0), "00000000:0C:00.0", "00000000:0D:00.0"),
		"an error":        "Failed to initialize IXML: driver not loaded",
	} {
		h, _ := machine().Tool("ixsmi -q -x", text).Host()
		devices, err := New().Discover(t.Context(), h)
		if len(devices) != 2 || err == nil || devices[0].Nodes != nil {
			t.Errorf("%s: %+v, %v", name, devices, err)
		}
	}
}

// The kernel's list of files is believed before the number in a name.
func TestListedFile(t *testing.T) {
	m := machine().Symlink("sys/dev/char/250:1", "../../devices/pci0000:0c/0000:0c:00.0/iluvatar/iluvatar7")
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err != nil || devices[0].Nodes[0].Path != "/dev/iluvatar7" {
		t.Errorf("the file of minor number 1 is %+v, %v", devices[0].Nodes, err)
	}
	m.Tool("ixsmi -q -x", strings.ReplaceAll(output(0), "minor_number>", "major_number>"))
	h, _ = m.Host()
	devices, err = New().Discover(t.Context(), h)
	if err == nil || devices[0].Nodes[0].Path != "/dev/iluvatar7" || devices[1].Nodes != nil {
		t.Errorf("without minor numbers: %+v, %+v, %v", devices[0].Nodes, devices[1].Nodes, err)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	m.Tool("ixsmi -q -x", strings.ReplaceAll(output(5), "00000000:0C:00.0", "00000000:0D:00.0"))
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	if devices[0].Health.State != device.Failed || devices[0].Reading != nil || *devices[1].Reading.MemoryUsed != 5<<20 || devices[1].Health.State != device.Unknown {
		t.Errorf("the lost one is %+v, the other %+v", devices[0], devices[1])
	}
	m.Tools = nil
	if err := New().Measure(t.Context(), h, devices); err == nil || devices[0].Health.State != device.Unknown {
		t.Errorf("without ixsmi: %v, %+v", err, devices[0].Health)
	}
}

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(output(1)))
	if err != nil || len(devices) != 2 || devices[1].PCI.Address != "0000:8b:00.0" || devices[1].Memory != 32<<30 {
		t.Errorf("%+v, %v", devices, err)
	}
	for _, text := range []string{"", "hello", "<nvidia_smi_log><gpu/></nvidia_smi_log>"} {
		if _, err := New().Read([]byte(text)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(output(7)))
	f.Add([]byte(`<ixsmi_log><gpu id="1"><fb_memory_usage><total>1e9 MiB</total><used>-1</used></fb_memory_usage></gpu></ixsmi_log>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, _ := New().Read(b)
		for _, d := range devices {
			if d.Memory < 0 || d.Product == "" || d.Reading != nil && d.Reading.MemoryUsed != nil && *d.Reading.MemoryUsed < 0 {
				t.Errorf("it reads %+v", d)
			}
		}
	})
}
