package tenstorrent

import (
	"fmt"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has a Wormhole and a Blackhole, made from the driver's documentation.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, card := range []devicetest.Card{
		{Address: "0000:3b:00.0", ID: "1e52:401e", Class: "120000", Driver: "tenstorrent", NUMA: "0"},
		{Address: "0000:af:00.0", ID: "1e52:b140", Class: "120000", Driver: "tenstorrent", NUMA: "1"},
	} {
		dir := m.Plug(card)
		entry := fmt.Sprintf("%s/tenstorrent!%d", class, i)
		m.Symlink(entry+"/device", "../../../"+dir[len("sys/"):])
		m.Write(entry+"/tt_serial", fmt.Sprintf("010001851172%04d", i)).Write(entry+"/tt_asic_id", fmt.Sprintf("0x%016x", 0x1000+i))
		m.Write(entry+"/tt_card_type", []string{"n150", "p150a"}[i]).Write(entry+"/tt_fw_bundle_ver", "18.7.0.0")
		m.Write(entry+"/tt_therm_trip_count", fmt.Sprint(i))
	}
	return m
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.Product != "n150" || a.Serial != "0100018511720000" || a.Nodes[0].Path != "/dev/tenstorrent/0" || *a.NUMA != 0 {
		t.Errorf("the first is %+v", a)
	}
	if a.Health.State != device.Healthy || b.Health.State != device.Degraded {
		t.Errorf("health is %s and %s; the second has tripped", a.Health.State, b.Health.State)
	}
}
