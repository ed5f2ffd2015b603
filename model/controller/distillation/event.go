package distillation

import (
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// event is one thing worth telling.
type event struct {
	kind, reason, action, note string
}

// transitions tells what changed from one status to the next.
func transitions(old, next *v1alpha1.DistillationStatus) []event {
	var out []event
	is := apimeta.FindStatusCondition(next.Conditions, v1alpha1.ConditionAccepted)
	was := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ConditionAccepted)
	if is != nil && is.Status == metav1.ConditionFalse && (was == nil || was.Message != is.Message) {
		out = append(out, event{corev1.EventTypeWarning, is.Reason, "Accept", is.Message})
	}
	if next.Stage != "" && next.Stage != old.Stage {
		out = append(out, event{corev1.EventTypeNormal, "Stage", "Begin", "stage " + next.Stage})
	}
	if next.State == old.State || !next.State.Done() {
		return out
	}
	kind, reason := corev1.EventTypeNormal, string(next.State)
	if c := apimeta.FindStatusCondition(next.Conditions, v1alpha1.ConditionFailed); c != nil {
		kind, reason = corev1.EventTypeWarning, c.Reason
	}
	return append(out, event{kind, reason, string(next.State), clip(or(next.Message, string(next.State)))})
}
