package evaluation

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are what is counted of evaluations. No name is told: there is no bound on them.
type gauges struct {
	ended   *prometheus.CounterVec
	rows    prometheus.Counter
	seconds prometheus.Histogram
}

func newGauges(to prometheus.Registerer) (*gauges, error) {
	g := &gauges{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_evaluation_ended_total", Help: "Evaluations that ended: passed, unmet (a requirement was not met), failed.",
		}, []string{"result"}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polder_evaluation_answers_total", Help: "Answers of models that were judged.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "polder_evaluation_duration_seconds", Help: "Time from when an evaluation was made until it ended well.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 16),
		}),
	}
	for _, m := range []prometheus.Collector{g.ended, g.rows, g.seconds} {
		if err := to.Register(m); err != nil {
			return nil, fmt.Errorf("registering metrics of evaluations: %w", err)
		}
	}
	return g, nil
}
