package pci_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

const bus = "sys/bus/pci/devices/"

// accelerator has every file that is read.
var accelerator = devicetest.Card{
	Address: "0000:3b:00.0", ID: "10de:2330", Sub: "10de:16c1", Class: "030200", Driver: "nvidia", IOMMUGroup: "42", NUMA: "1",
	Root: "pci0000:3a", Bridges: []string{"0000:3a:01.0"},
	More: map[string]string{
		"current_link_speed": "16.0 GT/s PCIe", "current_link_width": "8", "max_link_speed": "32.0 GT/s PCIe", "max_link_width": "16",
		"sriov_numvfs": "2", "sriov_totalvfs": "16",
	},
}

func walked(t *testing.T, m *devicetest.Machine) ([]device.Function, error) {
	t.Helper()
	return pci.Walk(m.Files)
}

func TestWalkReadsAFunction(t *testing.T) {
	want := []device.Function{{
		Address: "0000:3b:00.0", Vendor: "10de", Device: "2330", SubVendor: "10de", SubDevice: "16c1", Class: "030200",
		Driver: "nvidia", Root: "pci0000:3a", Bridges: []string{"0000:3a:01.0"}, NUMA: new(1),
		Link: device.PCIeLink{Generation: 4, Lanes: 8}, LinkMax: device.PCIeLink{Generation: 5, Lanes: 16},
		IOMMUGroup: "42", VFs: 2, VFsMax: 16,
	}}
	whole := devicetest.New()
	whole.Plug(accelerator)
	aliased := devicetest.New()
	dir := aliased.Plug(accelerator)
	aliased.Write(dir+"/modalias", "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00")
	for _, file := range []string{"vendor", "device", "class", "subsystem_vendor", "subsystem_device"} {
		delete(aliased.Files, dir+"/"+file)
	}
	for name, m := range map[string]*devicetest.Machine{"from single files": whole, "from modalias": aliased} {
		got, err := walked(t, m)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v\n%s", name, err, diff)
		}
	}
}

func TestWalkReadsVirtualFunctions(t *testing.T) {
	m := devicetest.New()
	m.Plug(accelerator)
	vf := accelerator
	vf.Address, vf.More = "0000:3b:00.4", nil
	m.Symlink(m.Plug(vf)+"/physfn", "../0000:3b:00.0")
	got, err := walked(t, m)
	if err != nil || len(got) != 2 || got[0].Parent != "" || got[1].Parent != "0000:3b:00.0" {
		t.Errorf("error %v, %+v", err, got)
	}
}

// TestWalkReadsLittleOfBridges: a machine has hundreds of functions that are no
// accelerators.
func TestWalkReadsLittleOfBridges(t *testing.T) {
	m := devicetest.New()
	for i, class := range []string{"060400", "010802", "0c0330", "088000", "110100"} {
		m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:00:%02x.0", i), ID: "8086:352a", Sub: "8086:0001", Class: class, Driver: "pcieport", NUMA: "0"})
	}
	got, err := walked(t, m)
	if err != nil || len(got) != 5 {
		t.Fatalf("error %v, %+v", err, got)
	}
	for _, f := range got {
		if f.ID() != "8086:352a" || f.Class == "" || f.Root != "pci0000:00" {
			t.Errorf("%s lacks its numbers or its root: %+v", f.Address, f)
		}
		if f.Driver != "" || f.NUMA != nil || f.SubVendor != "" {
			t.Errorf("%s of class %s is read in full: %+v", f.Address, f.Class, f)
		}
	}
}

func TestWalkFindsTheWay(t *testing.T) {
	for _, c := range []struct {
		name, link string
		root       string
		bridges    []string
	}{
		{"at the root", "../../../devices/pci0000:00/0000:01:00.0", "pci0000:00", nil},
		{"behind bridges", "../../../devices/pci0000:00/0000:00:01.0/0000:00:02.0/0000:01:00.0", "pci0000:00", []string{"0000:00:01.0", "0000:00:02.0"}},
		{"a domain of its own behind a device", "../../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/0000:01:00.0", "pci10000:e0", []string{"10000:e0:06.0"}},
		{"an end that a copy adds", "../../../devices/pci0000:00/0000:01:00.0/", "pci0000:00", nil},
		{"below a platform device", "../../../devices/platform/soc/4000.pcie/pci0002:00/0002:00:00.0/0000:01:00.0", "pci0002:00", []string{"0002:00:00.0"}},
		{"below a root without a number", "../../../devices/LNXSYSTM:00/device:00/PNP0A03:00/0000:01:00.0", "", nil},
	} {
		m := devicetest.New()
		m.Symlink(bus+"0000:01:00.0", c.link)
		dir := "sys/" + strings.Trim(strings.TrimPrefix(c.link, "../../../"), "/")
		m.Write(dir+"/vendor", "0x10de").Write(dir+"/device", "0x2330").Write(dir+"/class", "0x030200")
		got, err := walked(t, m)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: error %v, %+v", c.name, err, got)
			continue
		}
		if got[0].Root != c.root || !cmp.Equal(got[0].Bridges, c.bridges) {
			t.Errorf("%s: root %q, bridges %v", c.name, got[0].Root, got[0].Bridges)
		}
	}
}

// TestWalkOfDirectories reads a copy in which links became directories: the way is
// not known, the rest is.
func TestWalkOfDirectories(t *testing.T) {
	m := devicetest.New()
	dir := bus + "0000:01:00.0"
	m.Write(dir+"/vendor", "0x1E52").Write(dir+"/device", "0x401E").Write(dir+"/class", "0x120000").Write(dir+"/numa_node", "0")
	got, err := walked(t, m)
	want := []device.Function{{Address: "0000:01:00.0", Vendor: "1e52", Device: "401e", Class: "120000", NUMA: new(0)}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v\n%s", err, diff)
	}
}

func TestWalkKeepsWhatItCanRead(t *testing.T) {
	for _, c := range []struct {
		name string
		file string
		text string
		want func(f *device.Function) bool
	}{
		{"no node of memory", "numa_node", "-1", func(f *device.Function) bool { return f.NUMA == nil }},
		{"a node that is none", "numa_node", "many", func(f *device.Function) bool { return f.NUMA == nil }},
		{"a node beyond all", "numa_node", "70000", func(f *device.Function) bool { return f.NUMA == nil }},
		{"a speed not known", "current_link_speed", "Unknown", func(f *device.Function) bool { return f.Link == device.PCIeLink{} && f.LinkMax.Lanes == 16 }},
		{"a speed of old kernels", "current_link_speed", "8 GT/s", func(f *device.Function) bool { return f.Link.Generation == 3 }},
		{"the first generation", "current_link_speed", "2.5 GT/s PCIe", func(f *device.Function) bool { return f.Link.Generation == 1 }},
		{"a width of 0", "current_link_width", "0", func(f *device.Function) bool { return f.Link == device.PCIeLink{} }},
		{"a width of 255", "max_link_width", "255", func(f *device.Function) bool { return f.LinkMax == device.PCIeLink{} }},
		{"more virtual functions than there can be", "sriov_numvfs", "99999999999999999999", func(f *device.Function) bool { return f.VFs == 0 }},
		{"a class that is none", "class", "0x03", func(f *device.Function) bool { return f.Class == "" && f.Driver == "nvidia" }},
		{"garbage for a class", "class", "\x00\xff", func(f *device.Function) bool { return f.Class == "" }},
		{"half a modalias", "modalias", "pci:v000010DEd0000", func(f *device.Function) bool { return f.Device == "2330" }},
		{"a modalias of another bus", "modalias", "usb:v1D6Bp0002d0618dc09dsc00dp01ic09isc00ip00in00", func(f *device.Function) bool { return f.Device == "2330" }},
		{"a modalias with more", "modalias", "pci:v000010DEd00002331sv000010DEsd000016C1bc03sc02i00x", func(f *device.Function) bool { return f.Device == "2330" }},
	} {
		m := devicetest.New()
		m.Write(m.Plug(accelerator)+"/"+c.file, c.text)
		got, err := walked(t, m)
		if err != nil || len(got) != 1 || !c.want(&got[0]) {
			t.Errorf("%s: error %v, %+v", c.name, err, got)
		}
	}
}

// TestWalkSaysWhatItLeavesOut has a function without numbers, and an entry that is
// none; they do not cost the one beside them.
func TestWalkSaysWhatItLeavesOut(t *testing.T) {
	m := devicetest.New()
	m.Plug(accelerator)
	m.Write(bus+"0000:aa:00.0/vendor", "nothing")
	for _, name := range []string{"README", "0000:aa:bb:00.0", "aa:00.0", "0000:AA:00.0"} {
		m.Write(bus+name+"/vendor", "0x10de").Write(bus+name+"/device", "0x2330")
	}
	got, err := walked(t, m)
	if len(got) != 1 || got[0].Address != "0000:3b:00.0" {
		t.Errorf("found %+v", got)
	}
	var p device.Problem
	if !errors.As(err, &p) || p.Where == "" {
		t.Fatalf("the error %v is no problem with a place", err)
	}
	for _, want := range []string{"0000:aa:00.0: has no vendor and device number", "README: is not named", "0000:AA:00.0: is not named", "aa:00.0: is not named"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
}

func TestWalkOfNothing(t *testing.T) {
	if got, err := walked(t, devicetest.New()); len(got) > 0 || err != nil {
		t.Errorf("a machine without PCI has %d functions, error %v", len(got), err)
	}
}
