package serve

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// noteBytesMax is the longest note: the API server takes 1024 bytes.
const noteBytesMax = 1000

// event is one thing worth telling.
type event struct {
	kind, reason, action, note string
}

// transitions tells what changed from one status to the next.
func transitions(old, next *v1alpha1.InferenceServiceStatus) []event {
	var es []event
	tell := func(kind, reason, action, note string) {
		es = append(es, event{kind, reason, action, clip(note, noteBytesMax)})
	}
	const normal, warning = corev1.EventTypeNormal, corev1.EventTypeWarning
	was, is := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ConditionAccepted), apimeta.FindStatusCondition(next.Conditions, v1alpha1.ConditionAccepted)
	if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
		if is.Status == metav1.ConditionTrue {
			tell(normal, "Accepted", "Accept", "all that the service names is there")
		} else {
			tell(warning, is.Reason, "Accept", is.Message)
		}
	}
	before := map[string]v1alpha1.Revision{}
	for _, r := range old.Revisions {
		before[r.Name] = r
	}
	for _, r := range next.Revisions {
		b := before[r.Name]
		if b.Role != r.Role {
			tell(normal, reasonOf(r.Role), "RollOut", fmt.Sprintf("revision %s%s is %s", r.Name, modelText(r.Model), r.Role))
		}
		if r.Message != "" && r.Message != b.Message {
			tell(warning, "RevisionFailing", "RollOut", fmt.Sprintf("revision %s: %s", r.Name, r.Message))
		}
	}
	return es
}

// reasonOf is the reason of the event that a revision has come to a role.
func reasonOf(role v1alpha1.RevisionRole) string {
	switch role {
	case v1alpha1.RevisionStable:
		return "RevisionStable"
	case v1alpha1.RevisionCanary:
		return "RevisionCanary"
	case v1alpha1.RevisionLeaving:
		return "RevisionLeaving"
	}
	return "RevisionStarting"
}

func modelText(m *v1alpha1.ModelReference) string {
	if m == nil {
		return ""
	}
	return fmt.Sprintf(" (model %s, %s)", m.Name, m.Digest)
}
