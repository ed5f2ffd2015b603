package system

import (
	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/system/component"
)

// registry exports the state of the components, for GET /metrics on the socket.
func (s *supervisor) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{s.runner})
	return r
}

var (
	readyDesc   = prometheus.NewDesc("polder_component_ready", "1 when the component serves, else 0.", []string{"component"}, nil)
	restartDesc = prometheus.NewDesc("polder_component_restarts_total", "Times the component ended by itself and was started again.", []string{"component"}, nil)
	startDesc   = prometheus.NewDesc("polder_component_start_seconds", "Seconds from the component's last start until it served.", []string{"component"}, nil)
)

type collector struct{ runner *component.Runner }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- readyDesc
	ch <- restartDesc
	ch <- startDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.runner.Status() {
		ready := 0.0
		if s.State == component.Ready || s.State == component.Done {
			ready = 1
		}
		ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready, s.Name)
		ch <- prometheus.MustNewConstMetric(restartDesc, prometheus.CounterValue, float64(s.Restarts), s.Name)
		ch <- prometheus.MustNewConstMetric(startDesc, prometheus.GaugeValue, s.ReadySeconds, s.Name)
	}
}
