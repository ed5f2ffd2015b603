package route

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// Follow has the router told of the routes that c sees.
func (t *Router) Follow(ctx context.Context, c cache.Cache) error {
	i, err := c.GetInformer(ctx, &v1alpha1.ModelRoute{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching routes: %w", err)
	}
	set := func(o any) {
		if r, ok := o.(*v1alpha1.ModelRoute); ok {
			t.Set(r)
		}
	}
	h, err := i.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: set, UpdateFunc: func(_, o any) { set(o) },
		DeleteFunc: func(o any) {
			if d, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if r, ok := o.(*v1alpha1.ModelRoute); ok {
				t.Remove(client.ObjectKeyFromObject(r))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching routes: %w", err)
	}
	t.told = append(t.told, h.HasSynced)
	return nil
}

// Synced tells whether everything that is there has been told.
func (t *Router) Synced() bool {
	for _, done := range t.told {
		if !done() {
			return false
		}
	}
	return len(t.told) > 0
}
