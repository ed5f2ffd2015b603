package httproute

import (
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// OptionCertificate, among a listener's tls.options, asks for the cloud's own certificate:
// its value must be "cloud".
const OptionCertificate = "polder.dev/certificate"

// gatewayState is a Gateway while it is compiled.
type gatewayState struct {
	g         *gw.Gateway
	address   string
	listeners []listenerState
}

type listenerState struct {
	spec     *gw.Listener
	accepted *problem // why not
	resolved *problem
	takes    bool // HTTPRoutes
	routes   map[types.NamespacedName]bool
}

type problem struct {
	reason  gw.ListenerConditionReason
	message string
}

func newGatewayState(w *World, g *gw.Gateway) *gatewayState {
	s := &gatewayState{g: g, address: w.Address}
	for i := range g.Spec.Listeners {
		l := &g.Spec.Listeners[i]
		st := listenerState{spec: l, routes: map[types.NamespacedName]bool{}}
		takes, other := takesRoutes(l)
		st.takes = takes
		switch {
		case l.Protocol != gw.HTTPSProtocolType:
			st.accepted = &problem{gw.ListenerReasonUnsupportedProtocol, fmt.Sprintf("protocol %s is not supported: the gateway speaks HTTPS only", l.Protocol)}
		case int32(l.Port) != w.Port:
			st.accepted = &problem{gw.ListenerReasonPortUnavailable, fmt.Sprintf("port %d is not the gateway's: it answers at port %d only", l.Port, w.Port)}
		}
		if other {
			st.resolved = &problem{gw.ListenerReasonInvalidRouteKinds, "allowedRoutes.kinds: the gateway knows HTTPRoutes only"}
		} else {
			st.resolved = certificateProblem(w, g, l)
		}
		s.listeners = append(s.listeners, st)
	}
	return s
}

// certificateProblem says what is wrong with the certificate of a listener.
func certificateProblem(w *World, g *gw.Gateway, l *gw.Listener) *problem {
	if l.TLS == nil {
		return &problem{gw.ListenerReasonInvalidCertificateRef, "tls: give certificateRefs, or options with " + OptionCertificate + ": cloud"}
	}
	if len(l.TLS.CertificateRefs) == 0 {
		if l.TLS.Options[OptionCertificate] != "cloud" {
			return &problem{gw.ListenerReasonInvalidCertificateRef, "tls.options: only " + OptionCertificate + ": cloud is known"}
		}
		return nil
	}
	for i, ref := range l.TLS.CertificateRefs {
		at := fmt.Sprintf("tls.certificateRefs[%d]", i)
		if text(ref.Group) != "" || ref.Kind != nil && *ref.Kind != "Secret" {
			return &problem{gw.ListenerReasonInvalidCertificateRef, at + " is no Secret"}
		}
		if ref.Namespace != nil && string(*ref.Namespace) != g.Namespace {
			return &problem{gw.ListenerReasonRefNotPermitted, at + ".namespace: the Secret must be in the namespace of its Gateway"}
		}
		if !w.Certificates[types.NamespacedName{Namespace: g.Namespace, Name: string(ref.Name)}] {
			return &problem{gw.ListenerReasonInvalidCertificateRef, fmt.Sprintf("%s: there is no Secret %s of type kubernetes.io/tls with a certificate and its key in namespace %s", at, ref.Name, g.Namespace)}
		}
	}
	return nil
}

// attach returns the hosts under which the Gateway serves a route, or why it does not.
func (s *gatewayState) attach(w *World, r *gw.HTTPRoute, ref *gw.ParentReference) ([]string, *refusal) {
	var hosts []string
	named, allowed := false, false
	for i := range s.listeners {
		l := &s.listeners[i]
		if ref.SectionName != nil && *ref.SectionName != l.spec.Name || ref.Port != nil && *ref.Port != l.spec.Port {
			continue
		}
		named = true
		if !l.takes || !w.attaches(s.g, l.spec, r.Namespace) {
			continue
		}
		allowed = true
		for _, h := range meetAll(text(l.spec.Hostname), r.Spec.Hostnames) {
			l.routes[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}] = true
			if l.accepted == nil && l.resolved == nil && !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	attached := slices.ContainsFunc(s.listeners, func(l listenerState) bool {
		return l.routes[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}]
	})
	switch {
	case !named:
		return nil, refuse(gw.RouteReasonNoMatchingParent, "Gateway %s/%s has no listener of that name and port", s.g.Namespace, s.g.Name)
	case !allowed:
		return nil, refuse(gw.RouteReasonNotAllowedByListeners, "no listener of Gateway %s/%s takes HTTPRoutes of namespace %s; allowedRoutes of its listeners says which", s.g.Namespace, s.g.Name, r.Namespace)
	case !attached:
		return nil, refuse(gw.RouteReasonNoMatchingListenerHostname, "no listener of Gateway %s/%s has a hostname of spec.hostnames", s.g.Namespace, s.g.Name)
	}
	return hosts, nil
}

func meetAll(listener string, hostnames []gw.Hostname) []string {
	if len(hostnames) == 0 {
		return []string{listener}
	}
	var out []string
	for _, h := range hostnames {
		if both, ok := meet(listener, string(h)); ok {
			out = append(out, both)
		}
	}
	return out
}

// status is the Gateway with what is to be said of it.
func (s *gatewayState) status(now metav1.Time) gw.Gateway {
	out := s.g
	before := out.Status.Listeners
	kind := gw.IPAddressType
	out.Status.Addresses = []gw.GatewayStatusAddress{{Type: &kind, Value: s.address}}
	out.Status.Listeners = nil
	valid := 0
	for i := range s.listeners {
		l := &s.listeners[i]
		ls := gw.ListenerStatus{Name: l.spec.Name, AttachedRoutes: int32(len(l.routes)), SupportedKinds: []gw.RouteGroupKind{}}
		if l.takes {
			group := gw.Group(gw.GroupName)
			ls.SupportedKinds = append(ls.SupportedKinds, gw.RouteGroupKind{Group: &group, Kind: "HTTPRoute"})
		}
		for _, b := range before {
			if b.Name == ls.Name {
				ls.Conditions = slices.Clone(b.Conditions)
			}
		}
		set := func(kind gw.ListenerConditionType, good gw.ListenerConditionReason, why *problem) {
			apimeta.SetStatusCondition(&ls.Conditions, condition(string(kind), string(good), why, out.Generation, now))
		}
		programmed := l.accepted
		if programmed == nil {
			programmed = l.resolved
		}
		if programmed != nil {
			programmed = &problem{gw.ListenerReasonInvalid, programmed.message}
		} else {
			valid++
		}
		set(gw.ListenerConditionAccepted, gw.ListenerReasonAccepted, l.accepted)
		set(gw.ListenerConditionResolvedRefs, gw.ListenerReasonResolvedRefs, l.resolved)
		set(gw.ListenerConditionProgrammed, gw.ListenerReasonProgrammed, programmed)
		out.Status.Listeners = append(out.Status.Listeners, ls)
	}
	var accepted, programmed *problem
	if valid < len(s.listeners) {
		accepted = &problem{gw.ListenerConditionReason(gw.GatewayReasonListenersNotValid), fmt.Sprintf("%d of %d listeners cannot be served; their conditions say why", len(s.listeners)-valid, len(s.listeners))}
	}
	if valid == 0 {
		programmed = &problem{gw.ListenerConditionReason(gw.GatewayReasonInvalid), "no listener can be served; their conditions say why"}
	}
	a := condition(string(gw.GatewayConditionAccepted), string(gw.GatewayReasonAccepted), accepted, out.Generation, now)
	if accepted != nil && valid > 0 {
		a.Status = metav1.ConditionTrue // in part: as the Gateway API has it
	}
	apimeta.SetStatusCondition(&out.Status.Conditions, a)
	apimeta.SetStatusCondition(&out.Status.Conditions, condition(string(gw.GatewayConditionProgrammed), string(gw.GatewayReasonProgrammed), programmed, out.Generation, now))
	return *out
}

func condition(kind, good string, why *problem, generation int64, now metav1.Time) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: good, ObservedGeneration: generation, LastTransitionTime: now}
	if why != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, string(why.reason), why.message
	}
	return c
}
