package dra

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

func TestMetricsTellDevicesAndWhoHasThem(t *testing.T) {
	devices := gpus(1)
	devices[0].Memory, devices[0].Emulated = 80, true
	devices[0].Reading = &device.Reading{Utilization: new(0.5), Temperature: new(40.0), Energy: new(7.0), Errors: map[string]int64{"ecc": 2}}
	d := driver(t, t.TempDir(), &made{gpus(1)})
	c := claimOf("u1", "gpu-0")
	c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "job-0-0"}}
	if got := prepareOne(t, d, c); got.Err != nil {
		t.Fatal(got.Err)
	}
	d.gauges.set(devices)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(d.Collector()); err != nil {
		t.Fatal(err)
	}
	const who = `emulated="true",hw_id="0",hw_model="p",hw_name="gpu-0",hw_type="gpu",hw_vendor="v"`
	want := `# HELP hw_gpu_memory_limit_bytes Memory of the device.
# TYPE hw_gpu_memory_limit_bytes gauge
hw_gpu_memory_limit_bytes{` + who + `} 80
# HELP hw_gpu_utilization_ratio Share of time in which the device computed, 0 to 1.
# TYPE hw_gpu_utilization_ratio gauge
hw_gpu_utilization_ratio{` + who + `} 0.5
# HELP hw_temperature_celsius Temperature of the device.
# TYPE hw_temperature_celsius gauge
hw_temperature_celsius{` + who + `} 40
# HELP hw_energy_joules_total Energy that the device has used.
# TYPE hw_energy_joules_total counter
hw_energy_joules_total{` + who + `} 7
# HELP hw_errors_total Errors of the device, by type.
# TYPE hw_errors_total counter
hw_errors_total{emulated="true",error_type="ecc",hw_id="0",hw_model="p",hw_name="gpu-0",hw_type="gpu",hw_vendor="v"} 2
# HELP polder_device_pod_info 1 for each pod and each device that it alone has.
# TYPE polder_device_pod_info gauge
polder_device_pod_info{claim="u1",hw_name="gpu-0",namespace="ns",pod="job-0-0"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "hw_gpu_memory_limit_bytes", "hw_gpu_utilization_ratio",
		"hw_temperature_celsius", "hw_energy_joules_total", "hw_errors_total", "hw_power_watts", "polder_device_pod_info"); err != nil {
		t.Error(err)
	}
}
