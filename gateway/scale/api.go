package scale

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AnnotationCost is what the controller of ReplicaSets reads before it takes pods away.
const AnnotationCost = corev1.PodDeletionCost

// API is the Writer to the API server.
type API struct{ Client client.Client }

var _ Writer = API{}

// Scale implements Writer.
func (a API) Scale(ctx context.Context, set types.NamespacedName, replicas int32) error {
	o := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: set.Name}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := a.Client.SubResource("scale").Patch(ctx, o, patch); err != nil {
		return fmt.Errorf("scaling %s to %d: %w", set, replicas, err)
	}
	return nil
}

// Expendable implements Writer. A pod that is gone already is no error.
func (a API) Expendable(ctx context.Context, pod types.NamespacedName) error {
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"-1000"}}}`, AnnotationCost))
	if err := a.Client.Patch(ctx, o, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("marking pod %s: %w", pod, err)
	}
	return nil
}
