package accesslog

import "github.com/prometheus/client_golang/prometheus"

// meters count records by what became of them.
type meters struct{ delivered, full, failed prometheus.Counter }

func newMeters(l *Log, reg prometheus.Registerer) (*meters, error) {
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polder_storage_access_log_records_total",
		Help: "Records of buckets' access logs: delivered, lost because too many waited (full), or because their log could not be put (failed).",
	}, []string{"outcome"})
	m := &meters{records.WithLabelValues("delivered"), records.WithLabelValues("full"), records.WithLabelValues("failed")}
	if reg == nil {
		return m, nil
	}
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "polder_storage_access_log_bytes", Help: "Bytes of records that wait to be delivered.",
	}, func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.held)
	})
	for _, c := range []prometheus.Collector{records, bytes} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
