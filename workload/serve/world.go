package serve

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// world is what one reconciliation saw. Steps read it and change nothing in it.
type world struct {
	now time.Time
	svc *v1alpha1.InferenceService

	models   map[string]*v1alpha1.Model // that the service names, by name; missing: there is none
	names    []string                   // of all Models of the namespace
	runtime  *v1alpha1.Runtime          // nil: there is none by that name
	runtimes []string                   // the names of all there are
	nodes    []corev1.Node
	supply   workload.Supply

	sets     []appsv1.ReplicaSet // that the service controls
	pods     []corev1.Pod        // of the service, of this or an earlier one of the name
	warnings map[string]string   // why pods of a ReplicaSet cannot be made, by its name
}

// set returns the ReplicaSet of a revision, or nil.
func (w *world) set(revision string) *appsv1.ReplicaSet {
	i := slices.IndexFunc(w.sets, func(s appsv1.ReplicaSet) bool { return s.Name == revision })
	if i < 0 {
		return nil
	}
	return &w.sets[i]
}

// replicas are the pods of a ReplicaSet that are not being removed, by name.
func (w *world) replicas(set *appsv1.ReplicaSet) []corev1.Pod {
	if set == nil {
		return nil
	}
	var pods []corev1.Pod
	for _, p := range w.pods {
		if metav1.IsControlledBy(&p, set) && p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return pods
}

// desired is how many replicas a ReplicaSet is to have.
func desired(set *appsv1.ReplicaSet) int32 {
	if set == nil || set.Spec.Replicas == nil {
		return 0
	}
	return *set.Spec.Replicas
}

// ready reports whether a pod takes requests.
func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
