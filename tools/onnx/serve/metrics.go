package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     prometheus.Observer
	run      prometheus.Observer
	rows     prometheus.Observer
	codes    map[int]prometheus.Counter // of those that are common
}

func newMetrics(waiting func() float64, bytes func() float64) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polder_onnx_requests_total", Help: "Requests to the model that were answered, by status.",
	}, []string{"code"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "polder_onnx_request_seconds", Help: "From the end of a request's header to its answer.",
		Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18),
	})
	run := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "polder_onnx_run_seconds", Help: "Time that the model computed in one run.",
		Buckets: prometheus.ExponentialBuckets(0.000002, 2, 22),
	})
	rows := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "polder_onnx_run_rows", Help: "Rows that one run computed.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 13),
	})
	m.took, m.run, m.rows = took, run, rows
	m.registry.MustRegister(m.requests, took, run, rows,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "polder_onnx_waiting_requests", Help: "Requests that wait for the model."}, waiting),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "polder_onnx_body_bytes", Help: "Bytes of large bodies that are held."}, bytes),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.codes = map[int]prometheus.Counter{}
	for _, code := range []int{http.StatusOK, http.StatusBadRequest} {
		m.codes[code] = m.requests.WithLabelValues(strconv.Itoa(code))
	}
	return m
}

func (m *metrics) answered(code int, took time.Duration) {
	c := m.codes[code]
	if c == nil {
		c = m.requests.WithLabelValues(strconv.Itoa(code))
	}
	c.Inc()
	m.took.Observe(took.Seconds())
}

func (m *metrics) ran(rows int, took time.Duration) {
	m.rows.Observe(float64(rows))
	m.run.Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
