// Package kubelet runs the kubelet, the agent that keeps a node's pods running.
// Only system imports it.
package kubelet

import (
	"context"
	"fmt"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kubelet/app"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Main becomes the kubelet of the cloud c, until SIGTERM.
func Main(c layout.Cloud) int {
	cmd := app.NewKubeletCommand(context.Background())
	cmd.SetArgs(flags(c))
	return cli.Run(cmd)
}

func flags(c layout.Cloud) []string {
	return []string{
		"--config=" + c.Path("etc", "kubelet.yaml"),
		"--kubeconfig=" + c.Kubeconfig("kubelet"),
		"--hostname-override=" + c.Config.Node.Name,
		"--node-ip=" + c.NodeIP().String(),
		"--root-dir=" + c.Path("kubelet"),
		"--node-labels=polder.dev/cloud=" + c.ID,
	}
}

// Files writes the kubelet's configuration, and the name server of those few
// pods that do not ask the cluster's.
func Files(c layout.Cloud) error {
	err := pki.WriteFile(c.Path("etc", "resolv.conf"), fmt.Appendf(nil, "nameserver %s\n", c.HostIP()))
	if err != nil {
		return err
	}
	return pki.WriteFile(c.Path("etc", "kubelet.yaml"), fmt.Appendf(nil, `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]q
port: %[2]d
readOnlyPort: 0
healthzBindAddress: %[1]q
healthzPort: %[3]d
containerRuntimeEndpoint: unix://%[4]s
cgroupDriver: cgroupfs
cgroupRoot: %[5]s
cgroupsPerQOS: true
failCgroupV1: false
failSwapOn: false
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[6]q}
authorization: {mode: Webhook}
tlsCertFile: %[7]q
tlsPrivateKeyFile: %[8]q
tlsMinVersion: VersionTLS12
clusterDNS: [%[9]q]
clusterDomain: cluster.local
resolvConf: %[10]q
podLogsDir: %[11]q
volumePluginDir: %[12]q
staticPodPath: ""
makeIPTablesUtilChains: false
serializeImagePulls: false
maxParallelImagePulls: 4
imageMaximumGCAge: 0s
containerLogMaxSize: 10Mi
containerLogMaxFiles: 3
evictionHard: {memory.available: 100Mi, nodefs.available: 3%%, imagefs.available: 3%%, nodefs.inodesFree: 3%%}
imageGCHighThresholdPercent: 95
imageGCLowThresholdPercent: 90
nodeStatusUpdateFrequency: 10s
syncFrequency: 10s
shutdownGracePeriod: 0s
enableProfilingHandler: false
`, c.NodeIP().String(), layout.PortKubelet, layout.PortKubeletOK, c.ContainerdSocket(), c.Cgroup(), c.Cert("ca"), c.Cert("kubelet"), c.Key("kubelet"),
		c.DNSServiceIP().String(), c.Path("etc", "resolv.conf"), c.Path("logs", "pods"), c.Path("kubelet", "volumeplugins")))
}
