package huawei

import (
	"encoding/json"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// The text of many commands that FaultDiag collects: a server of eight 910A, of
// which the first was asked for more (real capture).
func TestCapture910A(t *testing.T) {
	devices, err := New().Read(devicetest.Saved(t, "ascend/mind-cluster_npu_info_before.txt"))
	if err != nil || len(devices) != 8 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.PCI == nil || d.PCI.Address != "0000:61:00.0" || d.PCI.ID() != "19e5:d801" || d.Product != "Ascend 910A" {
		t.Fatalf("the first is %+v", d)
	}
	if d.Memory != 31129<<20 || d.UUID != "npu-42c711d4-20b03704-4a10c8d4-14cc040a-d2102003" || d.Driver.Version != "23.0.5" || d.Driver.Firmware != "7.1.0.7.220" {
		t.Errorf("its memory is %d, UUID %s, driver %+v", d.Memory, d.UUID, d.Driver)
	}
	if d.Health.State != device.Healthy || *d.Reading.Utilization != 0 || d.Reading.Temperature != nil {
		t.Errorf("its health is %+v, reading %+v; the temperature in the file is that of a cable", d.Health, d.Reading)
	}
	for _, d := range devices[1:] {
		if d.Product != "Ascend 910A" || d.PCI != nil || d.Memory != 0 || d.Health.State != device.Unknown {
			t.Errorf("another is %+v; only its name was asked", d)
		}
	}
}

// A file of the same collection in which npu-smi was not run has no NPU.
func TestCaptureWithout(t *testing.T) {
	if devices, err := New().Read(devicetest.Saved(t, "ascend/modelarts_worker0_npu_info_before.txt")); err == nil {
		t.Errorf("%d devices", len(devices))
	}
}

// The version of the driver is in a file of its package: here its text from a real
// capture.
func TestCaptureVersion(t *testing.T) {
	text := string(devicetest.Saved(t, "ascend/modelarts_worker0_npu_info_before.txt"))
	_, text, _ = strings.Cut(text, "cat /usr/local/Ascend/driver/version.info\n")
	text, _, _ = strings.Cut(text, "\n\n")
	m := machine().Write("usr/local/Ascend/driver/version.info", text)
	if d := find(t, m)[0]; d.Driver.Version != "23.0.7" {
		t.Errorf("the driver is %q", d.Driver.Version)
	}
}

// What another detector read of the library DCMI on a real machine of eight 910B2
// agrees with what this room makes of npu-smi's text of the same values.
func TestCaptureAgrees910B2(t *testing.T) {
	var other []struct {
		Name, UUID, Driver string
		Memory             int
		Used               int     `json:"memory_used"`
		Power              float64 `json:"power_used"`
		Appendix           struct {
			Card     int `json:"card_id"`
			Chip     int `json:"device_id"`
			Physical int `json:"physical_id"`
			BDF      string
			NUMA     string
		}
	}
	if err := json.Unmarshal(devicetest.Saved(t, "gpustack-runtime/detect_output_ascend_910b2.json"), &other); err != nil {
		t.Fatal(err)
	}
	var units []unit
	for i, o := range other {
		die := ""
		for _, w := range strings.Fields(o.UUID) {
			die += strings.Repeat("0", 8-len(w)) + w + " "
		}
		units = append(units, unit{npu: o.Appendix.Card, chip: o.Appendix.Chip, logic: i, physical: o.Appendix.Physical, name: o.Name, bus: strings.ToUpper(o.Appendix.BDF), numa: o.Appendix.NUMA, die: strings.TrimSpace(die), health: "OK", memory: o.Memory})
	}
	m := plug(units, "d802").Tool("npu-smi info", tableOf(units)).Tool("npu-smi info -m", mappingOf(units, false)).Tool("npu-smi info -t topo", topoOf(8))
	devices := find(t, m)
	if len(devices) != 8 {
		t.Fatalf("%d devices", len(devices))
	}
	for _, o := range other {
		same := 0
		for _, d := range devices {
			if d.UUID == UUID(o.UUID) && d.PCI.Address == o.Appendix.BDF && d.Memory == int64(o.Memory)<<20 && d.Product == Product(o.Name) {
				same++
			}
		}
		if same != 1 {
			t.Errorf("%s at %s is found %d times", o.UUID, o.Appendix.BDF, same)
		}
	}
}
