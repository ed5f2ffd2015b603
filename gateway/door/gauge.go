package door

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are the metrics of a Door. Only names of services and routes that are there become
// labels, so that clients cannot make more of them.
type gauges struct {
	running  prometheus.Gauge
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newGauges(r prometheus.Registerer) *gauges {
	g := &gauges{
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "polder_gateway_requests", Help: "Requests that are at the gateway now."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_gateway_requests_total", Help: "Requests that were answered, by service or route and by status; without name those for nothing that is there.",
		}, []string{"namespace", "service", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polder_gateway_request_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"namespace", "service"}),
	}
	r.MustRegister(g.running, g.requests, g.seconds)
	return g
}

// done counts a visit that has ended.
func (g *gauges) done(v *visit, took time.Duration) {
	namespace := v.namespace
	if v.service == "" {
		namespace = ""
	}
	code := v.w.code
	if code == 0 {
		code = 499 // as is usual for a client that went away before it was answered
	}
	g.requests.WithLabelValues(namespace, v.service, strconv.Itoa(code)).Inc()
	g.seconds.WithLabelValues(namespace, v.service).Observe(took.Seconds())
}

// pieces are buffers that answers are copied with.
type pieces struct{ pool sync.Pool }

const pieceBytes = 32 << 10

func newPieces() *pieces {
	return &pieces{sync.Pool{New: func() any { b := make([]byte, pieceBytes); return &b }}}
}

// Get implements httputil.BufferPool.
func (p *pieces) Get() []byte {
	b, _ := p.pool.Get().(*[]byte)
	return *b
}

// Put implements httputil.BufferPool.
func (p *pieces) Put(b []byte) { p.pool.Put(&b) }
