package system

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/device/controller"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/model/controller/alias"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/node/firewall"
	"polder.dev/polder/node/volume"
	"polder.dev/polder/policy/tenant"
	queue "polder.dev/polder/sched/controller"
	"polder.dev/polder/system/bootstrap"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/workload/offer"
	"polder.dev/polder/workload/train"
)

// runControllers runs Polder's own controllers until ctx ends.
func runControllers(ctx context.Context, c layout.Cloud) error {
	log := quiet()
	m, err := newManager(c, managed{name: "controllers", metrics: layout.PortControl, health: layout.PortControlOK, held: train.CacheOptions()})
	if err != nil {
		return err
	}
	cfg := m.GetConfig()
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	volumes, err := volume.New(log, clients, volume.Config{Dir: c.Path("volumes"), Node: c.Config.Node.Name})
	if err != nil {
		return err
	}
	defer volumes.Close()
	trust, err := pki.ClientTLS(c.Cert("ca"), c.Cert("controllers"), c.Key("controllers"))
	if err != nil {
		return err
	}
	store, err := registry.New(c.RegistryURL(), trust)
	if err != nil {
		return err
	}
	dir, err := ownLibexec()
	if err != nil {
		return err
	}
	copier, err := bootstrap.CopyImage(dir)
	if err != nil {
		return err
	}
	trainer, err := train.New(log, train.Deps{
		Client: m.GetClient(), Live: m.GetAPIReader(), Events: m.GetEventRecorder(train.Name), Volumes: volumes,
		Publisher: &publisher{store: store}, Clock: clock.RealClock{}, Gauges: metrics.Registry,
	}, train.Config{Sandbox: "gvisor", CopyImage: copier}) // as the policy polder-sandbox says
	if err != nil {
		return err
	}
	if err := trainer.Register(m); err != nil {
		return err
	}
	if err := tenant.New(log, m.GetClient()).Register(m); err != nil {
		return err
	}
	offers, err := offer.New(log, m.GetClient(), store)
	if err != nil {
		return err
	}
	if err := offers.Register(m); err != nil {
		return err
	}
	aliases, err := alias.New(log, alias.Deps{
		Client: m.GetClient(), Events: m.GetEventRecorder(alias.Name), Clock: clock.RealClock{}, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	if err := aliases.Register(m); err != nil {
		return err
	}
	if err := remover(log, m, store); err != nil {
		return err
	}
	mounts, err := newMounter(store, c.Path("mounts"))
	if err != nil {
		return err
	}
	if err := distiller(log, m, store, mounts); err != nil {
		return err
	}
	if err := evaluator(log, m, clients, store, mounts, copier); err != nil {
		return err
	}
	if err := services(log, cfg, m, mounts, c.GatewayURL()); err != nil {
		return err
	}
	if err := router(log, m, store, c.GatewayURL()); err != nil {
		return err
	}
	emulator, err := controller.New(log, m.GetClient(), m.GetAPIReader())
	if err != nil {
		return err
	}
	if err := emulator.Register(m); err != nil {
		return err
	}
	held, err := cache.New(cfg, cache.Options{Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(), ByObject: queue.HeldOptions()})
	if err != nil {
		return fmt.Errorf("making controllers: %w", err)
	}
	queues, err := queue.New(log, queue.Deps{
		Client: m.GetClient(), Held: held, Judge: newJudge(), Events: m.GetEventRecorder(queue.Name), Clock: clock.RealClock{}, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	if err := queues.Register(ctx, m, held); err != nil {
		return err
	}
	wall, err := firewall.New(log, clients, c.PodCIDR(), firewall.Guard{Policy: tenant.PolicyName, Exempt: tenant.System})
	if err != nil {
		return err
	}
	if err := m.AddReadyzCheck("cache", synced(m.GetCache())); err != nil {
		return err
	}
	if err := m.AddReadyzCheck("firewall", func(*http.Request) error { return wall.Ready() }); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Start(ctx) })
	g.Go(func() error { return volumes.Run(ctx) })
	g.Go(func() error { return wall.Run(ctx) })
	return g.Wait()
}

// synced checks that the controllers have seen what the API server has.
func synced(c cache.Cache) healthz.Checker {
	const limit = 100 * time.Millisecond
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	}
}
