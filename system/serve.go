package system

import (
	"fmt"
	"log/slog"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/workload/serve"
)

// services runs the controller of InferenceServices.
func services(log *slog.Logger, cfg *rest.Config, m ctrl.Manager, mounts *mounter, gateway string) error {
	replicas, err := cache.New(cfg, cache.Options{Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(), ByObject: serve.ReplicaOptions()})
	if err != nil {
		return fmt.Errorf("making the cache of replicas: %w", err)
	}
	s, err := serve.New(log, serve.Deps{
		Client: m.GetClient(), Replicas: replicas, Mounter: mounts, Live: m.GetAPIReader(), Events: m.GetEventRecorder(serve.Name),
		Clock: clock.RealClock{}, Gauges: metrics.Registry,
	}, serve.Config{Sandbox: "gvisor", Gateway: gateway}) // as the policy polder-sandbox says
	if err != nil {
		return err
	}
	return s.Register(m, replicas)
}
