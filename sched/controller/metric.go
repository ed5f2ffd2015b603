package controller

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/api/v1alpha1"
)

// meters are what is told of the queues in numbers.
type meters struct {
	pending, admitted, share *prometheus.GaugeVec // by queue
	used, nominal            *prometheus.GaugeVec // by queue and what is counted
	wait                     *prometheus.HistogramVec
	preemptions              *prometheus.CounterVec
	decision                 prometheus.Histogram
	known                    map[string]bool // queues with gauges
}

func newMeters(reg prometheus.Registerer) (*meters, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "polder_sched_queue_" + name, Help: help}, labels)
	}
	m := &meters{
		pending:  gauge("pending_jobs", "Work that waits in a queue, and in those below it.", "queue"),
		admitted: gauge("admitted_jobs", "Work that a queue, and those below it, have admitted.", "queue"),
		share:    gauge("share", "Share of the cloud that a queue uses, of what it uses most of, by its weight.", "queue"),
		used:     gauge("used", "What a queue and those below it use of what is counted: devices, processors or GiB.", "queue", "of"),
		nominal:  gauge("nominal", "What is a queue's own of what is counted.", "queue", "of"),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polder_sched_queue_wait_seconds", Help: "Time from when work was submitted, or had to make room, until it was admitted.",
			Buckets: prometheus.ExponentialBuckets(0.25, 4, 10),
		}, []string{"queue"}),
		preemptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_sched_queue_preemptions_total", Help: "Work of a queue that had to make room for others.",
		}, []string{"queue"}),
		decision: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "polder_sched_queue_decision_seconds", Help: "Time to decide on all queues once, without writing it down.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 14),
		}),
		known: map[string]bool{},
	}
	for _, c := range []prometheus.Collector{m.pending, m.admitted, m.share, m.used, m.nominal, m.wait, m.preemptions, m.decision} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of queues: %w", err)
		}
	}
	return m, nil
}

// set has the gauges say what the status of the queues says, and drops those of queues
// that are gone.
func (m *meters) set(status map[string]*v1alpha1.QueueStatus) {
	for name, s := range status {
		m.known[name] = true
		m.pending.WithLabelValues(name).Set(float64(s.Pending))
		m.admitted.WithLabelValues(name).Set(float64(s.Admitted))
		m.share.WithLabelValues(name).Set(number(s.Share))
		for _, u := range s.Usage {
			m.used.WithLabelValues(name, u.Of).Set(number(u.Used))
			m.nominal.WithLabelValues(name, u.Of).Set(number(u.Nominal))
		}
	}
	for name := range m.known {
		if status[name] != nil {
			continue
		}
		delete(m.known, name)
		of := prometheus.Labels{"queue": name}
		for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.pending, m.admitted, m.share, m.used, m.nominal, m.wait, m.preemptions} {
			v.DeletePartialMatch(of)
		}
	}
}

// number reads what is written in a status; nothing is 0.
func number(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return f
}

// turned counts what became of one item.
func (c *Controller) turned(v verdict, now time.Time) {
	was, is := rank(v.item.was), rank(v.queue)
	switch {
	case is == rankAdmitted && was != rankAdmitted:
		since := v.item.created
		if t := c.ended[v.item.uid]; t.After(since) {
			since = t
		}
		c.meters.wait.WithLabelValues(v.queue.Name).Observe(max(0, now.Sub(since).Seconds()))
		delete(c.ended, v.item.uid)
	case is == rankPreempted && was != rankPreempted:
		c.meters.preemptions.WithLabelValues(v.queue.Name).Inc()
		c.ended[v.item.uid] = now
	}
}
