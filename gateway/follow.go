package gateway

import (
	"context"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Follow has set told of each object of a kind that c sees, now and whenever it changes,
// and removed when it is gone. synced tells whether all have been told that were there.
func Follow[T client.Object](ctx context.Context, c cache.Cache, kind T, set, removed func(T)) (synced func() bool, err error) {
	i, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	on := func(f func(T)) func(any) {
		return func(o any) {
			if d, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if t, ok := o.(T); ok {
				f(t)
			}
		}
	}
	h, err := i.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: on(set), UpdateFunc: func(_, o any) { on(set)(o) }, DeleteFunc: on(removed),
	})
	if err != nil {
		return nil, err
	}
	return h.HasSynced, nil
}
