package train

import (
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// noteBytesMax is the longest note, with room for what clip adds: the API
// server takes 1024 bytes.
const noteBytesMax = 1000

// event is one thing worth telling.
type event struct {
	kind, reason, action, note string
}

// transitions tells what changed from one status to the next.
func transitions(old, next *v1alpha1.TrainJobStatus) []event {
	var es []event
	tell := func(kind, reason, action, note string) {
		if note == "" {
			note = reason
		}
		es = append(es, event{kind, reason, action, clip(note, noteBytesMax)})
	}
	const normal, warning = corev1.EventTypeNormal, corev1.EventTypeWarning
	was, is := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ConditionAccepted), apimeta.FindStatusCondition(next.Conditions, v1alpha1.ConditionAccepted)
	if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
		if is.Status == metav1.ConditionTrue {
			tell(normal, "Accepted", "Accept", "the job can run")
		} else if !next.State.Done() {
			tell(warning, is.Reason, "Accept", is.Message)
		}
	}
	if g := apimeta.FindStatusCondition(next.Conditions, ConditionGang); g != nil && g.Status == metav1.ConditionFalse &&
		apimeta.FindStatusCondition(old.Conditions, ConditionGang) == nil {
		tell(warning, g.Reason, "Gang", g.Message)
	}
	if next.Progress != nil && next.Progress.ResumedFrom > 0 && (old.Progress == nil || old.Progress.ResumedFrom != next.Progress.ResumedFrom) {
		tell(normal, "Resumed", "Resume", "the program resumed from a checkpoint")
	}
	if m := next.Move; m != nil && m.State.Over() && (old.Move == nil || old.Move.State != m.State || !old.Move.Asked.Equal(&m.Asked)) {
		kind := normal
		if m.State != v1alpha1.MoveMoved {
			kind = warning
		}
		tell(kind, string(m.State), "Move", m.Message)
	}
	if old.State != next.State && next.State != v1alpha1.StatePending {
		es = append(es, stateEvent(next))
	} else if old.Message != next.Message && !next.State.Done() {
		if why := reasonToWait(next); why != "" {
			tell(warning, why, "Wait", next.Message)
		}
	}
	return es
}

// stateEvent tells that a job came into a state.
func stateEvent(s *v1alpha1.TrainJobStatus) event {
	e := event{corev1.EventTypeNormal, string(s.State), string(s.State), clip(s.Message, noteBytesMax)}
	switch s.State {
	case v1alpha1.StateRestarting:
		e.kind = corev1.EventTypeWarning
	case v1alpha1.StateFailed:
		e.kind = corev1.EventTypeWarning
		if c := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ConditionFailed); c != nil {
			e.reason = c.Reason
		}
	case v1alpha1.StateRunning:
		e.note = "all workers run"
	}
	if e.note == "" {
		e.note = string(s.State)
	}
	return e
}

// reasonToWait is why no worker runs, if that is worth telling.
func reasonToWait(s *v1alpha1.TrainJobStatus) string {
	if s.State == v1alpha1.StatePublishing {
		return "PublishDelayed"
	}
	c := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ConditionRunning)
	if c == nil || c.Status == metav1.ConditionTrue || c.Reason == "Waiting" || c.Reason == "WorkerDied" {
		return ""
	}
	return c.Reason
}
