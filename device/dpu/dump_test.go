package dpu

import (
	"path"
	"strings"
	"testing"

	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

// TestRealInfiniBandFiles gives made-up cards the files of real ones, with which
// Prometheus tests: a ConnectX-4, whose driver is BlueField's, and older ones. None is a
// DPU.
func TestRealInfiniBandFiles(t *testing.T) {
	files := devicetest.Ttar(t, "procfs/drm_infiniband_pci.subset.ttar", "sys/class/infiniband")
	for name, want := range map[string]struct {
		firmware string
		ports    int
		up       bool
		downs    int64
	}{
		"mlx5_0": {firmware: "14.28.2006", ports: 1, up: true},
		"mlx4_0": {firmware: "2.31.5050", ports: 2, up: true},
	} {
		m := devicetest.New()
		dir := m.Plug(devicetest.Card{Address: "0000:03:00.0", ID: "15b3:a2dc", Class: "020700", Driver: "mlx5_core"})
		for path, file := range files {
			if rest, ok := strings.CutPrefix(path, "sys/class/infiniband/"+name+"/"); ok {
				m.Files[dir+"/infiniband/"+name+"/"+rest] = file
			}
		}
		h, err := m.Host()
		if err != nil {
			t.Fatal(err)
		}
		cards := gather(h)
		if len(cards) != 1 {
			t.Fatalf("%d cards", len(cards))
		}
		c := cards[0]
		c.read(h, &answers{})
		if c.firmware != want.firmware || len(c.ports) != want.ports || c.ports[0].up != want.up {
			t.Errorf("%s: firmware %q, ports %+v", name, c.firmware, c.ports)
		}
		r := c.reading(h)
		if r == nil || len(r.Errors) != len(counted) || r.Errors["link-downed"] != want.downs {
			t.Errorf("%s: meters %+v", name, r)
		}
	}
}

// TestRealConnectX looks at copies of machines with network cards of the DPUs'
// makers. None is a DPU.
func TestRealConnectX(t *testing.T) {
	for file, cards := range map[string]int{"32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2": 1, "32intel64-2p8co2t+8ve.tar.bz2": 2} {
		functions, err := pci.Walk(devicetest.Load(t, "hwloc/linux/"+file, bus))
		if err != nil {
			t.Fatal(err)
		}
		for i := range functions {
			f := &functions[i]
			if f.Vendor == "15b3" {
				cards--
			}
			if New().Owns(f) {
				t.Errorf("%s: owns %s of class %s", file, f.ID(), f.Class)
			}
		}
		if cards != 0 {
			t.Errorf("%s: there are %d more cards of Mellanox", file, cards)
		}
	}
}

// bus are the files of PCI functions that say what they are.
func bus(file string) bool {
	return path.Dir(file) == "sys/bus/pci/devices" || path.Base(file) == "modalias" && strings.HasPrefix(file, "sys/devices/pci")
}
