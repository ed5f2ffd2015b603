package route

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// gauges are the metrics of routes, by namespace and route.
type gauges struct {
	replies, failures, refusals, fallbacks, asked, unknown, comparisons, copies, cache, records *prometheus.CounterVec
}

func newGauges(r prometheus.Registerer, t *Router) *gauges {
	var all []prometheus.Collector
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace", "route"}, more...))
		all = append(all, v)
		return v
	}
	g := &gauges{
		replies:     counter("polder_route_answers_total", "Requests that were answered, by rule, by the targets whose answer it was, and by status.", "rule", "target", "code"),
		failures:    counter("polder_route_failures_total", "Requests that no target answered.", "rule"),
		refusals:    counter("polder_route_refused_total", "Requests that were not sent on: reason pace, budget, spend (the account cannot be kept), no_rule, invalid.", "reason"),
		fallbacks:   counter("polder_route_fallbacks_total", "Times another target was asked because this one had failed.", "target"),
		asked:       counter("polder_route_rows_total", "Rows that a cascade has judged, by whether they went on.", "escalated"),
		unknown:     counter("polder_route_unjudged_total", "Requests that went on whole for another reason than the specialist's doubt: stream, unreachable, unreadable, unjudged, unmerged.", "reason"),
		comparisons: counter("polder_route_compared_total", "Rows that two models have answered, and whether they agree.", "by", "agree"),
		copies:      counter("polder_route_shadow_total", "Copies of requests: compared, not_compared, failed, dropped.", "result"),
		cache:       counter("polder_route_cache_total", "Requests of routes that keep answers: hit, miss.", "result"),
		records:     counter("polder_route_log_records_total", "Records of requests: kept, dropped (no room), unreadable (no JSON, broken off, or too large).", "result"),
	}
	r.MustRegister(append(all, collector{t})...)
	return g
}

func (g *gauges) answered(k types.NamespacedName, rule, target string, code int) {
	g.replies.WithLabelValues(k.Namespace, k.Name, rule, target, strconv.Itoa(code)).Inc()
}

func (g *gauges) failed(k types.NamespacedName, rule string) {
	g.failures.WithLabelValues(k.Namespace, k.Name, rule).Inc()
}

func (g *gauges) refused(k types.NamespacedName, reason string) {
	g.refusals.WithLabelValues(k.Namespace, k.Name, reason).Inc()
}

func (g *gauges) fellBack(k types.NamespacedName, target string) {
	g.fallbacks.WithLabelValues(k.Namespace, k.Name, target).Inc()
}

func (g *gauges) rows(k types.NamespacedName, rows, unsure int) {
	g.asked.WithLabelValues(k.Namespace, k.Name, "yes").Add(float64(unsure))
	g.asked.WithLabelValues(k.Namespace, k.Name, "no").Add(float64(rows - unsure))
}

func (g *gauges) unjudged(k types.NamespacedName, reason string) {
	g.unknown.WithLabelValues(k.Namespace, k.Name, reason).Inc()
}

func (g *gauges) compared(k types.NamespacedName, by string, rows, other int) {
	g.comparisons.WithLabelValues(k.Namespace, k.Name, by, "no").Add(float64(other))
	g.comparisons.WithLabelValues(k.Namespace, k.Name, by, "yes").Add(float64(rows - other))
}

func (g *gauges) shadow(k types.NamespacedName, result string) {
	g.copies.WithLabelValues(k.Namespace, k.Name, result).Inc()
}

func (g *gauges) logged(k types.NamespacedName, result string) {
	g.records.WithLabelValues(k.Namespace, k.Name, result).Inc()
}

// forget drops what was counted of a route that is gone.
func (g *gauges) forget(k types.NamespacedName) {
	of := prometheus.Labels{"namespace": k.Namespace, "route": k.Name}
	for _, v := range []*prometheus.CounterVec{g.replies, g.failures, g.refusals, g.fallbacks, g.asked, g.unknown, g.comparisons, g.copies, g.cache, g.records} {
		v.DeletePartialMatch(of)
	}
}

var (
	driftDesc = prometheus.NewDesc("polder_route_drift", "1 while a route behaves otherwise than where its threshold was learned.", []string{"namespace", "route"}, nil)
	roomDesc  = prometheus.NewDesc("polder_route_cache_bytes", "Bytes of all answers that are kept.", nil, nil)
)

// collector reads what is the case now.
type collector struct{ router *Router }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- driftDesc
	ch <- roomDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, l := range c.router.all() {
		r := l.report()
		v := 0.0
		if r.escalating || r.disagree {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.GaugeValue, v, l.key.Namespace, l.key.Name)
	}
	ch <- prometheus.MustNewConstMetric(roomDesc, prometheus.GaugeValue, float64(c.router.room.used.Load()))
}
