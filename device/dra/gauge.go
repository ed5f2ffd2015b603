package dra

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/device"
)

// gauges are the driver's metrics. Those of hardware follow OpenTelemetry's semantic
// conventions for hardware (hw.gpu.*, hw.temperature and so on), as Prometheus spells
// them, with labels for kinds that the conventions lack.
type gauges struct {
	devices atomic.Pointer[[]device.Device]
	took    *prometheus.HistogramVec
	claims  *store
}

func newGauges(claims *store) *gauges {
	g := &gauges{claims: claims, took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "polder_device_prepare_seconds", Help: "Time to prepare the devices of a claim, by result.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .05, .1, .5, 1},
	}, []string{"result"})}
	g.devices.Store(&[]device.Device{})
	return g
}

func (g *gauges) prepared(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	g.took.WithLabelValues(result).Observe(took.Seconds())
}

func (g *gauges) set(devices []device.Device) { g.devices.Store(&devices) }

// descPod joins the hardware's metrics to pods: multiply by it, on hw_name.
var descPod = prometheus.NewDesc("polder_device_pod_info", "1 for each pod and each device that it alone has.", []string{"hw_name", "namespace", "pod", "claim"}, nil)

var labels = []string{"hw_id", "hw_name", "hw_type", "hw_vendor", "hw_model", "emulated"}

var (
	descStatus      = prometheus.NewDesc("hw_status", "1 for the state that the device is in.", append(labels, "hw_state"), nil)
	descUtilization = prometheus.NewDesc("hw_gpu_utilization_ratio", "Share of time in which the device computed, 0 to 1.", labels, nil)
	descMemoryUsed  = prometheus.NewDesc("hw_gpu_memory_usage_bytes", "Memory of the device in use.", labels, nil)
	descMemory      = prometheus.NewDesc("hw_gpu_memory_limit_bytes", "Memory of the device.", labels, nil)
	descTemperature = prometheus.NewDesc("hw_temperature_celsius", "Temperature of the device.", labels, nil)
	descPower       = prometheus.NewDesc("hw_power_watts", "Power that the device draws.", labels, nil)
	descPowerLimit  = prometheus.NewDesc("hw_power_limit_watts", "Power that the device may draw.", labels, nil)
	descEnergy      = prometheus.NewDesc("hw_energy_joules_total", "Energy that the device has used.", labels, nil)
	descErrors      = prometheus.NewDesc("hw_errors_total", "Errors of the device, by type.", append(labels, "error_type"), nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descStatus, descUtilization, descMemoryUsed, descMemory, descTemperature, descPower, descPowerLimit, descEnergy, descErrors, descPod} {
		to <- d
	}
	g.took.Describe(to)
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	g.took.Collect(to)
	for _, p := range g.claims.list() {
		for _, pod := range p.Pods {
			for _, name := range p.Devices {
				to <- prometheus.MustNewConstMetric(descPod, prometheus.GaugeValue, 1, name, p.Namespace, pod, p.Name)
			}
		}
	}
	for _, d := range *g.devices.Load() {
		collect(to, &d)
	}
}

func collect(to chan<- prometheus.Metric, d *device.Device) {
	emulated := "false"
	if d.Emulated {
		emulated = "true"
	}
	values := []string{d.UUID, d.Name, string(d.Kind), d.Vendor, d.Product, emulated}
	gauge := func(desc *prometheus.Desc, v float64, more ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, append(values[:len(values):len(values)], more...)...)
	}
	for _, s := range []device.State{device.Healthy, device.Degraded, device.Failed, device.Unknown} {
		v := 0.0
		if d.Health.State == s {
			v = 1
		}
		gauge(descStatus, v, string(s))
	}
	if d.Memory > 0 {
		gauge(descMemory, float64(d.Memory))
	}
	r := d.Reading
	if r == nil {
		return
	}
	if r.MemoryUsed != nil {
		gauge(descMemoryUsed, float64(*r.MemoryUsed))
	}
	for desc, v := range map[*prometheus.Desc]*float64{descUtilization: r.Utilization, descTemperature: r.Temperature, descPower: r.Power, descPowerLimit: r.PowerLimit} {
		if v != nil {
			gauge(desc, *v)
		}
	}
	if r.Energy != nil {
		to <- prometheus.MustNewConstMetric(descEnergy, prometheus.CounterValue, *r.Energy, values...)
	}
	for kind, n := range r.Errors {
		to <- prometheus.MustNewConstMetric(descErrors, prometheus.CounterValue, float64(n), append(values[:len(values):len(values)], kind)...)
	}
}

// Collector is the driver's metrics.
func (d *Driver) Collector() prometheus.Collector { return d.gauges }
