package distillation

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/api/v1alpha1"
)

// gauges export what distillations have used, and how they ended.
type gauges struct {
	used *prometheus.GaugeVec
	ends *prometheus.CounterVec
}

func newGauges(reg prometheus.Registerer) (*gauges, error) {
	g := &gauges{
		used: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_distil_used_accelerator_hours", Help: "What the stages of a distillation have used of its budget.",
		}, []string{"namespace", "distillation"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_distil_ended_total", Help: "Distillations that ended, by state.",
		}, []string{"state"}),
	}
	return g, errors.Join(reg.Register(g.used), reg.Register(g.ends))
}

func (g *gauges) set(d *v1alpha1.Distillation, s *v1alpha1.DistillationStatus) {
	if h, err := strconv.ParseFloat(s.Used.AcceleratorHours, 64); err == nil {
		g.used.WithLabelValues(d.Namespace, d.Name).Set(h)
	}
}

func (g *gauges) ended(old, next *v1alpha1.DistillationStatus) {
	if next.State.Done() && !old.State.Done() {
		g.ends.WithLabelValues(string(next.State)).Inc()
	}
}

func (g *gauges) drop(namespace, name string) { g.used.DeleteLabelValues(namespace, name) }
