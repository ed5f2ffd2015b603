package system

import (
	"context"
	"log/slog"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/model/controller/distillation"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/recipes"
	"polder.dev/polder/system/bootstrap"
)

// registrar gives artifacts other names in the registry.
type registrar struct{ store *registry.Client }

// Register implements distillation.Registrar.
func (r registrar) Register(ctx context.Context, reference, repository string) (string, error) {
	return pack.Copy(ctx, r.store, reference, repository)
}

// distiller runs the controller of Distillations.
func distiller(log *slog.Logger, m ctrl.Manager, store *registry.Client, mounts *mounter) error {
	code, err := bootstrap.RecipesImage()
	if err != nil {
		return err
	}
	digest, err := recipes.Digest()
	if err != nil {
		return err
	}
	d, err := distillation.New(log, distillation.Deps{
		Client: m.GetClient(), Live: m.GetAPIReader(), Events: m.GetEventRecorder(distillation.Name),
		Mounter: mounts, Registrar: registrar{store}, Clock: clock.RealClock{}, Metrics: metrics.Registry,
	}, distillation.Config{Code: code, Recipes: digest})
	if err != nil {
		return err
	}
	return d.Register(m)
}
