package serve

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
)

// roles in the order of the gauges.
var roles = []v1alpha1.RevisionRole{v1alpha1.RevisionStable, v1alpha1.RevisionCanary, v1alpha1.RevisionStarting, v1alpha1.RevisionLeaving}

// gauges export how services stand. A service has nine series, and none once it is
// deleted.
type gauges struct {
	ready, replicas, readyReplicas *prometheus.GaugeVec
}

func newGauges(reg prometheus.Registerer) (*gauges, error) {
	g := &gauges{
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_service_ready", Help: "Whether requests to a service are answered, if need be after a replica has been woken.",
		}, []string{"namespace", "service"}),
		replicas: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_service_replicas", Help: "Replicas of a service's revisions, by what the revision is there for.",
		}, []string{"namespace", "service", "role"}),
		readyReplicas: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polder_service_ready_replicas", Help: "Replicas that are ready, by what their revision is there for.",
		}, []string{"namespace", "service", "role"}),
	}
	for _, c := range []prometheus.Collector{g.ready, g.replicas, g.readyReplicas} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the gauges of services: %w", err)
		}
	}
	return g, nil
}

// set exports what a status says.
func (g *gauges) set(svc types.NamespacedName, s *v1alpha1.InferenceServiceStatus) {
	ready := 0.0
	if apimeta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	g.ready.WithLabelValues(svc.Namespace, svc.Name).Set(ready)
	for _, role := range roles {
		var all, up int32
		for _, r := range s.Revisions {
			if r.Role == role {
				all, up = all+r.Replicas, up+r.ReadyReplicas
			}
		}
		g.replicas.WithLabelValues(svc.Namespace, svc.Name, string(role)).Set(float64(all))
		g.readyReplicas.WithLabelValues(svc.Namespace, svc.Name, string(role)).Set(float64(up))
	}
}

// drop removes a service's series.
func (g *gauges) drop(svc types.NamespacedName) {
	of := prometheus.Labels{"namespace": svc.Namespace, "service": svc.Name}
	for _, v := range []*prometheus.GaugeVec{g.ready, g.replicas, g.readyReplicas} {
		v.DeletePartialMatch(of)
	}
}
