package train

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/workload/train/metric"
)

// gauges export the progress of all jobs. A job has at most metric.NamesMax
// series of its own metrics, and none once it is deleted.
type gauges struct {
	epoch, loss, metric *prometheus.GaugeVec
}

func newGauges(reg prometheus.Registerer) (*gauges, error) {
	g := &gauges{
		epoch: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_train_epoch", Help: "Epoch that a training job ended last.",
		}, []string{"namespace", "job"}),
		loss: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_train_loss", Help: "Loss that a training job reported last.",
		}, []string{"namespace", "job"}),
		metric: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_train_metric", Help: "Metric that a training job reported last, by name.",
		}, []string{"namespace", "job", "name"}),
	}
	for _, c := range []prometheus.Collector{g.epoch, g.loss, g.metric} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering training gauges: %w", err)
		}
	}
	return g, nil
}

// set exports what a job reported.
func (g *gauges) set(job types.NamespacedName, s *metric.Summary) {
	g.epoch.WithLabelValues(job.Namespace, job.Name).Set(float64(s.Epoch))
	if f, err := number(s.Loss); err == nil {
		g.loss.WithLabelValues(job.Namespace, job.Name).Set(f)
	}
	for name, text := range s.Metrics {
		if f, err := number(text); err == nil {
			g.metric.WithLabelValues(job.Namespace, job.Name, name).Set(f)
		}
	}
}

// drop removes a job's series.
func (g *gauges) drop(job types.NamespacedName) {
	of := prometheus.Labels{"namespace": job.Namespace, "job": job.Name}
	for _, v := range []*prometheus.GaugeVec{g.epoch, g.loss, g.metric} {
		v.DeletePartialMatch(of)
	}
}

// number reads the decimal notation of package metric.
func number(text string) (float64, error) {
	return strconv.ParseFloat(strings.Replace(text, "Infinity", "Inf", 1), 64)
}
