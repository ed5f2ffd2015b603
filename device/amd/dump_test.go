package amd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// unpack opens an archive whose files, below the directory strip, are those at a path
// of the machine.
func unpack(t *testing.T, archive, strip, at string) *device.Host {
	t.Helper()
	return devicetest.Copy(t, devicetest.Unpack(t, archive, func(name string) string {
		if rest, ok := strings.CutPrefix(name, strip); ok {
			return at + "/" + rest
		}
		return ""
	}))
}

func TestDumpMI210HasTwoHivesOfFour(t *testing.T) {
	h := unpack(t, "amd-kfd/topo-mi210-xgmi-pcie.tar.gz", "topo-mi210-xgmi-pcie/", "sys/class/kfd/kfd/topology")
	devices, err := New().Discover(t.Context(), h)
	if err != nil || len(devices) != 8 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	hives := map[string][]string{}
	for _, d := range devices {
		hives[d.Fabric.Domain] = append(hives[d.Fabric.Domain], d.PCI.Address)
		xgmi, pcie := 0, 0
		for _, l := range d.Links {
			switch {
			case l.Type == "xgmi" && l.Bandwidth == 50e9 && l.Count == 1:
				xgmi++
			case l.Type == "pcie" && l.Bandwidth == 0:
				pcie++
			}
		}
		if xgmi != 3 || pcie != 4 || len(d.Links) != 7 {
			t.Errorf("%s has %d links over XGMI and %d over PCIe of %d; it has 3 and 4", d.PCI.Address, xgmi, pcie, len(d.Links))
		}
		if d.PCI.ID() != "1002:740f" || d.Product != "MI210" || d.Units != 104 || d.Architecture != "gfx90a" || d.Form != device.Whole || d.Driver.Module != "amdgpu" {
			t.Errorf("%s is %+v", d.PCI.Address, d)
		}
	}
	first := hives[strconv.FormatUint(12609507387757274807, 16)]
	second := hives[strconv.FormatUint(18091350218769748594, 16)]
	if !slices.Equal(first, []string{"0000:03:00.0", "0000:26:00.0", "0000:43:00.0", "0000:63:00.0"}) ||
		!slices.Equal(second, []string{"0000:83:00.0", "0000:a3:00.0", "0000:c3:00.0", "0000:e3:00.0"}) {
		t.Errorf("the hives are %v", hives)
	}
	d := devices[3]
	if d.UUID != fmt.Sprintf("amd-%016x", uint64(1801979520617338022)) || !slices.Equal(paths(d.Nodes), []string{"/dev/kfd", "/dev/dri/renderD128"}) {
		t.Errorf("0000:63:00.0 is %s with %v", d.UUID, d.Nodes)
	}
	if d.Memory != 0 {
		t.Errorf("0000:63:00.0 has %d bytes; the capture does not tell", d.Memory)
	}
}

func TestDumpMI25(t *testing.T) {
	h := unpack(t, "amd-kfd/topology-parsing.tar.gz", "topology-parsing/", "sys/class/kfd/kfd")
	devices, err := New().Discover(t.Context(), h)
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	for i, d := range devices { // the second node is a copy of the first, but for its file
		if d.PCI.Address != "0000:19:00.0" || d.PCI.ID() != "1002:6860" || d.Memory != 17163091968 || d.Units != 64 || d.Fabric != nil || d.Ordinal != i {
			t.Errorf("%d is %+v at %+v", i, d, d.PCI)
		}
		if p := d.Nodes[1].Path; p != fmt.Sprintf("/dev/dri/renderD%d", 128+i) {
			t.Errorf("%d has the file %s", i, p)
		}
	}
}

func TestDumpRocmSmi(t *testing.T) {
	for _, c := range []struct {
		file, product, uuid, driver string
		devices                     int
		memory                      int64
	}{
		{"mi100_rocm571", "MI100", "", "6.2.4", 6, 34342961152},
		{"rx6700xt_rocm430", "device 1002:73df", "", "6.3.6", 1, 12868124672},
		{"rx6700xt_rocm571", "Radeon RX 6700/6700 XT / 6800M", "", "6.3.6", 1, 12868124672},
		{"rx6700xt_rocm602", "Radeon RX 6700/6700 XT / 6800M", "", "6.3.6", 1, 12868124672},
		{"rx6700xt_rocm612", "Radeon RX 6700/6700 XT / 6800M", "", "6.3.6", 1, 12868124672},
		{"vega-10-XT", "device 1002:6861", "amd-02150e7d042a1124", "5.9.25", 1, 17163091968},
		{"vega-20-WKS-GL-XE", "Radeon Instinct MI50 32GB", "amd-02f048617326b1ea", "5.9.17", 1, 34342961152},
	} {
		devices, err := New().Read(devicetest.Saved(t, "telegraf/amd_rocm_smi/"+c.file+".json"))
		if err != nil || len(devices) != c.devices {
			t.Errorf("%s: %d devices, error %v", c.file, len(devices), err)
			continue
		}
		d := devices[0]
		if d.Product != c.product || d.UUID != c.uuid || d.Driver.Version != c.driver || d.Memory != c.memory || d.Reading.Temperature == nil {
			t.Errorf("%s: %+v", c.file, d)
		}
	}
}

// TestDumpDrm reads files of a Radeon RX Vega in the archive format ttar, and those of
// Intel's graphics beside it.
func TestDumpDrm(t *testing.T) {
	h := devicetest.Copy(t, devicetest.Ttar(t, "procfs/drm_infiniband_pci.subset.ttar", "sys/class/drm"))
	devices, err := New().Discover(t.Context(), h)
	if len(devices) != 1 || err == nil || !strings.Contains(err.Error(), "unknown to KFD") {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.PCI.ID() != "1002:687f" || d.UUID != "amd-0123456789abcdef" || d.Memory != 8573157376 || d.Driver.Firmware != "115-D050PIL-100" || d.Serial != "" {
		t.Errorf("it is %+v at %+v", d, d.PCI)
	}
	if err := New().Measure(t.Context(), h, devices); err != nil || *devices[0].Reading.Utilization != 0.04 || *devices[0].Reading.MemoryUsed != 1490378752 {
		t.Errorf("it reads %+v, error %v", devices[0].Reading, err)
	}
}
