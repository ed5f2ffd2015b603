package train

import "github.com/prometheus/client_golang/prometheus"

// series counts what the gauges export.
func series(g *gauges) int {
	n := 0
	for _, v := range []*prometheus.GaugeVec{g.epoch, g.loss, g.metric} {
		ch := make(chan prometheus.Metric, 100)
		v.Collect(ch)
		n += len(ch)
	}
	return n
}
