package nvidia

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// degraded are machines on which something is missing.
var degraded = map[string]struct {
	change  func(m *devicetest.Machine)
	devices int
	says    []string // in the problems
	check   func(d []device.Device) bool
}{
	"no nvidia-smi": {func(m *devicetest.Machine) { m.Tools = nil }, 4, []string{"memory comes from the catalogue"},
		func(d []device.Device) bool {
			return d[0].UUID == cardA.uuid && d[0].Health.State == device.Unknown && d[0].Nodes[0].Path == "/dev/nvidia1" &&
				d[3].Form == device.MIG && d[3].UUID == "MIG-"+cardMIG.uuid+"/5/0" && len(d[3].Nodes) == 5
		}},
	"libraries of another version than the driver": {func(m *devicetest.Machine) {
		m.Tool("nvidia-smi", "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.105")
		delete(m.Tools, "nvidia-smi -q -x")
	}, 4, []string{"Driver/library version mismatch"}, nil},
	"a card is lost": {func(m *devicetest.Machine) {
		delete(m.Tools, "nvidia-smi -q -x")
		m.Tool("nvidia-smi", "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU")
	}, 4, []string{"GPU is lost"}, func(d []device.Device) bool {
		return faultsOf(&d[0]) == "gpu-lost" && d[0].Health.State == device.Failed && d[1].Health.State == device.Unknown
	}},
	"a card is not listed": {func(m *devicetest.Machine) { m.Tool("nvidia-smi -q -x", logOf(cardA, cardMIG)) }, 4, nil,
		func(d []device.Device) bool {
			return faultsOf(&d[1]) == "gpu-missing" && d[0].Health.State == device.Healthy && len(d[0].Links) == 1
		}},
	"no list": {func(m *devicetest.Machine) { delete(m.Tools, "nvidia-smi -L") }, 4, []string{"profiles of MIG instances are not known"},
		func(d []device.Device) bool {
			return d[3].UUID == "MIG-"+cardMIG.uuid+"/5/0" && d[3].Memory == 9984<<20
		}},
	"no matrix": {func(m *devicetest.Machine) { delete(m.Tools, "nvidia-smi topo -m") }, 4, []string{"links between cards are not known"}, nil},
	"the log breaks off": {func(m *devicetest.Machine) {
		l := logOf(cardA, cardB, cardMIG)
		m.Tool("nvidia-smi -q -x", l[:strings.Index(l, cardMIG.uuid)])
	}, 4, []string{"ended with an error"}, func(d []device.Device) bool { return d[1].Memory == 81559<<20 }},
	"a number cannot be read": {func(m *devicetest.Machine) {
		m.Write(procDir+"/gpus/"+cardA.address+"/information", "Model: x")
		m.Tool("nvidia-smi -q -x", strings.Replace(logOf(cardA, cardB, cardMIG), "<minor_number>1<", "<minor_number>N/A<", 1))
	}, 4, []string{cardA.address + ": the number of its device file"}, func(d []device.Device) bool { return len(d[0].Nodes) == 0 && d[0].UUID == cardA.uuid }},
	"no capability of an instance": {func(m *devicetest.Machine) { delete(m.Files, procDir+"/capabilities/gpu2/mig/gi5/ci0/access") }, 4,
		[]string{"MIG instance 5/0"}, func(d []device.Device) bool { return len(d[3].Nodes) == 0 && len(d[2].Nodes) == 5 }},
	"capabilities in the table alone": {func(m *devicetest.Machine) {
		for k := range m.Files {
			if strings.HasPrefix(k, procDir+"/capabilities") {
				delete(m.Files, k)
			}
		}
		m.Write("proc/driver/nvidia-caps/mig-minors", "config 1\nmonitor 2\ngpu2/gi1/access 282\ngpu2/gi1/ci0/access 283\ngpu2/gi5/access 318\ngpu2/gi5/ci0/access 319")
	}, 4, nil, func(d []device.Device) bool {
		return strings.Contains(pathsOf(&d[3]), "nvidia-cap318 /dev/nvidia-caps/nvidia-cap319")
	}},
}

func TestDiscoverDegrades(t *testing.T) {
	for name, c := range degraded {
		t.Run(name, func(t *testing.T) {
			m := wholeMachine()
			c.change(m)
			devices, err := discover(t, m)
			if len(devices) != c.devices {
				t.Fatalf("%d devices, not %d; error %v", len(devices), c.devices, err)
			}
			if (err == nil) != (len(c.says) == 0) {
				t.Errorf("the problems are %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(fmt.Sprint(err), s) {
					t.Errorf("no word of %q in %v", s, err)
				}
			}
			if c.check != nil && !c.check(devices) {
				t.Errorf("devices are %+v", devices)
			}
		})
	}
}
