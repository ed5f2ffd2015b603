package discovery

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// big is a made-up node with sixteen GPUs behind switches, 150 PCI functions in all,
// two sockets with 192 threads, and NVIDIA's files in proc.
func big() *devicetest.Machine {
	m := devicetest.New()
	for i := range 16 {
		root, up, down := fmt.Sprintf("0000:%02x:00.0", i*12), fmt.Sprintf("0000:%02x:00.0", i*12+1), fmt.Sprintf("0000:%02x:00.0", i*12+2)
		at := fmt.Sprintf("0000:%02x:00.0", i*12+3)
		pci := fmt.Sprintf("pci0000:%02x", i*12)
		m.Plug(
			devicetest.Card{Address: root, ID: "8086:352a", Class: "060400", Root: pci},
			devicetest.Card{Address: up, ID: "1000:c030", Class: "060400", Root: pci, Bridges: []string{root}},
			devicetest.Card{Address: down, ID: "1000:c030", Class: "060400", Root: pci, Bridges: []string{root, up}},
			devicetest.Card{Address: at, ID: "10de:2330", Sub: "10de:16c1", Class: "030200", Driver: "nvidia", NUMA: fmt.Sprint(i / 8), Root: pci, Bridges: []string{root, up, down},
				More: map[string]string{"current_link_speed": "32.0 GT/s PCIe", "current_link_width": "16", "max_link_speed": "32.0 GT/s PCIe", "max_link_width": "16"}},
		)
		m.Write("proc/driver/nvidia/gpus/"+at+"/information", fmt.Sprintf("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 100\nGPU UUID: \t GPU-%08d-0000-0000-0000-000000000000\nDevice Minor: \t %d\nGPU Firmware: \t 580.65.06", i, i))
		for j := range 5 {
			m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:%02x:%02x.0", i*12+4, j), ID: "144d:a80a", Class: "010802", Root: pci, Bridges: []string{root}})
		}
	}
	for cpu := range 192 {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/", cpu)
		m.Write(dir+"physical_package_id", fmt.Sprint(cpu%96/48)).Write(dir+"core_id", fmt.Sprint(cpu%48))
	}
	m.Write("sys/devices/system/cpu/online", "0-191").Write("proc/meminfo", "MemTotal: 2113470000 kB")
	return m
}

// onDisk writes a machine to a directory.
func onDisk(t testing.TB, m *devicetest.Machine) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range m.Files {
		file := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil && f.Mode&fs.ModeSymlink != 0 {
			err = os.Symlink(string(f.Data), file)
		} else if err == nil {
			err = os.WriteFile(file, f.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func discover(t testing.TB, dir string) device.Inventory {
	t.Helper()
	h, done, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	return Run(t.Context(), h, Adapters())
}

func TestDiscoverABigNode(t *testing.T) {
	v := discover(t, onDisk(t, big()))
	gpus := 0
	for _, d := range v.Devices {
		if d.Kind == device.GPU && d.Vendor == "nvidia" && d.Memory > 0 && d.NUMA != nil {
			gpus++
		}
	}
	if gpus != 16 {
		t.Errorf("%d of 16 GPUs are known with their memory and NUMA node: %+v", gpus, v.Problems)
	}
}

// BenchmarkDiscover is the discovery of a whole node with sixteen accelerators from a
// copy of its files, from opening it to the inventory.
func BenchmarkDiscover(b *testing.B) {
	dir := onDisk(b, big())
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		discover(b, dir)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}
