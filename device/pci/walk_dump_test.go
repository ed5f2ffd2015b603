package pci_test

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

var wanted = []string{"modalias", "vendor", "device", "class", "subsystem_vendor", "subsystem_device", "numa_node",
	"driver", "iommu_group", "physfn", "current_link_speed", "current_link_width", "max_link_speed", "max_link_width", "sriov_numvfs", "sriov_totalvfs"}

// dump has what is read of PCI functions.
func dump(t testing.TB, name string) fs.FS {
	t.Helper()
	return devicetest.Dump(t, name, func(file string) bool {
		return strings.Contains(file, "/pci") && (slices.Contains(wanted, path.Base(file)) || strings.HasSuffix(path.Dir(file), "/bus/pci/devices"))
	})
}

// TestWalkDumps counts what is on copies of real machines, and looks that the links
// of each are followed inside its root.
func TestWalkDumps(t *testing.T) {
	for _, c := range []struct {
		file      string
		functions int
		ids       map[string]int
	}{
		{"hwloc/linux/2pa-pcidomain32bits.tar.bz2", 9, map[string]int{"1013:00b8": 1, "1af4:1000": 1}},
		{"hwloc/linux/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2", 137, map[string]int{"8086:225c": 1, "15b3:1003": 1}},
		{"hwloc/linux/32intel64-2p8co2t+8ve.tar.bz2", 28, map[string]int{"1bcf:001c": 8, "15b3:1013": 2}},
		{"hwloc/linux/40intel64-2g2n4c+pcilocality.tar.bz2", 37, map[string]int{"14e4:1639": 4}},
		{"hwloc/linux/fakepcilocalities.tar.bz2", 30, map[string]int{"102b:0532": 1}},
		{"ghw-snapshots/linux-amd64-415ee03b8c4d1c4f07ae2e9d8b3d3d6d.tar.gz", 23, map[string]int{"8086:46a6": 1}},
		{"ghw-snapshots/linux-amd64-61797caf7c0b6bca1725ad7975ed4773.tar.gz", 43, map[string]int{"1002:6758": 1}},
		{"ghw-snapshots/linux-amd64-8581cf3a529e5d8b97ea876eade2f60d.tar.gz", 82, map[string]int{"8086:1520": 8}},
		{"ghw-snapshots/linux-amd64-accel-nvidia.tar.gz", 29, map[string]int{"10de:15f8": 1}},
	} {
		t.Run(path.Base(c.file), func(t *testing.T) {
			files := dump(t, c.file)
			functions, err := pci.Walk(files)
			if err != nil || len(functions) != c.functions {
				t.Fatalf("%d functions, error %v; it has %d", len(functions), err, c.functions)
			}
			ids := map[string]int{}
			for _, f := range functions {
				ids[f.ID()]++
				agrees(t, files, &f)
			}
			for id, n := range c.ids {
				if ids[id] != n {
					t.Errorf("%d functions %s, there are %d", ids[id], id, n)
				}
			}
		})
	}
}

// agrees looks that what was read in one go is what the single files say.
func agrees(t *testing.T, files fs.FS, f *device.Function) {
	t.Helper()
	h := &device.Host{FS: files}
	for name, got := range map[string]string{"vendor": f.Vendor, "device": f.Device, "class": f.Class} {
		if want := h.String("sys/bus/pci/devices", f.Address, name); want != "0x"+got {
			t.Errorf("%s: the %s is %s, its file says %s", f.Address, name, got, want)
		}
	}
	if f.Root == "" {
		t.Errorf("%s has no root", f.Address)
	}
	for _, b := range f.Bridges {
		// Some copies leave bridges out.
		if class := h.String("sys/bus/pci/devices", b, "class"); b == f.Address || class != "" && !strings.HasPrefix(class, "0x06") {
			t.Errorf("%s: of the way to it, %s is no bridge", f.Address, b)
		}
	}
}

func at(t *testing.T, functions []device.Function, address string) device.Function {
	t.Helper()
	h := device.Host{Functions: functions}
	f, ok := h.At(address)
	if !ok {
		t.Fatalf("there is no %s", address)
	}
	return *f
}

// TestWalkOfEightVectorEngines reads a machine whose accelerators lie behind
// switches.
func TestWalkOfEightVectorEngines(t *testing.T) {
	functions, _ := pci.Walk(dump(t, "hwloc/linux/32intel64-2p8co2t+8ve.tar.bz2"))
	gen3 := device.PCIeLink{Generation: 3, Lanes: 16}
	want := device.Function{
		Address: "0000:1b:00.0", Vendor: "1bcf", Device: "001c", SubVendor: "1bcf", SubDevice: "0000", Class: "0b4000",
		Driver: "ve_drv", Root: "pci0000:17", Bridges: []string{"0000:17:00.0", "0000:18:00.0", "0000:19:08.0"},
		NUMA: new(0), Link: gen3, LinkMax: gen3,
	}
	if diff := cmp.Diff(want, at(t, functions, "0000:1b:00.0")); diff != "" {
		t.Error(diff)
	}
}

// TestWalkOf32BitDomains reads functions of domains with more than four digits, as
// Intel's VMD and Hyper-V make them.
func TestWalkOf32BitDomains(t *testing.T) {
	functions, _ := pci.Walk(dump(t, "hwloc/linux/2pa-pcidomain32bits.tar.bz2"))
	for _, address := range []string{"10000:00:00.0", "10000:00:04.0"} {
		f := at(t, functions, address)
		if f.Address != address || f.Root != "pci10000:00" || len(f.Bridges) != 0 {
			t.Errorf("%s is read as %+v", address, f)
		}
	}
	if last := functions[len(functions)-1].Address; last != "10000:00:04.0" {
		t.Errorf("the last is %s; larger domains come later", last)
	}
}
