package cambricon

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// information is the driver's file, in the form of its source (cndrv_proc.c).
func information(name, file string, minor int, serial string) string {
	return fmt.Sprintf("Device name: %s\nDevice inode path: %s\nDevice Major: 239\nDevice Minor: %d\nDriver Version: v5.10.22\nMCU Version: v1.1.4\nBoard Serial Number: SN/%s\nMLU Firmware Version: 1.1.6\nBoard CV: 1\nIPU Freq: 1000MHz\nInterrupt Mode: MSI\nBus Location: 1a_0_0\nBus Type: PCIE\nLnkSta: Speed 16.0GT/s, Width x16\nRegion 0: Memory at 38000000000 [size=256M]", name, file, minor, serial)
}

// machine has an MLU370-S4, and the two chips of a board whose serial number they
// have in common. The numbers of the files are not in the order of the addresses.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:1a:00.0", "0000:af:00.0", "0000:b0:00.0"} {
		m.Plug(devicetest.Card{Address: address, ID: "cabc:0370", Class: "120000", Driver: "cambricon-pci-drv", NUMA: []string{"0", "1", "1"}[i]})
		m.Write(mlus+"/"+address+"/information", information([]string{"MLU370-S4", "MLU370-X8", "MLU370-X8"}[i], fmt.Sprintf("/dev/cambricon_dev%d", 2-i), 2-i, []string{"2023ABCD0001", "2023abcd0002", "2023abcd0002"}[i]))
		m.Write(fmt.Sprintf("dev/cambricon_dev%d", i), "").Write(fmt.Sprintf("dev/cambricon_ipcm%d", i), "")
	}
	return m.Write("dev/cambricon_ctl", "")
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 3, Strangers: []device.Function{
		{Vendor: "cabc", Device: "0001", Class: "020000"},
		{Vendor: "cabd", Device: "0370", Class: "120000"},
	}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 3 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.Product != "MLU370-S4" || d.UUID != "mlu-2023abcd0001" || d.Serial != "2023abcd0001" || d.Driver.Version != "v5.10.22" || d.Driver.Firmware != "1.1.6" || *d.NUMA != 0 {
		t.Errorf("the first is %+v", d)
	}
	var files []string
	for _, n := range d.Nodes {
		files = append(files, n.Path)
	}
	if got := strings.Join(files, " "); got != "/dev/cambricon_dev2 /dev/cambricon_ctl /dev/cambricon_ipcm2" {
		t.Errorf("its files are %s", got)
	}
	if devices[1].UUID != "mlu-2023abcd0002" || devices[2].UUID != "mlu-2023abcd0002-1" {
		t.Errorf("chips of one board are %s and %s", devices[1].UUID, devices[2].UUID)
	}
	if d.Health.State != device.Unknown {
		t.Errorf("health is %s, though nobody was asked", d.Health.State)
	}
}

// The driver's list is believed before the class.
func TestUnknownClass(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:1a:00.0", ID: "cabc:0599", Class: "088000"})
	m.Write(mlus+"/0000:1a:00.0/information", information("MLU590-M9", "/dev/cambricon_dev0", 0, "0"))
	devices, err := m.Discover(t, New())
	if err != nil || len(devices) != 1 || devices[0].Product != "MLU590-M9" || devices[0].UUID != "" {
		t.Errorf("%+v, %v", devices, err)
	}
	m.Write(mlus+"/0000:1a:00.0/information", information("MLU590-M9-VF", "/dev/cambricon-caps/cap_dev0_mi1", 0, "5"))
	devices, err = m.Discover(t, New())
	if err != nil || devices[0].Form != device.VF || devices[0].Product != "MLU590-M9" || devices[0].Nodes[0].Path != "/dev/cambricon-caps/cap_dev0_mi1" {
		t.Errorf("a virtual function is %+v, %v", devices, err)
	}
}

func TestProblems(t *testing.T) {
	for name, change := range map[string]func(*devicetest.Machine){
		"no driver": func(m *devicetest.Machine) { delete(m.Files, mlus+"/0000:1a:00.0/information") },
		"another's file": func(m *devicetest.Machine) {
			m.Write(mlus+"/0000:1a:00.0/information", information("MLU370-S4", "/dev/sda", 0, "1"))
		},
		"a file outside": func(m *devicetest.Machine) {
			m.Write(mlus+"/0000:1a:00.0/information", information("MLU370-S4", "/dev/cambricon/../sda", 0, "1"))
		},
		"no name of a file":  func(m *devicetest.Machine) { m.Write(mlus+"/0000:1a:00.0/information", "Device name: MLU370-S4") },
		"nothing of a card":  func(m *devicetest.Machine) { m.Write(mlus+"/0000:1a:00.0/information", "") },
		"only numbers there": func(m *devicetest.Machine) { m.Write(mlus+"/0000:1a:00.0/information", "1\n2\n3") },
	} {
		m := machine()
		change(m)
		devices, err := m.Discover(t, New())
		if len(devices) != 3 || err == nil || len(devices[0].Nodes) != 0 || !strings.Contains(err.Error(), "0000:1a:00.0") {
			t.Errorf("%s: %d devices with files %+v, %v", name, len(devices), devices[0].Nodes, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(information("MLU370-S4", "/dev/cambricon_dev0", 0, "1"))
	f.Fuzz(func(t *testing.T, text string) {
		m := devicetest.New().Write(mlus+"/0000:1a:00.0/information", text)
		devices, _ := m.Discover(t, New())
		if len(devices) != 1 || devices[0].Product == "" {
			t.Errorf("%+v", devices)
		}
	})
}
