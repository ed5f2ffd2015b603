// Package scheduler runs kube-scheduler with upstream's plugins, gang scheduling
// among them, and those that system adds; with these, a gang of many pods is neither
// tried again for each of them nor bound by as many requests at once. Only system imports it.
// There is one per cloud, so it asks for no leader election.
package scheduler

import (
	"fmt"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Main becomes kube-scheduler for the cloud c, until SIGTERM. plugins add to
// upstream's.
func Main(c layout.Cloud, plugins ...app.Option) int {
	if c.Config.Scheduler.Policy != layout.PolicyStock {
		return run(flags(c), plugins)
	}
	cmd := app.NewSchedulerCommand(plugins...)
	cmd.SetArgs(flags(c))
	return cli.Run(cmd)
}

// Files writes what the flags point to. profiles, in YAML, say which plugins run; where
// it is empty, upstream's do.
func Files(c layout.Cloud, profiles string) error {
	return pki.WriteFile(c.Path("etc", "scheduler.yaml"), fmt.Appendf(nil, `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
enableProfiling: false
clientConnection: {kubeconfig: %q, qps: 1000, burst: 2000}
%s`, c.Kubeconfig("scheduler"), profiles))
}

// gatesOurs are those with Polder's plugins. Without the first there is a write for each
// pod, to tell those who add nodes where it is about to go; there are none here, and devices that are
// written already keep a pod where they are. With the second, plugins say whom an event
// can help before upstream asks each pod.
const gatesOurs = "NominatedNodeNameForExpectation=false,SchedulerPreQueueingHints=true"

func flags(c layout.Cloud) []string {
	kubeconfig := c.Kubeconfig("scheduler")
	// A gang is in one domain of the topology if it asks for that.
	gates := "GenericWorkload=true,TopologyAwareWorkloadScheduling=true"
	if c.Config.Scheduler.Policy != layout.PolicyStock {
		gates += "," + gatesOurs
	}
	return []string{
		"--config=" + c.Path("etc", "scheduler.yaml"),
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + c.NodeIP().String(),
		fmt.Sprintf("--secure-port=%d", layout.PortScheduler),
		"--tls-cert-file=" + c.Cert("scheduler"),
		"--tls-private-key-file=" + c.Key("scheduler"),
		"--client-ca-file=" + c.Cert("ca"),
		"--requestheader-client-ca-file=" + c.Path("pki", "front-proxy", "ca.crt"),
		"--feature-gates=" + gates,
	}
}
