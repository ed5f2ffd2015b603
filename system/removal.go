package system

import (
	"context"
	"errors"
	"log/slog"

	"github.com/opencontainers/go-digest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/model/controller/removal"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// artifacts removes what Models were made of.
type artifacts struct{ store *registry.Client }

// Remove implements removal.Remover.
func (a artifacts) Remove(ctx context.Context, repository, text string) error {
	d, err := digest.Parse(text)
	if err != nil {
		return nil // nothing can be called so
	}
	if err := pack.Remove(ctx, a.store, repository, d); !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	return nil
}

// remover runs the controller that removes artifacts of Models.
func remover(log *slog.Logger, m ctrl.Manager, store *registry.Client) error {
	c, err := removal.New(log, removal.Deps{
		Client: m.GetClient(), Live: m.GetAPIReader(), Events: m.GetEventRecorder(removal.Name),
		Remover: artifacts{store}, Clock: clock.RealClock{}, Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	return c.Register(m)
}
