package alias

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
)

// Limits of what a status holds.
const (
	versionsMax = 64 // beside those that aliases mean or have meant
	historyMax  = 32
)

// Reasons of the condition Promoted.
const (
	ReasonHolds     = "AliasesHold"
	ReasonNoVersion = "NoSuchVersion"
	ReasonGate      = "GateClosed"
)

// Results of judging an alias.
const (
	resultPromoted = "promoted"
	resultRefused  = "refused"
)

// change is what happened to an alias.
type change struct{ alias, digest, result, reason, note string }

func (c change) kind() string {
	if c.result == resultRefused {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// decide returns the status that m is to have, and what is worth telling of it.
func decide(m *v1alpha1.Model, evaluations []v1alpha1.Evaluation, now time.Time) (v1alpha1.ModelStatus, []change) {
	at := metav1.NewTime(now.Truncate(time.Second))
	next := m.DeepCopy()
	s := &next.Status
	record(next, at)
	told, refused, reason := promote(next, evaluations, at)
	forget(next)
	condition := metav1.Condition{
		Type: v1alpha1.ConditionPromoted, Status: metav1.ConditionTrue, Reason: ReasonHolds, ObservedGeneration: m.Generation,
		Message: "every alias means what it is wanted to mean", LastTransitionTime: at,
	}
	if len(refused) > 0 {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reason, strings.Join(refused, "; ")
		was := apimeta.FindStatusCondition(m.Status.Conditions, condition.Type)
		if was != nil && was.Status == condition.Status && was.Message == condition.Message {
			told = slices.DeleteFunc(told, func(c change) bool { return c.result == resultRefused }) // it was told before
		}
	}
	if len(m.Spec.Aliases) == 0 {
		apimeta.RemoveStatusCondition(&s.Conditions, condition.Type)
		return *s, told
	}
	apimeta.SetStatusCondition(&s.Conditions, condition)
	return *s, told
}

// record puts the version that the spec holds before the others, unless it is there.
func record(m *v1alpha1.Model, at metav1.Time) {
	v := model.Latest(m)
	if find(m, v.Digest) != nil {
		return
	}
	v.Time = &at
	m.Status.Versions = slices.Insert(m.Status.Versions, 0, v)
}

// find returns the version of a digest, or nil.
func find(m *v1alpha1.Model, digest string) *v1alpha1.ModelVersion {
	for i := range m.Status.Versions {
		if m.Status.Versions[i].Digest == digest {
			return &m.Status.Versions[i]
		}
	}
	return nil
}

// promote lets aliases mean what they are to mean. It returns what happened, why
// something did not, in a sentence each, and the reason of the first of these.
func promote(m *v1alpha1.Model, evaluations []v1alpha1.Evaluation, at metav1.Time) (told []change, refused []string, reason string) {
	var holds []v1alpha1.ModelAliasStatus
	for _, want := range m.Spec.Aliases {
		has := held(m, want.Name)
		if has != nil && has.Digest == want.Digest {
			has.Reason = want.Reason
			holds = append(holds, *has)
			continue
		}
		evaluation, why, err := judge(m, want, has, evaluations)
		if err != nil {
			note := fmt.Sprintf("%s@%s is not to mean %s: %v", m.Name, want.Name, want.Digest, err)
			refused = append(refused, note)
			told = append(told, change{want.Name, want.Digest, resultRefused, why, note})
			if reason == "" {
				reason = why
			}
			if has != nil {
				holds = append(holds, *has)
			}
			continue
		}
		holds = append(holds, moved(has, want, evaluation, at))
		told = append(told, change{want.Name, want.Digest, resultPromoted, "Promoted", fmt.Sprintf("%s@%s means %s now", m.Name, want.Name, want.Digest)})
	}
	m.Status.Aliases = holds
	return told, refused, reason
}

func held(m *v1alpha1.Model, name string) *v1alpha1.ModelAliasStatus {
	for i := range m.Status.Aliases {
		if m.Status.Aliases[i].Name == name {
			return &m.Status.Aliases[i]
		}
	}
	return nil
}

// moved is an alias after it came to mean what is wanted.
func moved(has *v1alpha1.ModelAliasStatus, want v1alpha1.ModelAlias, evaluation string, at metav1.Time) v1alpha1.ModelAliasStatus {
	out := v1alpha1.ModelAliasStatus{Name: want.Name, Digest: want.Digest, Since: &at, Evaluation: evaluation, Reason: want.Reason}
	if has == nil {
		return out
	}
	past := v1alpha1.ModelAliasPast{Digest: has.Digest, From: has.Since, To: &at, Evaluation: has.Evaluation, Reason: has.Reason}
	out.History = append([]v1alpha1.ModelAliasPast{past}, has.History...)
	out.History = out.History[:min(len(out.History), historyMax)]
	return out
}

// forget drops the oldest versions above versionsMax, and the one that a person asks
// to be forgotten; never one that something needs.
func forget(m *v1alpha1.Model) {
	present, past := needed(m)
	asked := m.Annotations[v1alpha1.AnnotationForget]
	kept := 0
	m.Status.Versions = slices.DeleteFunc(m.Status.Versions, func(v v1alpha1.ModelVersion) bool {
		switch {
		case present[v.Digest]:
			return false
		case v.Digest == asked:
			return true
		case past[v.Digest]:
			return false
		}
		kept++
		return kept > versionsMax
	})
}

// needed are the digests that the spec or an alias means or is to mean, and those that
// an alias has meant.
func needed(m *v1alpha1.Model) (present, past map[string]bool) {
	present, past = map[string]bool{m.Spec.Digest: true}, map[string]bool{}
	for _, a := range m.Spec.Aliases {
		present[a.Digest] = true
	}
	for _, a := range m.Status.Aliases {
		present[a.Digest] = true
		for _, p := range a.History {
			past[p.Digest] = true
		}
	}
	return present, past
}
