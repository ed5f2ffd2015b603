package biren

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has two cards; the second is two devices, with a file each. The number of
// the vendor is made up, as the true one is not known.
func machine() *devicetest.Machine {
	m := devicetest.New()
	var dirs []string
	for _, address := range []string{"0000:2b:00.0", "0000:9c:00.0"} {
		dirs = append(dirs, m.Plug(devicetest.Card{Address: address, ID: "fffe:0001", Class: "120000", Driver: "biren", NUMA: "0"}))
	}
	for i, dir := range []string{dirs[1], dirs[0], dirs[1]} {
		m.Symlink(fmt.Sprintf("%s/card_%d/device", class, i), "../../../"+strings.TrimPrefix(dir, "sys/"))
		m.Write(fmt.Sprintf("%s/card_%d", nodes, i), "")
	}
	return m.Write("dev/biren-m", "")
}

// TestSuite is run on what a container sees, without the PCI bus: the suite wants a
// card to be found without its driver, and this vendor's cannot be.
func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: func() *devicetest.Machine {
		return devicetest.New().Write(nodes+"/card_0", "").Write(nodes+"/card_1", "").Write("dev/biren-m", "")
	}, Devices: 2, Strangers: []device.Function{{Vendor: "1ee0", Device: "0001", Class: "120000"}, {Vendor: "1e9f", Device: "0001", Class: "120000", Driver: "lynxi"}}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 3 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b, c := devices[0], devices[1], devices[2]
	if a.PCI.Address != "0000:9c:00.0" || a.Nodes[0].Path != "/dev/biren/card_0" || a.Nodes[1].Path != "/dev/biren-m" || b.PCI.Address != "0000:2b:00.0" {
		t.Errorf("they are %+v and %+v", a, b)
	}
	if c.PCI.Address != "0000:9c:00.0" || a.Ordinal != 0 || c.Ordinal != 1 || *b.NUMA != 0 || a.Memory != 0 {
		t.Errorf("the second of a card is %+v", c)
	}
}

func TestWithoutSysfsTheFilesAreEnough(t *testing.T) {
	m := machine()
	for k := range m.Files {
		if strings.HasPrefix(k, "sys/") {
			delete(m.Files, k)
		}
	}
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err != nil || len(devices) != 3 || devices[2].Nodes[0].Path != "/dev/biren/card_2" || devices[2].PCI != nil {
		t.Errorf("%v, %+v", err, devices)
	}
}

func TestWithoutEntryTheFunctionIsStillThere(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:2b:00.0", ID: "fffe:0001", Class: "120000", Driver: "biren"})
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err == nil || len(devices) != 1 || len(devices[0].Nodes) != 0 {
		t.Errorf("%v, %+v", err, devices)
	}
}
