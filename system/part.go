package system

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/controlplane/apiserver"
	"polder.dev/polder/controlplane/controllermanager"
	"polder.dev/polder/controlplane/etcd"
	"polder.dev/polder/controlplane/scheduler"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/node/kubelet"
	"polder.dev/polder/node/proxy"
	"polder.dev/polder/sched/plugin"
	"polder.dev/polder/system/bootstrap"
	"polder.dev/polder/system/layout"
)

// Part becomes one of the cloud's components if args, a command line without the
// program's name, name one: that is how the supervisor starts its children. ok
// is false for every other command line; code is the exit code.
func Part(args []string) (code int, ok bool) {
	if len(args) > 1 && args[0] == "scheduler" && args[1] == "run" {
		return runSecond(args[2:]), true
	}
	if len(args) != 2 {
		return 0, false
	}
	dir, found := strings.CutPrefix(args[1], "--data-dir=")
	run := map[string]func(layout.Cloud) int{
		"etcd":                    etcd.Main,
		"kube-apiserver":          apiserver.Main,
		"kube-controller-manager": controllermanager.Main,
		"kube-scheduler":          runScheduler,
		"kubelet":                 kubelet.Main,
		"kube-proxy":              proxy.Main,
		"bootstrap":               own("bootstrap", runBootstrap),
		"controllers":             own("controllers", runControllers),
		"device-driver":           own("device-driver", runDevices),
		partStore:                 own(partStore, runStore),
		partGateway:               own(partGateway, runGateway),
	}[args[0]]
	if !found || run == nil {
		return 0, false
	}
	c, err := Open(dir, "")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		return 2, true
	}
	return run(c), true
}

// runScheduler becomes kube-scheduler with Polder's plugins, unless the configuration
// wants upstream's alone.
func runScheduler(c layout.Cloud) int {
	s := c.Config.Scheduler
	return scheduler.Main(c, plugin.Options(plugin.Config{Policy: s.Policy, Workload: s.WorkloadFile})...)
}

func schedulerFiles(c layout.Cloud) error {
	return scheduler.Files(c, plugin.Profile(corev1.DefaultSchedulerName, c.Config.Scheduler.Policy))
}

// own turns a function that runs until its context ends into a component.
func own(name string, run func(context.Context, layout.Cloud) error) func(layout.Cloud) int {
	return func(c layout.Cloud) int {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := run(ctx, c); err != nil {
			logs.New(os.Stderr).Error("ended", logs.Component, name, logs.Err, err)
			return 1
		}
		return 0
	}
}

func runBootstrap(ctx context.Context, c layout.Cloud) error {
	dir, err := ownLibexec()
	if err != nil {
		return err
	}
	return bootstrap.Run(ctx, logs.New(os.Stderr), c, bootstrap.Options{Libexec: dir, Supervisor: leafSupervisor, Kata: kata() != ""})
}
