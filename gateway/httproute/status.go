package httproute

import (
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// Verdict is what is to be said of one object: its next status.
type Verdict struct {
	Gateways []gw.Gateway
	Routes   []gw.HTTPRoute
}

// Compile returns what becomes of requests, and what is to be said of every Gateway of
// ours and of every HTTPRoute that names one. It changes nothing of w.
func Compile(w *World, now metav1.Time) (*Table, Verdict) {
	var entries []entry
	var say Verdict
	ours := map[types.NamespacedName]*gatewayState{}
	for i := range w.Gateways {
		g := w.Gateways[i].DeepCopy()
		if !w.Classes[string(g.Spec.GatewayClassName)] {
			continue
		}
		ours[types.NamespacedName{Namespace: g.Namespace, Name: g.Name}] = newGatewayState(w, g)
	}
	for i := range w.Routes {
		r := w.Routes[i].DeepCopy()
		c := compileRoute(w, r)
		var parents []gw.RouteParentStatus
		for _, ref := range r.Spec.ParentRefs {
			g := ours[parentKey(r.Namespace, &ref)]
			if g == nil || !isGateway(&ref) {
				continue
			}
			hosts, why := g.attach(w, r, &ref)
			if c.refused != nil {
				hosts, why = nil, c.refused
			}
			parents = append(parents, parentStatus(r, ref, why, c.unknown, now))
			for _, h := range hosts {
				for _, e := range c.entries {
					e.host = h
					entries = append(entries, e)
				}
			}
		}
		if others := foreign(r.Status.Parents); len(parents) > 0 || len(others) != len(r.Status.Parents) {
			r.Status.Parents = append(others, parents...)
			say.Routes = append(say.Routes, *r)
		}
	}
	for _, g := range ours {
		say.Gateways = append(say.Gateways, g.status(now))
	}
	slices.SortFunc(say.Gateways, func(a, b gw.Gateway) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return newTable(dedupe(entries)), say
}

// dedupe drops what a route says twice because it came by two listeners of the same host.
func dedupe(in []entry) []entry {
	type same struct {
		host  string
		key   types.NamespacedName
		order int
	}
	seen := map[same]bool{}
	return slices.DeleteFunc(in, func(e entry) bool {
		k := same{e.host, e.key, e.order}
		had := seen[k]
		seen[k] = true
		return had
	})
}

func isGateway(ref *gw.ParentReference) bool {
	return (ref.Group == nil || *ref.Group == gw.GroupName) && (ref.Kind == nil || *ref.Kind == "Gateway")
}

func parentKey(namespace string, ref *gw.ParentReference) types.NamespacedName {
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	return types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}
}

// foreign are what other controllers have said.
func foreign(in []gw.RouteParentStatus) []gw.RouteParentStatus {
	return slices.DeleteFunc(slices.Clone(in), func(p gw.RouteParentStatus) bool { return p.ControllerName == ControllerName })
}

// parentStatus says of a route whether a Gateway takes it.
func parentStatus(r *gw.HTTPRoute, ref gw.ParentReference, refused, unknown *refusal, now metav1.Time) gw.RouteParentStatus {
	out := gw.RouteParentStatus{ParentRef: ref, ControllerName: ControllerName}
	for _, p := range r.Status.Parents {
		if p.ControllerName == ControllerName && apiequality.Semantic.DeepEqual(p.ParentRef, ref) {
			out.Conditions = slices.Clone(p.Conditions) // their times stay
		}
	}
	set := func(kind gw.RouteConditionType, good gw.RouteConditionReason, why *refusal) {
		c := metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: string(good), ObservedGeneration: r.Generation, LastTransitionTime: now}
		if why != nil {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, string(why.reason), why.message
		}
		apimeta.SetStatusCondition(&out.Conditions, c)
	}
	set(gw.RouteConditionAccepted, gw.RouteReasonAccepted, refused)
	set(gw.RouteConditionResolvedRefs, gw.RouteReasonResolvedRefs, unknown)
	return out
}

func text[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}
