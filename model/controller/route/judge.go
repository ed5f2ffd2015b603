package route

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	rules "polder.dev/polder/model/route"
)

// world is what the status of a route depends on.
type world struct {
	route      *v1alpha1.ModelRoute
	services   map[string]*v1alpha1.InferenceService // those that are there
	learning   *v1alpha1.Cascade                     // the cascade that learns; nil: none does
	evaluation *v1alpha1.Evaluation                  // that it learns from, if it is there
	compiled   *rules.Route                          // nil when the spec cannot be used
}

func newWorld(r *v1alpha1.ModelRoute) *world {
	return &world{route: r, services: map[string]*v1alpha1.InferenceService{}, learning: learning(r)}
}

// learning is the first cascade of a route that learns its threshold.
func learning(r *v1alpha1.ModelRoute) *v1alpha1.Cascade {
	for i := range r.Spec.Rules {
		if c := r.Spec.Rules[i].Cascade; c != nil && c.Learn != nil {
			return c
		}
	}
	return nil
}

// judge writes into next whether the route is accepted and ready.
func (w *world) judge(next *v1alpha1.ModelRoute, gateway string) {
	s := &next.Status
	s.ObservedGeneration = next.Generation
	compiled, err := rules.Compile(&w.route.Spec, "")
	if err == nil {
		err = w.fits()
	}
	if err != nil {
		set(next, v1alpha1.ConditionAccepted, false, "Invalid", sentence(err.Error()))
		set(next, v1alpha1.ConditionReady, false, "NotAccepted", "The spec cannot be used; see the condition Accepted.")
		s.URL = ""
		return
	}
	w.compiled = compiled
	s.URL = urlOf(next, w.protocol(), gateway)
	switch {
	case w.learning == nil:
		s.Cascade = w.fixed()
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionLearned)
	case s.Cascade != nil && (s.Cascade.Specialist != w.named(w.learning.Specialist) || s.Cascade.General != w.named(w.learning.General)):
		s.Cascade = nil // it is about others
	}
	if lost := w.missing(); len(lost) > 0 {
		set(next, v1alpha1.ConditionAccepted, false, "NoService", fmt.Sprintf("There is no service %s in namespace %s; make it with `polder serve`, or change targets.", strings.Join(lost, ", "), next.Namespace))
	} else {
		set(next, v1alpha1.ConditionAccepted, true, "Accepted", "All that the spec names is there.")
	}
	if bad := w.unready(); len(bad) > 0 {
		set(next, v1alpha1.ConditionReady, false, "ServiceNotReady", sentence(strings.Join(bad, "; ")))
		return
	}
	set(next, v1alpha1.ConditionReady, true, "Serving", "All targets answer requests.")
}

// fits checks what Compile cannot know: that the services speak one protocol, and that a
// cascade can judge it.
func (w *world) fits() error {
	first := ""
	for i, t := range w.route.Spec.Targets {
		svc := w.services[t.Service]
		if svc == nil {
			continue
		}
		if first == "" {
			first = t.Name
			continue
		}
		if a, b := protocolOf(w.service(first)), protocolOf(svc); a != b {
			return fmt.Errorf("targets[%d]: %s speaks %s, and %s speaks %s; all targets of a route speak the same", i, t.Name, b, first, a)
		}
	}
	for i := range w.route.Spec.Rules {
		if w.route.Spec.Rules[i].Cascade != nil && first != "" && w.protocol() == v1alpha1.ProtocolHTTP {
			return fmt.Errorf("rules[%d].cascade: answers of protocol http cannot be judged; use a split, or services of protocol v2 or openai", i)
		}
	}
	return nil
}

// service of a target by the target's name; nil if it is not there.
func (w *world) service(target string) *v1alpha1.InferenceService { return w.services[w.named(target)] }

// named is the name of a target's service.
func (w *world) named(target string) string {
	for _, t := range w.route.Spec.Targets {
		if t.Name == target {
			return t.Service
		}
	}
	return ""
}

// protocol that the targets speak, as far as they are there.
func (w *world) protocol() v1alpha1.Protocol {
	for _, t := range w.route.Spec.Targets {
		if s := w.services[t.Service]; s != nil {
			return protocolOf(s)
		}
	}
	return v1alpha1.ProtocolV2
}

func protocolOf(s *v1alpha1.InferenceService) v1alpha1.Protocol {
	if s.Spec.Protocol == "" {
		return v1alpha1.ProtocolV2
	}
	return s.Spec.Protocol
}

// missing services.
func (w *world) missing() []string {
	var out []string
	for _, t := range w.route.Spec.Targets {
		if w.services[t.Service] == nil && !slices.Contains(out, t.Service) {
			out = append(out, t.Service)
		}
	}
	return out
}

// unready says of each target that does not answer why.
func (w *world) unready() []string {
	var out []string
	for _, t := range w.route.Spec.Targets {
		s := w.services[t.Service]
		if s == nil {
			out = append(out, fmt.Sprintf("target %s has no service", t.Name))
			continue
		}
		c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case c == nil:
			out = append(out, fmt.Sprintf("service %s of target %s is not ready yet", t.Service, t.Name))
		case c.Status != metav1.ConditionTrue:
			out = append(out, fmt.Sprintf("service %s of target %s is not ready: %s", t.Service, t.Name, c.Message))
		}
	}
	return out
}

// fixed is the status of a cascade whose threshold is given; nil without one.
func (w *world) fixed() *v1alpha1.CascadeStatus {
	if c := w.compiled.Cascaded(); c != nil {
		return &v1alpha1.CascadeStatus{Threshold: rules.Decimal(c.Threshold)}
	}
	return nil
}

// urlOf is where the gateway serves a route; "" where there is none.
func urlOf(r *v1alpha1.ModelRoute, p v1alpha1.Protocol, gateway string) string {
	if gateway == "" {
		return ""
	}
	base := strings.TrimSuffix(gateway, "/") + "/" + r.Namespace
	switch p {
	case v1alpha1.ProtocolOpenAI:
		return base + "/v1"
	case v1alpha1.ProtocolHTTP:
		return base + "/http/" + r.Name
	}
	return base + "/v2/models/" + r.Name
}

func set(r *v1alpha1.ModelRoute, kind string, holds bool, reason, message string) {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: r.Generation}
	if holds {
		c.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&r.Status.Conditions, c)
}

// sentence is text with a full stop.
func sentence(text string) string {
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// upper is a sentence that begins as sentences do.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
