package pool

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// gauges are the metrics of a Pool, by namespace and service.
type gauges struct {
	refusals    *prometheus.CounterVec
	retries     *prometheus.CounterVec
	ejections   *prometheus.CounterVec
	wakes       *prometheus.CounterVec
	wakeSeconds *prometheus.HistogramVec
}

func newGauges(r prometheus.Registerer, p *Pool) *gauges {
	by := []string{"namespace", "service"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(by[:2:2], more...))
	}
	g := &gauges{
		refusals:  counter("polder_gateway_refused_total", "Requests that found no replica: reason queue (too many waited) or wake (none was ready in time).", "reason"),
		retries:   counter("polder_gateway_retries_total", "Times a request was sent to another replica because one had failed."),
		ejections: counter("polder_gateway_ejections_total", "Times a replica refused a connection and was left out until it was ready again."),
		wakes:     counter("polder_gateway_wakes_total", "Times a revision was found without replicas by a request."),
		wakeSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polder_gateway_wake_seconds", Help: "Time from the request that found a revision without replicas until one was ready.",
			Buckets: []float64{.25, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120},
		}, by),
	}
	r.MustRegister(g.refusals, g.retries, g.ejections, g.wakes, g.wakeSeconds, collector{p})
	return g
}

func (g *gauges) refused(key types.NamespacedName, reason string) prometheus.Counter {
	return g.refusals.WithLabelValues(key.Namespace, key.Name, reason)
}

// forget drops what was counted of a service that is gone.
func (g *gauges) forget(key types.NamespacedName) {
	of := prometheus.Labels{"namespace": key.Namespace, "service": key.Name}
	g.refusals.DeletePartialMatch(of)
	g.retries.DeletePartialMatch(of)
	g.ejections.DeletePartialMatch(of)
	g.wakes.DeletePartialMatch(of)
	g.wakeSeconds.DeletePartialMatch(of)
}

var (
	flightDesc = prometheus.NewDesc("polder_gateway_in_flight_requests", "Requests that replicas have now.", []string{"namespace", "service"}, nil)
	heldDesc   = prometheus.NewDesc("polder_gateway_held_requests", "Requests that wait for a replica now.", []string{"namespace", "service"}, nil)
	upDesc     = prometheus.NewDesc("polder_gateway_up_replicas", "Replicas that take requests.", []string{"namespace", "service"}, nil)
)

// collector reads what is the case now.
type collector struct{ pool *Pool }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- flightDesc
	ch <- heldDesc
	ch <- upDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	type line struct {
		key              types.NamespacedName
		flight, held, up int
	}
	var lines []line
	c.pool.mu.Lock()
	for key, s := range c.pool.services {
		if !s.known {
			continue
		}
		l := line{key: key, held: len(s.queue)}
		for _, r := range s.revisions {
			l.flight += r.requests
			for _, rep := range r.replicas {
				if rep.up && !rep.gone {
					l.up++
				}
			}
		}
		for _, w := range s.queue {
			if w.revision != nil {
				l.flight--
			}
		}
		lines = append(lines, l)
	}
	c.pool.mu.Unlock()
	for _, l := range lines {
		ch <- prometheus.MustNewConstMetric(flightDesc, prometheus.GaugeValue, float64(l.flight), l.key.Namespace, l.key.Name)
		ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(l.held), l.key.Namespace, l.key.Name)
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, float64(l.up), l.key.Namespace, l.key.Name)
	}
}
