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
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/emulate"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/pki"
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
		Tiers: others.Tiers, Shown: others.Shown, HotBytes: *c.Config.Storage.MemoryBytesMax, MemoryBytesMax: c.Config.Storage.ProcessBytesMax, Jurisdiction: c.Config.Storage.Jurisdiction,
		Dir: c.Path(storeDir), Disks: c.Config.Storage.Disks, Missing: c.Config.Storage.MissingDisks, KeysFile: c.Config.Storage.KeysFile,
		Region: storeRegion, Domains: storeHosts()[1:], URL: c.StoreURL(), OwnNames: true, Log: log, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.BoundHeap()
	log.InfoContext(ctx, "the store is open", logs.Path, c.Path(storeDir), "recovered", s.Recovered())
	if c.Config.Registry.Storage != layout.RegistryObjects {
		return runTenants(ctx, log, c, s, nil)
	}
	g, ctx := errgroup.WithContext(ctx)
	up := make(chan struct{})
	g.Go(func() error { return lodgeRegistry(ctx, c, s, func() { close(up) }) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-up:
		}
		log.InfoContext(ctx, "the store serves the registry", logs.Path, c.RegistryStore())
		if err := awaitKinds(ctx, c); err != nil {
			return err
		}
		return runTenants(ctx, log, c, s, []string{emulate.Namespace})
	})
	return g.Wait()
}

// Names of the bucket of what is pushed to the registry, and of who may use it, in the
// account of the namespace polder-system.
const (
	registryBucket = "registry"
	registryUser   = "registry"
)

// lodgeRegistry serves the registry its bucket.
func lodgeRegistry(ctx context.Context, c layout.Cloud, s *server.Server, ready func()) error {
	secret, err := pki.ReadSecret(c.RegistrySecret())
	if err != nil {
		return err
	}
	return s.Lodge(ctx, server.Lodger{
		Account: emulate.Namespace, User: registryUser, AccessKey: registryUser, Secret: secret, Bucket: registryBucket, Socket: c.RegistryStore(),
		Handovers: c.RegistryDir(),
	}, ready)
}

// awaitKinds returns when the API server has the store's kinds: the store of a registry on
// objects is there before them.
func awaitKinds(ctx context.Context, c layout.Cloud) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig(partStore))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.Timeout = 5 * time.Second
	kinds, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	return awaitKnown(ctx, 100*time.Millisecond, func() error {
		list, err := kinds.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
		if err != nil {
			return err
		}
		have := map[string]bool{}
		for _, r := range list.APIResources {
			have[r.Kind] = true
		}
		if !have["Bucket"] || !have["Dataset"] {
			return errors.New("the store's kinds are not there yet")
		}
		return nil
	})
}

// runTenants runs the controllers of the store and serves tenants. readers are namespaces
// of the cloud's own that get a key to read what is theirs.
func runTenants(ctx context.Context, log *slog.Logger, c layout.Cloud, s *server.Server, readers []string) error {
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
		System: tenant.System, Readers: readers, Warm: s.Warm, Jurisdiction: c.Config.Storage.Jurisdiction, Now: time.Now,
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
