package route

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// API writes the status of routes to the API server.
type API struct {
	// Live reads and writes without a cache, so that what is changed is what is there.
	Live client.Client
}

var _ Status = API{}

// tries of one change, when others write at the same time.
const tries = 3

// Write implements Status. A route that is gone is no error.
func (a API) Write(ctx context.Context, route types.NamespacedName, change func(*v1alpha1.ModelRoute)) (err error) {
	for range tries {
		var have v1alpha1.ModelRoute
		if err = a.Live.Get(ctx, route, &have); err == nil {
			next := have.DeepCopy()
			change(next)
			err = a.Live.Status().Patch(ctx, next, client.MergeFromWithOptions(&have, client.MergeFromWithOptimisticLock{}))
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("writing the status of route %s: %w", route, err)
	}
	return nil
}
