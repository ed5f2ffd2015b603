package plugin

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// How an attempt to place a pod with claims went.
const (
	howChosen   = "chosen"   // shown the nodes that the board chose
	howAgain    = "again"    // shown all, because it did not fit on those
	howRefused  = "refused"  // no node has the devices
	howShort    = "short"    // the nodes with the devices have too little of something else
	howUpstream = "upstream" // not said in words of the board
)

// meters are what the scheduler's own metrics are extended by.
type meters struct {
	decision      *metrics.Histogram
	attempts      *metrics.CounterVec
	fragmentation *metrics.Gauge
	price         *metrics.GaugeVec
	gangs         *metrics.CounterVec
	gang          *metrics.Histogram
}

// theMeters are of the process, as the registry is: its profiles share them.
var theMeters = sync.OnceValue(func() *meters {
	m := &meters{
		decision: metrics.NewHistogram(&metrics.HistogramOpts{
			Name: "polder_sched_decision_seconds", Help: "Time to choose nodes and devices for a pod with claims.",
			Buckets: metrics.ExponentialBuckets(10e-6, 2, 16), StabilityLevel: metrics.ALPHA,
		}),
		attempts: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "polder_sched_attempts_total", Help: "Attempts to place pods with claims, by who chose the nodes.", StabilityLevel: metrics.ALPHA,
		}, []string{"how"}),
		fragmentation: metrics.NewGauge(&metrics.GaugeOpts{
			Name: "polder_sched_fragmentation_devices", Help: "Idle devices that the next pod can be expected not to use.", StabilityLevel: metrics.ALPHA,
		}),
		price: metrics.NewGaugeVec(&metrics.GaugeOpts{
			Name: "polder_sched_price_points", Help: "What a device of a model costs, in points of the score, because others can use no other.", StabilityLevel: metrics.ALPHA,
		}, []string{"model"}),
		gangs: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "polder_sched_gang_attempts_total", Help: "Attempts to place gangs, by who chose their nodes.", StabilityLevel: metrics.ALPHA,
		}, []string{"how"}),
		gang: metrics.NewHistogram(&metrics.HistogramOpts{
			Name: "polder_sched_gang_seconds", Help: "Time to choose nodes and devices for all pods of a gang.",
			Buckets: metrics.ExponentialBuckets(100e-6, 2, 16), StabilityLevel: metrics.ALPHA,
		}),
	}
	legacyregistry.MustRegister(m.decision, m.attempts, m.fragmentation, m.price, m.gangs, m.gang)
	return m
})

// lookEvery is how many decisions pass before the gauges are set again.
const lookEvery = 32

// look sets the gauges now and then: all prices take longer than a decision.
func (c *cluster) look() {
	if c.looks++; c.looks%lookEvery != 1 {
		return
	}
	c.metrics.fragmentation.Set(c.board.Fragmentation() / 1000)
	for model, p := range c.board.Prices() {
		c.metrics.price.WithLabelValues(model).Set(p)
	}
}
