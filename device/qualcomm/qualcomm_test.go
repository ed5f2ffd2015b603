package qualcomm

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has a card of two devices behind a switch, made from the documentation of
// the kernel. Of the second, no serial number was read yet.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:44:00.0", "0000:43:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "17cb:a100", Class: "120000", Driver: "qaic", NUMA: "0", Root: "pci0000:40", Bridges: []string{"0000:40:01.0", "0000:41:00.0"}})
		m.Symlink(fmt.Sprintf("%s/accel%d/device", class, i), "../../../"+strings.TrimPrefix(dir, "sys/"))
		m.Write(fmt.Sprintf("%s/mhi%d/serialnumber", dir, i), fmt.Sprintf("Serial Number: %d", 3405691582*(1-i)))
	}
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Strangers: []device.Function{
		{Vendor: "17cb", Device: "0306", Class: "ff0000"}, {Vendor: "17cb", Device: "1107", Class: "028000"}, {Vendor: "17cb", Device: "0308", Class: "0d4000"},
		{Vendor: "17cb", Device: "a100", Class: "ff0000"},
	}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.PCI.Address != "0000:43:00.0" || a.Nodes[0].Path != "/dev/accel/accel1" || a.Serial != "" || a.UUID != "" {
		t.Errorf("the first is %+v", a)
	}
	if b.Nodes[0].Path != "/dev/accel/accel0" || b.Serial != "3405691582" || b.UUID != "qaic-3405691582" || b.Product != "Cloud AI 100" {
		t.Errorf("the second is %+v", b)
	}
}
