package system

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/policy/tenant"
	"polder.dev/polder/storage/controller"
	"polder.dev/polder/storage/server"
	"polder.dev/polder/system/layout"
)

// partStore is the component's name, and that of its certificate and kubeconfig.
const partStore = "object-store"

// storeRegion is what S3 clients are told: it is in all of them by default.
const storeRegion = "us-east-1"

// storeHosts are the names of the store's Service.
func storeHosts() []string {
	const s = "store.polder-system"
	return []string{s, s + ".svc", s + ".svc.cluster.local"}
}

// runStore runs the object store of a cloud, with the controllers of its buckets, until
// ctx ends.
func runStore(ctx context.Context, c layout.Cloud) (err error) {
	log := quiet()
	others, err := readStores(c.Config.Storage.TiersFile)
	if err != nil {
		return fmt.Errorf("storage.tiersFile: %w", err)
	}
	s, err := server.Open(ctx, server.Config{
		Tiers: others.Tiers, Shown: others.Shown, HotBytes: *c.Config.Storage.MemoryBytesMax, Jurisdiction: c.Config.Storage.Jurisdiction,
		Dir: c.Path(storeDir), Disks: c.Config.Storage.Disks, Missing: c.Config.Storage.MissingDisks, KeysFile: c.Config.Storage.KeysFile,
		Region: storeRegion, Domains: storeHosts()[1:], URL: c.StoreURL(), OwnNames: true, Log: log, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	log.InfoContext(ctx, "the store is open", logs.Path, c.Path(storeDir), "recovered", s.Recovered())
	m, err := newManager(c, managed{name: partStore, metrics: layout.PortStoreMetrics, health: layout.PortStoreOK, held: controller.CacheOptions()})
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(c.Cert("ca"))
	if err != nil {
		return fmt.Errorf("reading authority: %w", err)
	}
	ctl, err := controller.New(log, m.GetClient(), controller.Config{
		Space: s.Space(), Place: controller.Place{Endpoint: c.StoreURL(), Region: storeRegion, CA: ca},
		System: tenant.System, Warm: s.Warm, Jurisdiction: c.Config.Storage.Jurisdiction, Now: time.Now,
	})
	if err != nil {
		return err
	}
	defer ctl.Close()
	if err := ctl.Register(ctx, m); err != nil {
		return err
	}
	if err := m.AddReadyzCheck("cache", synced(m.GetCache())); err != nil {
		return err
	}
	return serveCloud(ctx, log, c, s, m, ctl)
}

// serveCloud answers clients as soon as it is known who may come.
func serveCloud(ctx context.Context, log *slog.Logger, c layout.Cloud, s *server.Server, m ctrl.Manager, ctl *controller.Controller) error {
	h, err := s.Doors(ctx, ctl.Keys())
	if err != nil {
		return err
	}
	pair, err := certwatcher.New(c.Cert(partStore), c.Key(partStore))
	if err != nil {
		return fmt.Errorf("reading the store's certificate: %w", err)
	}
	l, err := net.Listen("tcp", c.At(layout.PortStore))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.InfoContext(ctx, "the store serves S3 and Swift", logs.Addr, c.StoreURL())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Start(ctx) })
	g.Go(func() error { return pair.Start(ctx) })
	g.Go(func() error {
		return s.Serve(ctx, l, h, &tls.Config{GetCertificate: pair.GetCertificate, MinVersion: tls.VersionTLS12})
	})
	return g.Wait()
}
