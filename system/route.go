package system

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/opencontainers/go-digest"
	ctrl "sigs.k8s.io/controller-runtime"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/controller/route"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// reports reads reports of evaluations from the registry.
type reports struct{ store *registry.Client }

// Read implements route.Reports.
func (r reports) Read(ctx context.Context, at *v1alpha1.ReportReference) (*eval.Report, error) {
	d, err := digest.Parse(at.Digest)
	if err != nil {
		return nil, fmt.Errorf("digest %q of the report: %w", at.Digest, err)
	}
	repository, _, _ := strings.Cut(at.Reference, "@")
	text, err := pack.ReadReferrer(ctx, r.store, repository, d, eval.BytesMax)
	if err != nil {
		return nil, err
	}
	return eval.Decode(text)
}

// router runs the controller of ModelRoutes.
func router(log *slog.Logger, m ctrl.Manager, store *registry.Client, gateway string) error {
	c, err := route.New(log, route.Deps{Client: m.GetClient(), Reports: reports{store}, Events: m.GetEventRecorder(route.Name)}, route.Config{Gateway: gateway})
	if err != nil {
		return err
	}
	return c.Register(m)
}
