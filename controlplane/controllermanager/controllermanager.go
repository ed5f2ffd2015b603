// Package controllermanager runs kube-controller-manager: the loops behind Jobs,
// volumes, service accounts and the rest of upstream's kinds. Only system
// imports it. There is one per cloud, so it asks for no leader election.
package controllermanager

import (
	"fmt"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"polder.dev/polder/system/layout"
)

// Main becomes kube-controller-manager for the cloud c, until SIGTERM.
func Main(c layout.Cloud) int {
	cmd := app.NewControllerManagerCommand()
	cmd.SetArgs(flags(c))
	return cli.Run(cmd)
}

func flags(c layout.Cloud) []string {
	kubeconfig := c.Kubeconfig("controller-manager")
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + c.NodeIP().String(),
		fmt.Sprintf("--secure-port=%d", layout.PortManager),
		"--tls-cert-file=" + c.Cert("controller-manager"),
		"--tls-private-key-file=" + c.Key("controller-manager"),
		"--client-ca-file=" + c.Cert("ca"),
		"--requestheader-client-ca-file=" + c.Path("pki", "front-proxy", "ca.crt"),
		"--root-ca-file=" + c.Cert("ca"),
		"--cluster-signing-cert-file=" + c.Cert("ca"),
		"--cluster-signing-key-file=" + c.Key("ca"),
		"--service-account-private-key-file=" + c.Path("pki", "serviceaccount.key"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--allocate-node-cidrs=false",
		"--profiling=false",
		"--feature-gates=GenericWorkload=true",
		// The node takes its pods' addresses from the cloud's layout.
		"--controllers=*,-node-ipam-controller",
	}
}
