package system

import (
	"crypto/tls"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"polder.dev/polder/device/dra"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/system/layout"
)

// Where things are on a node whose kubelet is not ours.
const (
	kubeletDir     = "/var/lib/kubelet"
	cdiDir         = "/var/run/cdi"
	driverStateDir = "/run/polder/devices"
)

// driver is the verb for clusters that this program did not make: there the driver of
// devices runs in pods, one on each node.
func (v *verbs) driver() *cobra.Command {
	cmd := &cobra.Command{
		Use: "device-driver", Short: "Publish the devices of any Kubernetes cluster's nodes",
		Long: `Publish the accelerators of the nodes of a Kubernetes cluster, and give them to
pods. In a cloud that ` + "`polder up`" + ` made this is done already; on another cluster
(1.36 or newer) a DaemonSet does it, which ` + "`manifest`" + ` prints.`,
	}
	cmd.AddCommand(driverManifest(), driverRun())
	return cmd
}

func driverManifest() *cobra.Command {
	var p dra.Pods
	cmd := &cobra.Command{
		Use: "manifest --image IMAGE", Short: "Print what runs the driver in a cluster, for kubectl apply",
		Example: "  polder device-driver manifest --image registry.example.com/polder:0.1.0 | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := dra.Manifest(p)
			if err != nil {
				return usage.Error(err)
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	cmd.Flags().StringVar(&p.Image, "image", "", "an `image` that has this program as /polder")
	cmd.Flags().StringVar(&p.Kubelet, "kubelet-dir", kubeletDir, "directory of the nodes' kubelets")
	cmd.Flags().StringVar(&p.CDI, "cdi-dir", cdiDir, "directory of CDI files that the nodes' container runtimes read")
	cmd.Flags().StringVar(&p.State, "state-dir", driverStateDir, "directory on the nodes for the driver alone, which a reboot empties")
	_ = cmd.MarkFlagRequired("image")
	return cmd
}

// driverRun is what those pods run.
func driverRun() *cobra.Command {
	var node, root, kubelet, cdi, state string
	cmd := &cobra.Command{
		Use: "run", Short: "Be the driver of a node, in a pod", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if node == "" {
				return usage.Errorf("--node is empty; give it the name of the node that this pod is on")
			}
			cfg, err := clientcmd.BuildConfigFromFlags("", "") // the pod's own account
			if err != nil {
				return fmt.Errorf("finding the cluster: %w", err)
			}
			m, err := ctrl.NewManager(cfg, ctrl.Options{
				Metrics: metricsserver.Options{
					BindAddress: fmt.Sprintf(":%d", layout.PortDevices), SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
					TLSOpts: []func(*tls.Config){func(t *tls.Config) { t.MinVersion = tls.VersionTLS13 }},
				},
				HealthProbeBindAddress: fmt.Sprintf(":%d", layout.PortDevicesOK),
			})
			if err != nil {
				return fmt.Errorf("making the manager of the driver: %w", err)
			}
			return drive(cmd.Context(), m, root, dra.Config{
				Node: node, Plugins: filepath.Join(kubelet, "plugins"), Registry: filepath.Join(kubelet, "plugins_registry"), CDI: cdi, State: state,
			})
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "name of the node")
	cmd.Flags().StringVar(&root, "host-root", "/", "where the node's root directory is mounted")
	cmd.Flags().StringVar(&kubelet, "kubelet-dir", kubeletDir, "directory of the kubelet")
	cmd.Flags().StringVar(&cdi, "cdi-dir", cdiDir, "directory of CDI files")
	cmd.Flags().StringVar(&state, "state-dir", driverStateDir, "directory in which the driver notes what it prepared; a reboot may empty it")
	return cmd
}
