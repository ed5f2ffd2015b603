package serve

import (
	"fmt"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// Reasons of the condition Ready.
const (
	ReasonServing  = "Serving"
	ReasonAsleep   = "Asleep"
	ReasonStarting = "Starting"
	ReasonFailing  = "Failing"
)

// judged says whether requests are answered, and what is wrong, be it with what answers
// them or with what is to.
func judged(p *plan) (status metav1.ConditionStatus, reason, message string) {
	stable, starting := p.with(v1alpha1.RevisionStable), p.with(v1alpha1.RevisionStarting)
	if stable == nil {
		accepted := apimeta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionAccepted)
		switch {
		case accepted != nil && accepted.Status == metav1.ConditionFalse && (starting == nil || starting.Replicas == 0):
			return metav1.ConditionFalse, ReasonStarting, accepted.Message
		case starting == nil:
			return metav1.ConditionFalse, ReasonStarting, "there is nothing to serve yet"
		case starting.Message != "":
			return metav1.ConditionFalse, ReasonFailing, fmt.Sprintf("revision %s does not start: %s", starting.Name, starting.Message)
		}
		return metav1.ConditionFalse, ReasonStarting, fmt.Sprintf("revision %s is starting", starting.Name)
	}
	var words []string
	if starting != nil && starting.Message != "" {
		words = append(words, fmt.Sprintf("revision %s does not start, and %s goes on: %s", starting.Name, stable.Name, starting.Message))
	}
	if c := p.with(v1alpha1.RevisionCanary); c != nil && c.Message != "" {
		words = append(words, fmt.Sprintf("canary %s: %s", c.Name, c.Message))
	}
	if stable.Message != "" {
		words = append([]string{stable.Message}, words...)
	}
	message = strings.Join(words, "; ")
	switch {
	case stable.Message != "" && stable.ReadyReplicas == 0:
		return metav1.ConditionFalse, ReasonFailing, message
	case stable.Replicas == 0 && stable.ReadyReplicas == 0:
		return metav1.ConditionTrue, ReasonAsleep, message
	}
	return metav1.ConditionTrue, ReasonServing, message
}

// urlOf is where the gateway serves it; "" where there is none.
func urlOf(svc *v1alpha1.InferenceService, gateway string) string {
	if gateway == "" {
		return ""
	}
	base := strings.TrimSuffix(gateway, "/") + "/" + svc.Namespace
	switch protocol(svc) {
	case v1alpha1.ProtocolOpenAI:
		return base + "/v1"
	case v1alpha1.ProtocolHTTP:
		return base + "/http/" + svc.Name
	}
	return base + "/v2/models/" + svc.Name
}
