// Package proxy runs kube-proxy, which makes services reachable, in nftables
// mode inside the cloud's network namespace. Only system imports it.
package proxy

import (
	"fmt"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-proxy/app"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Main becomes the kube-proxy of the cloud c, until SIGTERM.
func Main(c layout.Cloud) int {
	cmd := app.NewProxyCommand()
	cmd.SetArgs([]string{"--config=" + c.Path("etc", "kube-proxy.yaml")})
	return cli.Run(cmd)
}

// Files writes kube-proxy's configuration. It leaves the sizes of connection
// tracking alone: they belong to the machine, not to the namespace.
func Files(c layout.Cloud) error {
	return pki.WriteFile(c.Path("etc", "kube-proxy.yaml"), fmt.Appendf(nil, `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
hostnameOverride: %q
clusterCIDR: %q
bindAddress: %q
healthzBindAddress: %q
metricsBindAddress: %q
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
`, c.Kubeconfig("kube-proxy"), c.Config.Node.Name, c.PodCIDR().String(), c.NodeIP().String(), c.At(layout.PortProxyOK), c.At(layout.PortProxy)))
}
