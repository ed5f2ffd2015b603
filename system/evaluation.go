package system

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/controller/evaluation"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// evaluator has m run the controller of Evaluations.
func evaluator(log *slog.Logger, m manager.Manager, clients kubernetes.Interface, store *registry.Client, mounts *mounter, copier string) error {
	c, err := evaluation.New(log, evaluation.Deps{
		Client: m.GetClient(), Live: m.GetAPIReader(), Mounter: mounts, Logs: &podLogs{clients}, Keeper: &reportKeeper{store},
		Events: m.GetEventRecorder(evaluation.Name), Clock: clock.RealClock{}, Metrics: metrics.Registry,
	}, evaluation.Config{Sandbox: "gvisor", CopyImage: copier, Gateway: gatewayInside}) // as the policy polder-sandbox says
	if err != nil {
		return err
	}
	return c.Register(m)
}

// podLogs reads what containers have printed.
type podLogs struct{ clients kubernetes.Interface }

// Read implements evaluation.Logs.
func (p *podLogs) Read(ctx context.Context, namespace, pod, container string, tail int64) (io.ReadCloser, error) {
	o := &corev1.PodLogOptions{Container: container, LimitBytes: ptr.To(int64(trial.LogBytesMax + 1))}
	if tail > 0 {
		o.TailLines = &tail
	}
	r, err := p.clients.CoreV1().Pods(namespace).GetLogs(pod, o).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of pod %s/%s: %w", namespace, pod, err)
	}
	return r, nil
}

// reportKeeper keeps reports of evaluations in the registry.
type reportKeeper struct{ store *registry.Client }

// Keep implements evaluation.Keeper.
func (k *reportKeeper) Keep(ctx context.Context, e *v1alpha1.Evaluation, reference string, report []byte) (v1alpha1.ReportReference, error) {
	subject := reference
	if reference == "" {
		reference = v1alpha1.ReportRepository(e.Namespace, e.Name)
	}
	_, ref, err := k.store.Repository(reference)
	if err != nil {
		return v1alpha1.ReportReference{}, err
	}
	var d digest.Digest
	note := map[string]string{v1alpha1.LabelEvaluation: e.Name}
	if subject == "" {
		d, err = pack.Put(ctx, k.store, reference, pack.TypeEvaluation, note, report)
	} else {
		d, err = pack.AttachTo(ctx, k.store, reference, digest.Digest(ref.Identifier()), pack.TypeEvaluation, note, report)
	}
	if err != nil {
		return v1alpha1.ReportReference{}, err
	}
	return v1alpha1.ReportReference{Reference: ref.Context().RepositoryStr() + "@" + d.String(), Digest: d.String()}, nil
}
