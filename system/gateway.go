package system

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/controlplane/apiserver"
	"polder.dev/polder/gateway/auth"
	"polder.dev/polder/gateway/door"
	"polder.dev/polder/gateway/httproute"
	"polder.dev/polder/gateway/pool"
	"polder.dev/polder/gateway/route"
	"polder.dev/polder/gateway/scale"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/system/layout"
)

// partGateway is the component's name, and that of its certificate and kubeconfig.
const partGateway = "gateway"

// gatewayHost is the name of the gateway's Service.
const gatewayHost = "gateway.polder-system"

// gatewayInside is the gateway's address for pods, and the audience of tokens that are for
// it alone.
const gatewayInside = "https://" + gatewayHost + ".svc"

// gatewayHosts are the names of the gateway's Service.
func gatewayHosts() []string {
	return []string{gatewayHost, gatewayHost + ".svc", gatewayHost + ".svc.cluster.local"}
}

// gatewayGarbage is how much the gateway's memory grows before it is tidied, in percent:
// little of it outlives a request, so that tidying often costs more than memory.
const gatewayGarbage = 400

// runGateway runs the front door for models until ctx ends.
func runGateway(ctx context.Context, c layout.Cloud) error {
	log := quiet()
	debug.SetGCPercent(gatewayGarbage)
	held, err := gatewayCache()
	if err != nil {
		return err
	}
	m, err := newManager(c, managed{
		name: partGateway, metrics: layout.PortGatewayMetrics, health: layout.PortGatewayOK, held: held, kinds: []func(*runtime.Scheme) error{gw.Install},
	})
	if err != nil {
		return err
	}
	keys, err := auth.New(log, m.GetClient(), []string{gatewayInside, apiserver.Issuer}, time.Now)
	if err != nil {
		return err
	}
	scaler, err := scale.New(log, scale.API{Client: m.GetClient()}, time.Now, metrics.Registry)
	if err != nil {
		return err
	}
	replicas, err := pool.New(pool.Config{
		Log: log, Pods: c.PodCIDR(), Wake: scaler.Wake, Now: time.Now, Draw: rand.Float64, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	routes, err := newRoutes(log, c, m, replicas)
	if err != nil {
		return err
	}
	told, err := followGateway(ctx, m.GetCache(), keys, replicas, routes)
	if err != nil {
		return err
	}
	hosts, err := newHosts(log, c, m, replicas, routes)
	if err != nil {
		return err
	}
	known := func() error {
		for _, done := range told {
			if !done() {
				return errors.New("what there is to serve is not known yet")
			}
		}
		return nil
	}
	if err := m.AddReadyzCheck("cache", func(*http.Request) error { return known() }); err != nil {
		return err
	}
	front, err := door.New(door.Config{
		Log: log, Guard: keys, Services: replicas, Routes: routes, Hosts: hosts, Version: version.String(), Ready: known, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Start(ctx) })
	g.Go(func() error { return replicas.Run(ctx) })
	if err := awaitKnown(ctx, 10*time.Millisecond, known); err != nil {
		return errors.Join(err, g.Wait())
	}
	g.Go(func() error { return scaler.Run(ctx, replicas) })
	answering, end := context.WithCancel(context.WithoutCancel(ctx)) // routes end after those who ask
	g.Go(func() error {
		defer end()
		return serveGateway(ctx, log, c, m, front, hosts)
	})
	g.Go(func() error { return routes.Run(answering) })
	return g.Wait()
}

// followGateway has the parts told of what they go by.
func followGateway(ctx context.Context, from cache.Cache, keys *auth.Auth, replicas *pool.Pool, routes *route.Router) ([]func() bool, error) {
	one, err := keys.Follow(ctx, from)
	if err != nil {
		return nil, err
	}
	other, err := replicas.Follow(ctx, from)
	if err != nil {
		return nil, err
	}
	return append(append(one, other...), routes.Synced), routes.Follow(ctx, from)
}

// awaitKnown waits until everything is known, so that nobody is refused because a part
// has just been started. Who knows does not tell when that is, and is asked so often.
func awaitKnown(ctx context.Context, often time.Duration, known func() error) error {
	t := time.NewTicker(often)
	defer t.Stop()
	for known() != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return nil
}

// serveGateway answers clients.
func serveGateway(ctx context.Context, log *slog.Logger, c layout.Cloud, m ctrl.Manager, front *door.Door, hosts *httproute.Handler) error {
	pair, err := certwatcher.New(c.Cert(partGateway), c.Key(partGateway))
	if err != nil {
		return fmt.Errorf("reading the gateway's certificate: %w", err)
	}
	pool, err := pki.Pool(c.Cert("ca"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.At(layout.PortGateway))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.InfoContext(ctx, "the gateway serves models", logs.Addr, c.GatewayURL())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pair.Start(ctx) })
	g.Go(func() error {
		return front.Serve(ctx, l, &tls.Config{
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if of := hosts.Certificate(hello); of != nil {
					return of, nil
				}
				return pair.GetCertificate(hello)
			},
			ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
		})
	})
	return g.Wait()
}

// gatewayCache bounds what the gateway holds of the API.
func gatewayCache() (map[client.Object]cache.ByObject, error) {
	out, err := pool.CacheOptions()
	if err != nil {
		return nil, err
	}
	maps.Copy(out, auth.CacheOptions())
	return out, nil
}
