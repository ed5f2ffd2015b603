package pci_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

// BenchmarkWalk reads copies of machines through a root out of which no link leads,
// as `polder devices --root` does.
func BenchmarkWalk(b *testing.B) {
	for _, name := range []string{
		"hwloc/linux/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2",
		"hwloc/linux/32intel64-2p8co2t+8ve.tar.bz2",
	} {
		b.Run(filepath.Base(name), func(b *testing.B) { walk(b, dump(b, name)) })
	}
	b.Run("16 accelerators", func(b *testing.B) {
		root, err := os.OpenRoot(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		defer root.Close()
		if err := write(root, node().Files); err != nil {
			b.Fatal(err)
		}
		walk(b, root.FS())
	})
}

func walk(b *testing.B, files fs.FS) {
	for b.Loop() {
		functions, err := pci.Walk(files)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(functions)), "functions")
	}
}

// node is made up: 16 accelerators, each beside a network card below a switch of two
// levels, and bridges and controllers to make it 150 functions.
func node() *devicetest.Machine {
	m := devicetest.New()
	plug := func(c devicetest.Card) {
		vendor, dev, _ := strings.Cut(strings.ToUpper(c.ID), ":")
		more := map[string]string{"modalias": fmt.Sprintf("pci:v0000%sd0000%ssv00000000sd00000000bc%ssc%si%s", vendor, dev, c.Class[:2], c.Class[2:4], c.Class[4:])}
		maps.Copy(more, c.More)
		c.More = more
		m.Plug(c)
	}
	link := map[string]string{"current_link_speed": "32.0 GT/s PCIe", "current_link_width": "16", "max_link_speed": "32.0 GT/s PCIe", "max_link_width": "16"}
	for i := range 16 {
		root := fmt.Sprintf("pci%04x:00", i)
		at := func(bus, slot int) string { return fmt.Sprintf("%04x:%02x:%02x.0", i, bus, slot) }
		up := []string{at(0, 1), at(1, 0)}
		plug(devicetest.Card{Address: at(0, 1), ID: "8086:352a", Class: "060400", Root: root, Driver: "pcieport", More: link})
		plug(devicetest.Card{Address: at(1, 0), ID: "1000:c030", Class: "060400", Root: root, Bridges: up[:1], More: link})
		for slot, card := range []devicetest.Card{
			{ID: "10de:2330", Class: "030200", Driver: "nvidia", IOMMUGroup: "1", NUMA: "0", More: link},
			{ID: "15b3:1021", Class: "020700", Driver: "mlx5_core", IOMMUGroup: "2", NUMA: "0", More: link},
		} {
			plug(devicetest.Card{Address: at(2, slot), ID: "1000:c030", Class: "060400", Root: root, Bridges: up, More: link})
			card.Address, card.Root, card.Bridges = at(3+slot, 0), root, []string{at(0, 1), at(1, 0), at(2, slot)}
			plug(card)
		}
		for slot := range 3 {
			plug(devicetest.Card{Address: at(0, 16+slot), ID: "8086:1bcb", Class: "088000", Root: root})
		}
	}
	for slot := range 6 {
		plug(devicetest.Card{Address: fmt.Sprintf("0100:00:%02x.0", slot), ID: "8086:09a2", Class: "088000"})
	}
	return m
}

func write(root *os.Root, files fstest.MapFS) error {
	for name, f := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		var err error
		if f.Mode&fs.ModeSymlink != 0 {
			err = root.Symlink(string(f.Data), name)
		} else {
			err = root.WriteFile(name, f.Data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
