package system

import (
	"crypto/tls"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/system/layout"
)

// managed is a component with a manager: its name, which its kubeconfig and certificate
// have, the ports of its metrics and of its health, and what it holds of the API.
type managed struct {
	name            string
	metrics, health int
	held            map[client.Object]cache.ByObject
	kinds           []func(*runtime.Scheme) error // beyond Kubernetes' and ours
}

// newManager makes the manager of a component of cloud c, which serves its metrics and
// its health.
func newManager(c layout.Cloud, of managed) (ctrl.Manager, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig(of.name))
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.QPS = -1 // the API server sees to it that nobody takes all of it, and knows better than we
	scheme := runtime.NewScheme()
	for _, add := range append(of.kinds, clientgoscheme.AddToScheme, v1alpha1.AddToScheme) {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	certificates, err := askForCertificate(c)
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme,
		Cache:  cache.Options{ByObject: of.held},
		Metrics: metricsserver.Options{
			BindAddress: c.At(of.metrics), SecureServing: true, FilterProvider: scrapers(clients),
			CertDir: c.Path("pki"), CertName: of.name + ".crt", KeyName: of.name + ".key", TLSOpts: []func(*tls.Config){certificates},
		},
		HealthProbeBindAddress: c.At(of.health),
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager of %s: %w", of.name, err)
	}
	return m, nil
}
