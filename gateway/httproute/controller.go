package httproute

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
)

// Name of the controller.
const Name = "polder-httproute"

// again is how often certificates are read anew: they are not watched, as nobody but the
// listeners that name them may make the gateway read a Secret.
const again = time.Minute

// Controller keeps a Handler's table and the statuses of the Gateway API up to date.
type Controller struct {
	log    *slog.Logger
	client client.Client
	live   client.Reader
	h      *Handler
	at     netip.AddrPort
	clock  clock.PassiveClock
}

// NewController returns one for a gateway that answers at an address and port. Live reads the API server
// itself. It starts nothing.
func NewController(log *slog.Logger, c client.Client, live client.Reader, h *Handler, at netip.AddrPort, now clock.PassiveClock) (*Controller, error) {
	if log == nil || c == nil || live == nil || h == nil || now == nil || !at.IsValid() {
		return nil, errors.New("httproute controller: a dependency is missing")
	}
	return &Controller{log: log, client: c, live: live, h: h, at: at, clock: now}, nil
}

// Register has m run it. Everything is looked at together, whatever changes: there are
// few of these objects, and what one says may decide about another.
func (c *Controller) Register(m manager.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "all"}}}
	})
	spec := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	err := builder.ControllerManagedBy(m).
		Named(Name).
		Watches(&gw.GatewayClass{}, all, spec).
		Watches(&gw.Gateway{}, all, spec).
		Watches(&gw.HTTPRoute{}, all, spec).
		Watches(&corev1.Namespace{}, all, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&v1alpha1.InferenceService{}, all, spec).
		Watches(&v1alpha1.ModelRoute{}, all, spec).
		Complete(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
			return reconcile.Result{RequeueAfter: again}, c.Reconcile(ctx)
		}))
	if err != nil {
		return fmt.Errorf("registering the controller of HTTPRoutes: %w", err)
	}
	return nil
}

// Reconcile looks at everything once.
func (c *Controller) Reconcile(ctx context.Context) error {
	w, kept, classes, err := c.read(ctx)
	if err != nil {
		return err
	}
	now := metav1.NewTime(c.clock.Now())
	table, say := Compile(w, now)
	c.h.table.Store(table)
	c.h.pairs.Store(kept)
	return errors.Join(c.tellClasses(ctx, classes, now), c.tell(ctx, w, say))
}

// read is what the API holds.
func (c *Controller) read(ctx context.Context) (*World, *pairs, []gw.GatewayClass, error) {
	w := &World{
		Classes: map[string]bool{}, Address: c.at.Addr().String(), Port: int32(c.at.Port()), Namespaces: map[string]map[string]string{},
		Services: map[types.NamespacedName]bool{}, ModelRoutes: map[types.NamespacedName]bool{}, Certificates: map[types.NamespacedName]bool{},
	}
	var (
		classes  gw.GatewayClassList
		gateways gw.GatewayList
		routes   gw.HTTPRouteList
		spaces   corev1.NamespaceList
		services v1alpha1.InferenceServiceList
		models   v1alpha1.ModelRouteList
	)
	for _, l := range []client.ObjectList{&classes, &gateways, &routes, &spaces, &services, &models} {
		if err := c.client.List(ctx, l); err != nil {
			return nil, nil, nil, fmt.Errorf("listing for HTTPRoutes: %w", err)
		}
	}
	var ours []gw.GatewayClass
	for _, k := range classes.Items {
		if k.Spec.ControllerName == ControllerName {
			ours = append(ours, k)
			w.Classes[k.Name] = true
		}
	}
	w.Gateways, w.Routes = gateways.Items, routes.Items
	for _, n := range spaces.Items {
		w.Namespaces[n.Name] = n.Labels
	}
	for i := range services.Items {
		w.Services[client.ObjectKeyFromObject(&services.Items[i])] = true
	}
	for i := range models.Items {
		w.ModelRoutes[client.ObjectKeyFromObject(&models.Items[i])] = true
	}
	kept, err := c.certificates(ctx, w)
	return w, kept, ours, err
}

// certificates reads those that listeners of ours name.
func (c *Controller) certificates(ctx context.Context, w *World) (*pairs, error) {
	kept := &pairs{by: map[string]*tls.Certificate{}}
	for i := range w.Gateways {
		g := &w.Gateways[i]
		if !w.Classes[string(g.Spec.GatewayClassName)] {
			continue
		}
		for _, l := range g.Spec.Listeners {
			if l.TLS == nil {
				continue
			}
			for _, ref := range l.TLS.CertificateRefs {
				key := types.NamespacedName{Namespace: g.Namespace, Name: string(ref.Name)}
				if ref.Namespace != nil && string(*ref.Namespace) != g.Namespace {
					continue
				}
				pair, err := c.pair(ctx, key)
				if err != nil {
					return nil, err
				}
				if pair != nil {
					w.Certificates[key] = true
					if host := strings.ToLower(text(l.Hostname)); kept.by[host] == nil {
						kept.by[host] = pair
					}
				}
			}
		}
	}
	return kept, nil
}

// pair reads a certificate and its key; nil if there is no such.
func (c *Controller) pair(ctx context.Context, key types.NamespacedName) (*tls.Certificate, error) {
	var s corev1.Secret
	err := c.live.Get(ctx, key, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", key, err)
	}
	if s.Type != corev1.SecretTypeTLS {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil { // its words may tell of the key; the listener's condition says enough
		return nil, nil
	}
	return &pair, nil
}

// tellClasses accepts the classes that are ours.
func (c *Controller) tellClasses(ctx context.Context, classes []gw.GatewayClass, now metav1.Time) error {
	var errs []error
	for i := range classes {
		old := classes[i].DeepCopy()
		apimeta.SetStatusCondition(&classes[i].Status.Conditions, metav1.Condition{
			Type: string(gw.GatewayClassConditionStatusAccepted), Status: metav1.ConditionTrue, Reason: string(gw.GatewayClassReasonAccepted),
			ObservedGeneration: old.Generation, LastTransitionTime: now,
		})
		if !apiequality.Semantic.DeepEqual(old.Status, classes[i].Status) {
			errs = append(errs, client.IgnoreNotFound(c.client.Status().Patch(ctx, &classes[i], client.MergeFrom(old))))
		}
	}
	return errors.Join(errs...)
}

// tell writes the statuses that changed.
func (c *Controller) tell(ctx context.Context, w *World, say Verdict) error {
	var errs []error
	patch := func(next, old client.Object, same bool) {
		if same {
			return
		}
		err := c.client.Status().Patch(ctx, next, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}))
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("writing the status of %s/%s: %w", next.GetNamespace(), next.GetName(), err))
		}
	}
	for i := range say.Gateways {
		for j := range w.Gateways {
			if old := &w.Gateways[j]; old.UID == say.Gateways[i].UID {
				patch(&say.Gateways[i], old, apiequality.Semantic.DeepEqual(old.Status, say.Gateways[i].Status))
			}
		}
	}
	for i := range say.Routes {
		for j := range w.Routes {
			if old := &w.Routes[j]; old.UID == say.Routes[i].UID {
				patch(&say.Routes[i], old, apiequality.Semantic.DeepEqual(old.Status, say.Routes[i].Status))
			}
		}
	}
	if len(errs) > 0 {
		c.log.DebugContext(ctx, "statuses are written again", logs.Err, errors.Join(errs...))
	}
	return errors.Join(errs...)
}

// pairs are certificates by the hostnames of listeners.
type pairs struct{ by map[string]*tls.Certificate }

// Certificate is that of the listener whose hostname fits best what the client asks for, or
// nil if none has one: the cloud's own is shown then.
func (h *Handler) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	p := h.pairs.Load()
	if p == nil || len(p.by) == 0 || hello.ServerName == "" {
		return nil
	}
	name := strings.ToLower(hello.ServerName)
	if c := p.by[name]; c != nil {
		return c
	}
	for rest := name; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if c := p.by["*."+after]; c != nil {
			return c
		}
		rest = after
	}
}
