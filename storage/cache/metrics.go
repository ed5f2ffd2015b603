package cache

import "github.com/prometheus/client_golang/prometheus"

// meters are what the cache counts. Hits and misses are of blocks.
type meters struct{ hits, misses, ahead, evicted prometheus.Counter }

func newMeters(c *Cache, reg prometheus.Registerer) (*meters, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "polder_storage_cache_" + name, Help: help})
	}
	m := &meters{
		hits:    counter("hits_total", "Blocks that were read from memory."),
		misses:  counter("misses_total", "Blocks that had to be read from a lower tier."),
		ahead:   counter("ahead_total", "Blocks that were read before anybody asked for them."),
		evicted: counter("evicted_total", "Blocks that made room for others."),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "polder_storage_cache_" + name, Help: help}, f)
	}
	for _, col := range []prometheus.Collector{
		m.hits, m.misses, m.ahead, m.evicted,
		gauge("bytes", "Memory that blocks take, with what keeping them costs.", func() float64 { return float64(c.Bytes()) }),
		gauge("bytes_max", "Memory that blocks may take.", func() float64 { return float64(c.cfg.BytesMax) }),
		gauge("pinned_bytes", "Memory of blocks that are kept until they are let go.", func() float64 {
			c.fifo.mu.Lock()
			defer c.fifo.mu.Unlock()
			return float64(c.fifo.pinned)
		}),
	} {
		if err := reg.Register(col); err != nil {
			return nil, err
		}
	}
	return m, nil
}
