package route

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	rules "polder.dev/polder/model/route"
)

// Services answers requests for InferenceServices, and knows what they speak.
type Services interface {
	gateway.Services
	// Info tells of a service; false: there is none.
	Info(service types.NamespacedName) (gateway.Info, bool)
}

// Config of a Router.
type Config struct {
	Log      *slog.Logger
	Services Services
	// Bucket takes the records that routes keep.
	Bucket Bucket
	// Status writes what was observed.
	Status Status
	// SpendFile outlives the process, and with it what tenants have spent today.
	SpendFile string
	// Now is the time; Draw is uniform in [0, 1).
	Now  func() time.Time
	Draw func() float64
	// Metrics are registered here.
	Metrics prometheus.Registerer
}

// Router answers requests for ModelRoutes. Its methods may be called at any time from
// anywhere.
type Router struct {
	cfg     Config
	gauges  *gauges
	spend   *ledger
	journal *journal
	shadows *shadows
	room    *room // of all caches
	held    *room // of answers that are read whole

	mu     sync.RWMutex
	routes map[types.NamespacedName]*live
	told   []func() bool // whether an informer has, set before Run
}

var _ gateway.Routes = (*Router)(nil)

// New returns a Router without routes.
func New(cfg Config) (*Router, error) {
	if cfg.Log == nil || cfg.Services == nil || cfg.Bucket == nil || cfg.Status == nil || cfg.SpendFile == "" || cfg.Now == nil || cfg.Draw == nil || cfg.Metrics == nil {
		return nil, errors.New("gateway route: a dependency is missing")
	}
	spend, err := openLedger(cfg.SpendFile, cfg.Now())
	if err != nil {
		return nil, err
	}
	t := &Router{cfg: cfg, spend: spend, room: &room{max: cacheBytesMax}, held: &room{max: heldBytesMax}, routes: map[types.NamespacedName]*live{}}
	t.gauges = newGauges(cfg.Metrics, t)
	t.journal = newJournal(cfg.Log, cfg.Bucket, t.gauges, cfg.Now)
	t.shadows = newShadows()
	return t, nil
}

// Run writes records and status until ctx ends; then it writes what is left, and what was
// spent.
func (t *Router) Run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return t.journal.run(inner) })
	g.Go(func() error { return t.observe(inner) })
	g.Go(func() error { return t.shadows.run(inner) })
	g.Go(func() error { // at once, since records may take a while
		<-inner.Done()
		return t.spend.close()
	})
	return g.Wait()
}

// Set tells the router of a route, as it is now.
func (t *Router) Set(r *v1alpha1.ModelRoute) {
	key := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.routes[key]
	if l == nil {
		l = &live{key: key}
		t.routes[key] = l
	}
	l.set(r, t.room)
}

// Remove tells the router that a route is gone.
func (t *Router) Remove(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.routes[key]; l != nil {
		l.drop()
		delete(t.routes, key)
		t.gauges.forget(key)
	}
}

func (t *Router) find(key types.NamespacedName) *live {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.routes[key]
}

// all routes, in order.
func (t *Router) all() []*live {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.SortedFunc(maps.Values(t.routes), func(a, b *live) int {
		return cmp.Or(cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.Name, b.key.Name))
	})
}

// Has implements gateway.Routes.
func (t *Router) Has(route types.NamespacedName) bool { return t.find(route) != nil }

// Names implements gateway.Routes. A route whose services are not there speaks nothing.
func (t *Router) Names(namespace string, protocol v1alpha1.Protocol) []string {
	var out []string
	for _, l := range t.all() {
		s := l.settings.Load()
		if l.key.Namespace == namespace && s != nil && s.route != nil && slices.ContainsFunc(s.route.Targets, func(to rules.Target) bool {
			info, ok := t.cfg.Services.Info(types.NamespacedName{Namespace: namespace, Name: to.Service})
			return ok && info.Protocol == protocol
		}) {
			out = append(out, l.key.Name)
		}
	}
	return out
}

// Serve implements gateway.Routes.
func (t *Router) Serve(w http.ResponseWriter, r *http.Request, c *gateway.Call) {
	l := t.find(c.Key())
	if l == nil {
		gateway.Refuse(w, c.Protocol, gateway.Faultf(http.StatusNotFound, "not_found", "there is no route %s in namespace %s", c.Name, c.Namespace))
		return
	}
	p := &pass{Router: t, live: l, settings: l.settings.Load(), w: w, r: r, call: c, began: t.cfg.Now()}
	defer p.free()
	if err := p.serve(); err != nil {
		if r.Context().Err() != nil {
			return // who has gone is told nothing
		}
		gateway.Refuse(w, c.Protocol, err)
	}
}
