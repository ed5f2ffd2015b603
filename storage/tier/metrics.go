package tier

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
)

// meters are what the tiers count. The label tier is "hot", "home", or a lower tier's name.
type meters struct {
	reads      *prometheus.CounterVec
	hot, home  prometheus.Counter // of reads
	bytes      *prometheus.GaugeVec
	objects    *prometheus.GaugeVec
	flushed    *prometheus.CounterVec
	demoted    *prometheus.CounterVec
	promoted   *prometheus.CounterVec
	collected  *prometheus.CounterVec
	failed     *prometheus.CounterVec
	movedBytes *prometheus.CounterVec
}

func newMeters(s *Store, reg prometheus.Registerer) (*meters, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "polder_storage_tier_" + name, Help: help}, []string{"tier"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "polder_storage_tier_" + name, Help: help}, []string{"tier"})
	}
	m := &meters{
		reads:      counter("reads_total", "Objects that were opened, by the tier that had them."),
		bytes:      gauge("bytes", "Data in the tier, when all entries were last looked at."),
		objects:    gauge("objects", "Versions whose data is in the tier, when all entries were last looked at."),
		flushed:    counter("flushed_total", "Versions that were copied to the tier and stayed at home."),
		demoted:    counter("demoted_total", "Versions whose data left the home for the tier."),
		promoted:   counter("promoted_total", "Versions whose data came home from the tier."),
		collected:  counter("collected_total", "Copies in the tier that nobody referred to, and were removed."),
		failed:     counter("failures_total", "Copies to the tier that failed."),
		movedBytes: counter("copied_bytes_total", "Bytes that were copied to the tier."),
	}
	m.hot, m.home = m.reads.WithLabelValues("hot"), m.reads.WithLabelValues("home")
	for _, l := range s.levels {
		l.reads = m.reads.WithLabelValues(l.Name)
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.reads, m.bytes, m.objects, m.flushed, m.demoted, m.promoted, m.collected, m.failed, m.movedBytes}
	for _, l := range s.levels {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "polder_storage_tier_unflushed", Help: "Versions at home that wait for their copy in the tier.",
			ConstLabels: prometheus.Labels{"tier": l.Name},
		}, func() float64 { return float64(l.queue.unflushed()) }))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// held shows what a scan has counted.
func (m *meters) held(s *Store, sums map[*level]*storage.Count) {
	show := func(name string, c *storage.Count) {
		if c == nil {
			c = &storage.Count{}
		}
		m.objects.WithLabelValues(name).Set(float64(c.Number))
		m.bytes.WithLabelValues(name).Set(float64(c.Bytes))
	}
	show("home", sums[nil])
	for _, l := range s.levels {
		show(l.Name, sums[l])
	}
}
