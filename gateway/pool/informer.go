package pool

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// CacheOptions bound what a cache holds for a Pool: pods and ReplicaSets of services, and
// of all objects not who wrote which field.
func CacheOptions() (map[client.Object]cache.ByObject, error) {
	of, err := labels.NewRequirement(v1alpha1.LabelService, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("gateway pool: %w", err)
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*of), Transform: cache.TransformStripManagedFields()}
	return map[client.Object]cache.ByObject{&corev1.Pod{}: ours, &appsv1.ReplicaSet{}: ours}, nil
}

// Follow has the pool told of what c sees. Each of the functions that are returned tells
// whether all that were there have been told.
func (p *Pool) Follow(ctx context.Context, c cache.Cache) ([]func() bool, error) {
	one, err := gateway.Follow(ctx, c, &v1alpha1.InferenceService{}, p.SetService,
		func(s *v1alpha1.InferenceService) { p.RemoveService(client.ObjectKeyFromObject(s)) })
	if err != nil {
		return nil, fmt.Errorf("watching services: %w", err)
	}
	two, err := gateway.Follow(ctx, c, &appsv1.ReplicaSet{}, p.SetReplicaSet,
		func(s *appsv1.ReplicaSet) {
			p.RemoveReplicaSet(client.ObjectKeyFromObject(s), s.Labels[v1alpha1.LabelService])
		})
	if err != nil {
		return nil, fmt.Errorf("watching revisions: %w", err)
	}
	three, err := gateway.Follow(ctx, c, &corev1.Pod{}, p.SetPod, func(o *corev1.Pod) { p.RemovePod(client.ObjectKeyFromObject(o)) })
	if err != nil {
		return nil, fmt.Errorf("watching replicas: %w", err)
	}
	return []func() bool{one, two, three}, nil
}
