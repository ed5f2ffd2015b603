package httproute

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/api/v1alpha1"
)

// rule is one of an HTTPRoute, ready to be carried out.
type rule struct {
	namespace string
	backends  []backend
	weights   int64 // of all together
	request   *gw.HTTPHeaderFilter
	response  *gw.HTTPHeaderFilter
	redirect  *gw.HTTPRequestRedirectFilter
	rewrite   *gw.HTTPPathModifier
}

// backend is one of a rule's.
type backend struct {
	kind   string
	name   string
	weight int64
	// absent: it is not there or may not be used; its share of requests is answered 500, as
	// the Gateway API has it.
	absent bool
}

// refusal is why a route or a reference in it is not taken.
type refusal struct {
	reason  gw.RouteConditionReason
	message string
}

func refuse(reason gw.RouteConditionReason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// compiled is an HTTPRoute without its parents.
type compiled struct {
	entries []entry  // without hosts
	refused *refusal // nothing of it is served
	unknown *refusal // some of its backends are not there
}

// compileRoute reads the rules of a route.
func compileRoute(w *World, r *gw.HTTPRoute) compiled {
	var out compiled
	for i := range r.Spec.Rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		spec := &r.Spec.Rules[i]
		made, why := compileRule(w, r.Namespace, at, spec, &out)
		if why != nil {
			out.refused = why
			return out
		}
		matches := spec.Matches
		if len(matches) == 0 {
			matches = []gw.HTTPRouteMatch{{}}
		}
		for j := range matches {
			m, why := compileMatch(fmt.Sprintf("%s.matches[%d]", at, j), &matches[j])
			if why != nil {
				out.refused = why
				return out
			}
			out.entries = append(out.entries, entry{
				match: m, rule: made, created: r.CreationTimestamp.Time, key: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, order: len(out.entries),
			})
		}
	}
	return out
}

func compileRule(w *World, namespace, at string, spec *gw.HTTPRouteRule, out *compiled) (*rule, *refusal) {
	made := &rule{namespace: namespace}
	if spec.SessionPersistence != nil || spec.Retry != nil || spec.Timeouts != nil {
		return nil, refuse(gw.RouteReasonUnsupportedValue, "%s: sessionPersistence, retry and timeouts are not supported; leave them out, a service has timeoutSeconds of its own", at)
	}
	for k := range spec.Filters {
		if why := made.filter(fmt.Sprintf("%s.filters[%d]", at, k), &spec.Filters[k]); why != nil {
			return nil, why
		}
	}
	if made.redirect != nil && (made.rewrite != nil || len(spec.BackendRefs) > 0) {
		return nil, refuse(gw.RouteReasonIncompatibleFilters, "%s: a RequestRedirect answers by itself; leave out backendRefs and URLRewrite", at)
	}
	for k := range spec.BackendRefs {
		ref := &spec.BackendRefs[k]
		where := fmt.Sprintf("%s.backendRefs[%d]", at, k)
		if len(ref.Filters) > 0 {
			return nil, refuse(gw.RouteReasonUnsupportedValue, "%s.filters: filters of single backends are not supported; give them to the rule", where)
		}
		b, why := resolve(w, namespace, where, ref)
		if why != nil && out.unknown == nil {
			out.unknown = why
		}
		made.backends = append(made.backends, b)
		made.weights += b.weight
	}
	return made, nil
}

// resolve finds a backend. One that cannot be found keeps its share.
func resolve(w *World, namespace, at string, ref *gw.HTTPBackendRef) (backend, *refusal) {
	b := backend{kind: kindService, name: string(ref.Name), weight: 1, absent: true}
	if ref.Weight != nil {
		b.weight = int64(*ref.Weight)
	}
	group := ""
	if ref.Group != nil {
		group = string(*ref.Group)
	}
	if ref.Kind != nil {
		b.kind = string(*ref.Kind)
	}
	if group != v1alpha1.Group || b.kind != kindService && b.kind != kindRoute {
		return b, refuse(gw.RouteReasonInvalidKind, "%s: the gateway serves kinds %s and %s of group %s only", at, kindService, kindRoute, v1alpha1.Group)
	}
	if ref.Namespace != nil && string(*ref.Namespace) != namespace {
		return b, refuse(gw.RouteReasonRefNotPermitted, "%s.namespace: a backend must be in the namespace of its HTTPRoute, %s", at, namespace)
	}
	if !w.has(b.kind, types.NamespacedName{Namespace: namespace, Name: b.name}) {
		return b, refuse(gw.RouteReasonBackendNotFound, "%s: there is no %s %s in namespace %s", at, b.kind, b.name, namespace)
	}
	b.absent = false
	return b, nil
}

// filter adds one to the rule.
func (r *rule) filter(at string, f *gw.HTTPRouteFilter) *refusal {
	switch f.Type {
	case gw.HTTPRouteFilterRequestHeaderModifier:
		r.request = f.RequestHeaderModifier
	case gw.HTTPRouteFilterResponseHeaderModifier:
		r.response = f.ResponseHeaderModifier
	case gw.HTTPRouteFilterRequestRedirect:
		r.redirect = f.RequestRedirect
	case gw.HTTPRouteFilterURLRewrite:
		if f.URLRewrite.Hostname != nil {
			return refuse(gw.RouteReasonUnsupportedValue, "%s.urlRewrite.hostname: replicas have no host names; rewrite the path alone", at)
		}
		r.rewrite = f.URLRewrite.Path
	default:
		return refuse(gw.RouteReasonUnsupportedValue, "%s: filters of type %s are not supported", at, f.Type)
	}
	return nil
}

// match is what a request must be like.
type match struct {
	exact, prefix string // of the path; at most one
	method        string
	headers       []pair // by canonical name
	query         []pair
}

type pair struct{ name, value string }

func compileMatch(at string, m *gw.HTTPRouteMatch) (match, *refusal) {
	var out match
	kind, value := gw.PathMatchPathPrefix, "/"
	if m.Path != nil {
		if m.Path.Type != nil {
			kind = *m.Path.Type
		}
		if m.Path.Value != nil {
			value = *m.Path.Value
		}
	}
	switch kind {
	case gw.PathMatchExact:
		out.exact = value
	case gw.PathMatchPathPrefix:
		out.prefix = strings.TrimSuffix(value, "/")
	default:
		return out, refuse(gw.RouteReasonUnsupportedValue, "%s.path.type: %s is not supported; use Exact or PathPrefix", at, kind)
	}
	if m.Method != nil {
		out.method = string(*m.Method)
	}
	for i, h := range m.Headers {
		if h.Type != nil && *h.Type != gw.HeaderMatchExact {
			return out, refuse(gw.RouteReasonUnsupportedValue, "%s.headers[%d].type: %s is not supported; use Exact", at, i, *h.Type)
		}
		out.headers = first(out.headers, pair{http.CanonicalHeaderKey(string(h.Name)), h.Value})
	}
	for i, q := range m.QueryParams {
		if q.Type != nil && *q.Type != gw.QueryParamMatchExact {
			return out, refuse(gw.RouteReasonUnsupportedValue, "%s.queryParams[%d].type: %s is not supported; use Exact", at, i, *q.Type)
		}
		out.query = first(out.query, pair{string(q.Name), q.Value})
	}
	return out, nil
}

// first adds p unless there is one of its name: of those only the first counts.
func first(have []pair, p pair) []pair {
	if slices.ContainsFunc(have, func(q pair) bool { return q.name == p.name }) {
		return have
	}
	return append(have, p)
}
