package httproute

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/api/v1alpha1"
)

// ControllerName is what GatewayClasses name to have their Gateways served here.
const ControllerName gw.GatewayController = v1alpha1.Group + "/gateway"

// Kinds of backend.
const (
	kindService = "InferenceService"
	kindRoute   = "ModelRoute"
)

// World is what the API holds, as far as it is of account here.
type World struct {
	// Classes are names of GatewayClasses that are ours.
	Classes map[string]bool
	// Address and Port at which the gateway answers.
	Address  string
	Port     int32
	Gateways []gw.Gateway
	Routes   []gw.HTTPRoute
	// Namespaces have these labels.
	Namespaces map[string]map[string]string
	// Services and ModelRoutes that there are.
	Services, ModelRoutes map[types.NamespacedName]bool
	// Certificates by the Secret that holds one; what is not here cannot be used.
	Certificates map[types.NamespacedName]bool
}

// has tells whether there is such a backend.
func (w *World) has(kind string, key types.NamespacedName) bool {
	if kind == kindRoute {
		return w.ModelRoutes[key]
	}
	return w.Services[key]
}

// attaches tells whether a listener takes routes of a namespace.
func (w *World) attaches(g *gw.Gateway, l *gw.Listener, namespace string) bool {
	from, selector := gw.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if a := l.AllowedRoutes; a != nil && a.Namespaces != nil && a.Namespaces.From != nil {
		from, selector = *a.Namespaces.From, a.Namespaces.Selector
	}
	switch from {
	case gw.NamespacesFromAll:
		return true
	case gw.NamespacesFromSelector:
		s, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && s.Matches(labels.Set(w.Namespaces[namespace]))
	case gw.NamespacesFromSame:
		return g.Namespace == namespace
	}
	return false
}

// takesRoutes tells whether a listener takes HTTPRoutes, and whether it also asks for kinds
// that are not known here.
func takesRoutes(l *gw.Listener) (takes, foreign bool) {
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		return true, false
	}
	for _, k := range l.AllowedRoutes.Kinds {
		if k.Kind == "HTTPRoute" && (k.Group == nil || *k.Group == gw.GroupName) {
			takes = true
		} else {
			foreign = true
		}
	}
	return takes, foreign
}

// meet is the host that both a listener's and a route's hostname stand for; each may be
// empty, for all, or begin with "*.", for those with one label or more before the rest.
func meet(listener, route string) (host string, ok bool) {
	switch {
	case listener == "":
		return route, true
	case route == "", listener == route:
		return listener, true
	case covers(listener, route):
		return route, true
	case covers(route, listener):
		return listener, true
	}
	return "", false
}

// covers tells whether a host, which may be a wildcard itself, is among those of a wildcard.
func covers(wildcard, host string) bool {
	rest, ok := strings.CutPrefix(wildcard, "*")
	return ok && strings.HasSuffix(strings.TrimPrefix(host, "*"), rest) && host != rest && len(strings.TrimPrefix(host, "*")) >= len(rest)
}
