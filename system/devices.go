package system

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/device/discovery"
	"polder.dev/polder/device/dra"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/system/layout"
)

// runDevices runs the driver of this machine's devices as a component, until ctx
// ends.
func runDevices(ctx context.Context, c layout.Cloud) error {
	m, err := newManager(c, managed{name: "device-driver", metrics: layout.PortDevices, health: layout.PortDevicesOK})
	if err != nil {
		return err
	}
	return drive(ctx, m, "/", dra.Config{
		Node: c.Config.Node.Name, Plugins: c.Path("kubelet", "plugins"), Registry: c.Path("kubelet", "plugins_registry"),
		CDI: c.CDI(), State: c.Run("devices"),
	})
}

// drive runs the driver in a manager that has no controllers: it serves metrics and
// health. The machine's root directory is at root.
func drive(ctx context.Context, m ctrl.Manager, root string, where dra.Config) error {
	log := quiet()
	clients, err := kubernetes.NewForConfig(m.GetConfig())
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	driver, err := dra.New(log, clients, discovery.NewMachine(root), where)
	if err != nil {
		return err
	}
	if err := metrics.Registry.Register(driver.Collector()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := m.AddReadyzCheck("published", func(*http.Request) error { return driver.Ready() }); err != nil {
		return err
	}
	if err := m.Add(manager.RunnableFunc(driver.Run)); err != nil {
		return err
	}
	return m.Start(ctx)
}

// quiet returns the log that upstream's libraries write to, too.
func quiet() *slog.Logger {
	log := logs.New(os.Stderr)
	bridge := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(bridge)
	klog.SetLogger(bridge)
	return log
}
