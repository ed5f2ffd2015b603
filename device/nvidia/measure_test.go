package nvidia

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestMeasureFollowsUUIDs(t *testing.T) {
	m := wholeMachine()
	devices, err := discover(t, m)
	if err != nil {
		t.Fatal(err)
	}
	hot := cardB
	hot.more = "<clocks_event_reasons><clocks_event_reason_hw_thermal_slowdown>Active</clocks_event_reason_hw_thermal_slowdown></clocks_event_reasons>"
	gone := cardMIG
	gone.parts = gone.parts[1:]
	m.Tool("nvidia-smi -q -x", logOf(hot, gone)).Tool("nvidia-smi -L", listOf(hot, gone))
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"gpu-missing", "thermal-slowdown", "mig-missing", ""} {
		if got := faultsOf(&devices[i]); got != want {
			t.Errorf("device %d has the faults %q, not %q", i, got, want)
		}
	}
	if r := devices[1].Reading; r == nil || *r.Utilization != 0.25 || *r.Power != 99.5 || *r.PowerLimit != 700 || *r.Temperature != 41 || *r.MemoryUsed != 4<<20 {
		t.Errorf("meters are %+v", devices[1].Reading)
	}
	if devices[0].Reading != nil || devices[3].Health.State != device.Healthy {
		t.Errorf("a lost card has meters %+v; an instance that is there is %+v", devices[0].Reading, devices[3].Health)
	}
}

func TestMeasureForgetsWhatItCannotAsk(t *testing.T) {
	m := wholeMachine()
	devices, _ := discover(t, m)
	m.Tools = map[string]string{"nvidia-smi": "Unable to determine the device handle for GPU0000:5E:00.0: Unknown Error"}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	err = New().Measure(t.Context(), h, devices)
	if !strings.Contains(fmt.Sprint(err), "health of GPUs is not known") {
		t.Errorf("error is %v", err)
	}
	if devices[0].Health.State != device.Unknown || devices[0].Reading != nil || faultsOf(&devices[1]) != "gpu-unreachable" {
		t.Errorf("health is %+v and %+v", devices[0].Health, devices[1].Health)
	}
}

func TestMeasureOfInstancesFoundByFiles(t *testing.T) {
	m := wholeMachine()
	tools := m.Tools
	m.Tools = nil
	devices, _ := discover(t, m) // no nvidia-smi: they are called by their numbers
	m.Tools = tools
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Error(err)
	}
	for _, d := range devices {
		if d.Health.State != device.Healthy || d.Reading == nil {
			t.Errorf("%s: health %+v, meters %+v", d.UUID, d.Health, d.Reading)
		}
	}
}
