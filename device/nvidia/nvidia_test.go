package nvidia

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

func TestDiscoverTellsOfCards(t *testing.T) {
	devices, err := discover(t, wholeMachine())
	if err != nil || len(devices) != 4 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.UUID != cardA.uuid || a.Serial != "1651" || a.Memory != 81559<<20 || a.Form != device.Whole || *a.NUMA != 0 {
		t.Errorf("the first is %+v", a)
	}
	if got, want := a.Driver, (device.Driver{Module: "nvidia", Version: "580.95.05", Firmware: "96.00.a5.00.01", Stack: "13.0"}); got != want {
		t.Errorf("its driver is %+v, not %+v", got, want)
	}
	if a.Provenance["memory"].From != smi || a.Provenance["serial"].From != smi || a.Provenance["uuid"].From != "" {
		t.Errorf("its values come from %v", a.Provenance)
	}
	if got, want := pathsOf(&a), "/dev/nvidia1 /dev/nvidiactl /dev/nvidia-uvm"; got != want {
		t.Errorf("its device files are %s, not %s: the driver counts otherwise than nvidia-smi", got, want)
	}
	if !strings.HasPrefix(pathsOf(&b), "/dev/nvidia0 ") || a.Health.State != device.Healthy {
		t.Errorf("the second has %s, the health of the first is %+v", pathsOf(&b), a.Health)
	}
}

func TestDiscoverTellsOfLinks(t *testing.T) {
	devices, _ := discover(t, wholeMachine())
	a, b := devices[0], devices[1]
	if len(a.Links) != 1 || a.Links[0] != (device.Link{To: cardB.uuid, Type: "nvlink", Count: 18}) {
		t.Errorf("links of the first are %+v; it has 18 to the second, and none to a card in MIG mode", a.Links)
	}
	if a.Fabric == nil || b.Fabric == nil || a.Fabric.Domain == "" || *a.Fabric != *b.Fabric || a.Fabric.Type != "nvlink" {
		t.Errorf("fabrics are %+v and %+v", a.Fabric, b.Fabric)
	}
	for _, d := range devices[2:] {
		if d.Fabric != nil || len(d.Links) > 0 {
			t.Errorf("the MIG instance %s is said to have NVLink", d.Profile)
		}
	}
}

func TestDiscoverTellsOfInstances(t *testing.T) {
	devices, _ := discover(t, wholeMachine())
	for i, want := range []struct {
		profile, uuid, nodes string
		memory               int64
		units                int
	}{
		{"3g.40gb", "MIG-bbbbbbbb-0000-0000-0000-000000000000", "/dev/nvidia2 /dev/nvidia-caps/nvidia-cap282 /dev/nvidia-caps/nvidia-cap283 /dev/nvidiactl /dev/nvidia-uvm", 40192 << 20, 42},
		{"1g.10gb", "MIG-bbbbbbbb-0000-0000-0000-000000000001", "/dev/nvidia2 /dev/nvidia-caps/nvidia-cap318 /dev/nvidia-caps/nvidia-cap319 /dev/nvidiactl /dev/nvidia-uvm", 9984 << 20, 14},
	} {
		d := devices[2+i]
		if d.Form != device.MIG || d.Parent != cardMIG.uuid || d.Ordinal != i || d.Profile != want.profile || d.UUID != want.uuid || d.Memory != want.memory || d.Units != want.units {
			t.Errorf("instance %d is %+v", i, d)
		}
		if pathsOf(&d) != want.nodes {
			t.Errorf("instance %d has the device files %s, not %s", i, pathsOf(&d), want.nodes)
		}
		if d.Health.State != device.Healthy || *d.Reading.MemoryUsed != 12<<20 || d.Reading.Power != nil {
			t.Errorf("instance %d: health %+v, meters %+v", i, d.Health, d.Reading)
		}
	}
}

func TestModeWithoutInstancesKeepsJobsAway(t *testing.T) {
	c := cardMIG
	c.more, c.parts = "<mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices>\n None\n</mig_devices>", nil
	devices, err := discover(t, machineOf("", c))
	if err != nil || len(devices) != 1 || devices[0].Form != device.Whole || devices[0].Health.State != device.Failed || faultsOf(&devices[0]) != "mig-no-instances" {
		t.Errorf("devices are %+v, error %v", devices, err)
	}
}

func TestCardsOfOtherDrivers(t *testing.T) {
	m := devicetest.New()
	for i, driver := range []string{"", "nouveau", "vfio-pci"} {
		m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:0%d:00.0", i+1), ID: "10de:1eb8", Class: "030200", Driver: driver})
	}
	m.Tool("nvidia-smi", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
	devices, err := discover(t, m)
	if len(devices) != 3 {
		t.Fatalf("%d devices of 3", len(devices))
	}
	for _, s := range []string{"01:00.0: has no driver", "02:00.0: is driven by nouveau"} {
		if !strings.Contains(fmt.Sprint(err), s) {
			t.Errorf("no word of %q in %v", s, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "03:00.0") || strings.Contains(fmt.Sprint(err), smi) {
		t.Errorf("complains of a card meant for a virtual machine, or asks nvidia-smi without a driver: %v", err)
	}
	for _, d := range devices {
		if len(d.Nodes) > 0 || d.Health.State != device.Unknown {
			t.Errorf("a card without NVIDIA's driver is %+v", d)
		}
	}
}

func TestDriverShowsWhatTheBusDoesNot(t *testing.T) {
	m := machineOf("", cardA)
	for k := range m.Files {
		if strings.HasPrefix(k, "sys/") {
			delete(m.Files, k)
		}
	}
	devices, err := discover(t, m)
	if err != nil || len(devices) != 1 || devices[0].PCI.Address != cardA.address || devices[0].Memory != 81559<<20 || devices[0].Driver.Version != "580.95.05" {
		t.Errorf("devices are %+v, error %v", devices, err)
	}
}

func TestExcludedCardIsFailed(t *testing.T) {
	m := machineOf("", cardA, cardB)
	name := procDir + "/gpus/" + cardB.address + "/information"
	m.Write(name, strings.Replace(string(m.Files[name].Data), "Excluded:\t No", "Excluded:\t Yes", 1))
	m.Tool("nvidia-smi -q -x", logOf(cardA))
	devices, _ := discover(t, m)
	if len(devices) != 2 || faultsOf(&devices[1]) != "gpu-excluded" || devices[1].Health.State != device.Failed {
		t.Errorf("devices are %+v", devices)
	}
}

func TestUnifiedMemoryIsTheHosts(t *testing.T) {
	c := made{address: "000f:01:00.0", id: "10de:2e12", model: "NVIDIA GB10", uuid: "GPU-cccccccc-0000-0000-0000-000000000001", minor: 0}
	l := strings.Replace(logOf(c), "<total>0 MiB</total><reserved>500 MiB</reserved><used>4 MiB</used></fb_memory_usage>",
		"<total>N/A</total><reserved>N/A</reserved><used>N/A</used></fb_memory_usage><bar1_memory_usage><total>N/A</total></bar1_memory_usage>", 1)
	m := machineOf("", c).Tool("nvidia-smi -q -x", l).Write("proc/meminfo", "MemTotal:       125508468 kB\nMemFree:        67271204 kB")
	devices, err := discover(t, m)
	if err != nil || devices[0].Memory != 125508468<<10 || !strings.HasPrefix(devices[0].Provenance["memory"].From, "proc/meminfo") {
		t.Errorf("the device is %+v, error %v", devices, err)
	}
	if read, err := New().Read([]byte(l)); err != nil || read[0].Memory != 0 {
		t.Errorf("a saved output gives a memory of %d, error %v; the host's is not in it", read[0].Memory, err)
	}
}

func TestNoCardNoProgram(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:3d:00.0", ID: "10de:22a3", Class: "068000", Driver: "nvidia-nvswitch"})
	host, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	host.Run = func(context.Context, string, ...string) ([]byte, error) {
		t.Error("a program is run on a machine without GPUs")
		return nil, errors.New("no")
	}
	if devices, err := New().Discover(t.Context(), host); len(devices) > 0 || err != nil {
		t.Errorf("devices %+v, error %v", devices, err)
	}
}
