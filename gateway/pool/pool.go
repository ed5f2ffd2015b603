package pool

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/gateway"
)

const (
	dialFor = 2 * time.Second
	// idleFor is how long a connection to a replica is kept: less than servers do.
	idleFor = 30 * time.Second
	// idleMax connections are kept to each replica.
	idleMax = 256
	// headBytesMax of an answer.
	headBytesMax = 256 << 10
	// triesMax is how often one request is sent.
	triesMax = 3
)

// Config of a Pool.
type Config struct {
	Log *slog.Logger
	// Pods are the addresses that a replica may have.
	Pods netip.Prefix
	// Wake is told of a revision that has requests and no replicas. It must not wait.
	Wake func(revision types.NamespacedName)
	// Now is the time; Draw is uniform in [0, 1).
	Now  func() time.Time
	Draw func() float64
	// Metrics are registered here.
	Metrics prometheus.Registerer
	// Transport carries requests to replicas; nil: over TCP, in clear text.
	Transport http.RoundTripper
}

// Pool is the replicas of all services. Its methods may be called at any time from
// anywhere; Run must be running for replicas to be asked whether they are ready.
type Pool struct {
	cfg    Config
	gauges *gauges
	asks   http.RoundTripper
	wire   *wire // the same, or nil

	mu       sync.Mutex
	services map[types.NamespacedName]*service
	replicas map[types.NamespacedName]*replica // by pod
	running  context.Context                   // nil but during Run
	pollers  sync.WaitGroup
}

var _ gateway.Services = (*Pool)(nil)

// New returns a Pool without services.
func New(cfg Config) (*Pool, error) {
	if cfg.Log == nil || cfg.Wake == nil || cfg.Now == nil || cfg.Draw == nil || cfg.Metrics == nil || !cfg.Pods.IsValid() {
		return nil, errors.New("gateway pool: a dependency is missing")
	}
	p := &Pool{
		cfg: cfg, asks: cfg.Transport,
		services: map[types.NamespacedName]*service{}, replicas: map[types.NamespacedName]*replica{},
	}
	if p.asks == nil {
		p.wire = newWire(Transport())
		p.asks = p.wire
	}
	p.gauges = newGauges(cfg.Metrics, p)
	return p, nil
}

// Transport returns what requests are carried to replicas with that are large, upgraded, or
// must not be sent twice.
func Transport() *http.Transport {
	d := net.Dialer{Timeout: dialFor, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: d.DialContext, DisableCompression: true, // bytes pass as they are
		MaxIdleConnsPerHost: idleMax, IdleConnTimeout: idleFor,
		MaxResponseHeaderBytes: headBytesMax, ExpectContinueTimeout: time.Second,
		ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10,
	}
}

// Run asks replicas whether they are ready until ctx ends.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	p.running = ctx
	for _, r := range p.replicas {
		p.watch(r)
	}
	p.mu.Unlock()
	p.sweep(ctx)
	p.mu.Lock()
	p.running = nil // watch starts none any more
	p.mu.Unlock()
	p.pollers.Wait()
	if p.wire != nil {
		p.wire.sweep(time.Now().Add(time.Hour))
		p.wire.rest.CloseIdleConnections()
	}
	return nil
}

// sweep closes connections that nobody uses, until ctx ends.
func (p *Pool) sweep(ctx context.Context) {
	t := time.NewTicker(idleFor / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if p.wire != nil {
				p.wire.sweep(time.Now().Add(-idleFor))
			}
		}
	}
}

// service of key, made if need be. The caller holds the lock.
func (p *Pool) service(key types.NamespacedName) *service {
	s := p.services[key]
	if s == nil {
		s = &service{pool: p, key: key, revisions: map[string]*revision{}}
		p.services[key] = s
	}
	return s
}

// forget removes a service of which nothing is left. The caller holds the lock.
func (p *Pool) forget(s *service) {
	if s.known || len(s.queue) > 0 {
		return
	}
	for _, r := range s.revisions {
		if r.set || len(r.replicas) > 0 || r.requests > 0 {
			return
		}
	}
	delete(p.services, s.key)
	p.gauges.forget(s.key)
}
