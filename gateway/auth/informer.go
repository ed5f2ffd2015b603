package auth

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/internal/logs"
)

// CacheOptions bound what a cache holds for an Auth: of Secrets, keys alone.
func CacheOptions() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Field: fields.OneTermEqualSelector("type", v1alpha1.SecretAPIKey)},
	}
}

// Follow has a told of the keys and namespaces that c sees. Each of the functions that are
// returned tells whether all that were there have been told.
func (a *Auth) Follow(ctx context.Context, c cache.Cache) ([]func() bool, error) {
	one, err := gateway.Follow(ctx, c, &corev1.Secret{}, func(s *corev1.Secret) {
		if why := a.SetKey(s); why != "" {
			a.log.Warn("a Secret is no key for the gateway", logs.Namespace, s.Namespace, logs.Name, s.Name, "why", why)
		}
	}, func(s *corev1.Secret) { a.RemoveKey(client.ObjectKeyFromObject(s)) })
	if err != nil {
		return nil, fmt.Errorf("watching keys: %w", err)
	}
	other, err := gateway.Follow(ctx, c, &corev1.Namespace{}, a.SetNamespace, func(n *corev1.Namespace) { a.RemoveNamespace(n.Name) })
	if err != nil {
		return nil, fmt.Errorf("watching namespaces: %w", err)
	}
	return []func() bool{one, other}, nil
}
