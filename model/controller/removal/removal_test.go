package removal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
)

func digest(i int) string { return fmt.Sprintf("sha256:%064x", i) }

var key = client.ObjectKey{Namespace: "lab", Name: "ocr"}

// house is a namespace with the Model ocr of two versions, and a registry.
type house struct {
	t       *testing.T
	client  client.Client
	c       *Controller
	clock   *clocktesting.FakePassiveClock
	removed []string
	broken  error // what the registry says, if it is out of order
}

// Remove implements Remover.
func (h *house) Remove(_ context.Context, repository, digest string) error {
	if h.broken == nil {
		h.removed = append(h.removed, repository+"@"+digest)
	}
	return h.broken
}

func open(t *testing.T, objects ...client.Object) *house {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	m := modelOf("ocr", "models/lab/ocr", 2, 1)
	h := &house{t: t, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	h.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, m)...).WithStatusSubresource(&v1alpha1.Model{}).Build()
	var err error
	h.c, err = New(slog.New(slog.NewTextHandler(io.Discard, nil)), Deps{
		Client: h.client, Live: h.client, Events: events.NewFakeRecorder(10), Remover: h, Clock: h.clock, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// modelOf has the versions, the one published last first.
func modelOf(name, repository string, versions ...int) *v1alpha1.Model {
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}}
	m.Spec.Digest, m.Spec.Reference = digest(versions[0]), repository+"@"+digest(versions[0])
	for _, v := range versions {
		m.Status.Versions = append(m.Status.Versions, v1alpha1.ModelVersion{Digest: digest(v), Reference: repository + "@" + digest(v)})
	}
	return m
}

// look has the controller look once. The Model is nil when it is gone.
func (h *house) look() (*v1alpha1.Model, reconcile.Result) {
	h.t.Helper()
	r, err := reconcile.AsReconciler[*v1alpha1.Model](h.client, h.c).Reconcile(h.t.Context(), reconcile.Request{NamespacedName: key})
	if err != nil {
		h.t.Fatal(err)
	}
	m := &v1alpha1.Model{}
	if err := h.client.Get(h.t.Context(), key, m); apierrors.IsNotFound(err) {
		return nil, r
	} else if err != nil {
		h.t.Fatal(err)
	}
	return m, r
}

// remove asks for the Model to go, as kubectl does, after the controller has seen it.
func (h *house) remove() {
	h.t.Helper()
	m, _ := h.look()
	if !slices.Contains(m.Finalizers, v1alpha1.FinalizerArtifacts) {
		h.t.Fatalf("its finalizers are %v", m.Finalizers)
	}
	if err := h.client.Delete(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
}

// waits looks, and expects the Model to be there still, with a reason that says says.
func (h *house) waits(reason, says string) {
	h.t.Helper()
	m, r := h.look()
	if m == nil {
		h.t.Fatal("it is gone")
	}
	c := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionRemoved)
	if c == nil || c.Reason != reason || !strings.Contains(c.Message, says) || r.RequeueAfter == 0 {
		h.t.Errorf("condition %+v, next look in %v; want %s, %q", c, r.RequeueAfter, reason, says)
	}
}

func (h *house) gone(artifacts string, removed ...string) {
	h.t.Helper()
	if m, _ := h.look(); m != nil {
		h.t.Fatalf("it is there: %+v", m.Status.Conditions)
	}
	slices.Sort(h.removed)
	if !slices.Equal(h.removed, removed) {
		h.t.Errorf("removed are %v, want %v", h.removed, removed)
	}
	if n := testutil.ToFloat64(h.c.removed.WithLabelValues("lab", artifacts)); n != 1 {
		h.t.Errorf("counted as %s are %v", artifacts, n)
	}
}

func TestItsVersionsGo(t *testing.T) {
	h := open(t, modelOf("words", "models/lab/words", 1))
	h.remove()
	h.gone("removed", "models/lab/ocr@"+digest(1), "models/lab/ocr@"+digest(2))
}

// TestOthersStay: what another Model means, and what is not the namespace's.
func TestOthersStay(t *testing.T) {
	h := open(t, modelOf("copy", "models/lab/ocr", 1))
	m, _ := h.look()
	m.Status.Versions = append(m.Status.Versions, v1alpha1.ModelVersion{Digest: digest(3), Reference: "models/other/x@" + digest(3)}, v1alpha1.ModelVersion{Digest: digest(4), Reference: "models/lab/ocr:latest"})
	if err := h.client.Status().Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	h.remove()
	h.gone("removed", "models/lab/ocr@"+digest(2))
}

// TestWhatUsesItHoldsIt: until that has ended, or is to go itself.
func TestWhatUsesItHoldsIt(t *testing.T) {
	const volume = v1alpha1.RegistryHost + "/models/lab/ocr@sha256:00000000000000000000000000000000000000000000000000000000000000aa"
	meta := metav1.ObjectMeta{Namespace: "lab", Name: "user"}
	elsewhere := metav1.ObjectMeta{Namespace: "other", Name: "user"}
	going := metav1.ObjectMeta{Namespace: "lab", Name: "user", DeletionTimestamp: &metav1.Time{Time: time.Unix(1e9, 0)}, Finalizers: []string{"example.com/x"}}
	mounts := corev1.PodSpec{Volumes: []corev1.Volume{{Name: "m", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: volume}}}}}
	data := v1alpha1.TrainJobSpec{Data: []v1alpha1.DataSource{{Name: "from", Image: "models/lab/ocr@" + digest(1)}}}
	judged := v1alpha1.EvaluationSpec{Models: []v1alpha1.EvaluatedModel{{Name: "a", Model: "words"}, {Name: "b", Model: "ocr@production"}}}
	taught := v1alpha1.DistillationSpec{Teacher: &v1alpha1.Teacher{Model: "ocr"}}
	for name, tc := range map[string]struct {
		o    client.Object
		says string // "" it holds nothing
	}{
		"a pod that mounts it":              {&corev1.Pod{ObjectMeta: meta, Spec: mounts}, "pod user"},
		"a pod that runs it":                {&corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: volume}}}}, "pod user"},
		"a pod of another model":            {&corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: v1alpha1.RegistryHost + "/models/lab/ocr2:latest"}}}}, ""},
		"a pod that has ended":              {&corev1.Pod{ObjectMeta: meta, Spec: mounts, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}, ""},
		"a pod that is to go":               {&corev1.Pod{ObjectMeta: going, Spec: mounts}, ""},
		"a pod of another namespace":        {&corev1.Pod{ObjectMeta: elsewhere, Spec: mounts}, ""},
		"a job that waits":                  {&v1alpha1.TrainJob{ObjectMeta: meta, Spec: data}, "TrainJob user"},
		"a job that has ended":              {&v1alpha1.TrainJob{ObjectMeta: meta, Spec: data, Status: v1alpha1.TrainJobStatus{State: v1alpha1.StateFailed}}, ""},
		"a job that is to go":               {&v1alpha1.TrainJob{ObjectMeta: going, Spec: data}, ""},
		"an evaluation":                     {&v1alpha1.Evaluation{ObjectMeta: meta, Spec: judged}, "Evaluation user"},
		"an evaluation that has ended":      {&v1alpha1.Evaluation{ObjectMeta: meta, Spec: judged, Status: v1alpha1.EvaluationStatus{State: v1alpha1.StateSucceeded}}, ""},
		"a distillation with it as teacher": {&v1alpha1.Distillation{ObjectMeta: meta, Spec: taught}, "Distillation user"},
		"a distillation that begins from it": {&v1alpha1.Distillation{ObjectMeta: meta, Spec: v1alpha1.DistillationSpec{
			Student: v1alpha1.Student{From: "ocr@" + digest(1)}}}, "Distillation user"},
		"a distillation that has ended": {&v1alpha1.Distillation{ObjectMeta: meta, Spec: taught, Status: v1alpha1.DistillationStatus{State: v1alpha1.StateCancelled}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, tc.o)
			h.remove()
			if tc.says != "" {
				h.waits("InUse", tc.says)
				if h.removed != nil {
					t.Fatalf("removed are %v", h.removed)
				}
				if err := h.client.Delete(t.Context(), tc.o); err != nil {
					t.Fatal(err)
				}
			}
			h.gone("removed", "models/lab/ocr@"+digest(1), "models/lab/ocr@"+digest(2))
		})
	}
}

// TestTheRegistryIsOutOfOrder: it is asked again, and all is removed when it is well.
func TestTheRegistryIsOutOfOrder(t *testing.T) {
	h := open(t)
	h.broken = errors.New("connection refused")
	h.remove()
	h.waits("RegistryFailed", "connection refused")
	h.clock.SetTime(h.clock.Now().Add(9 * time.Minute))
	h.waits("RegistryFailed", "connection refused")
	h.broken = nil
	h.gone("removed", "models/lab/ocr@"+digest(1), "models/lab/ocr@"+digest(2))
}

// TestNothingWaitsForEver: not for a registry that never answers, whose ten minutes begin
// when nobody uses the model any more.
func TestNothingWaitsForEver(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "user"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "models/lab/ocr"}}}}
	h := open(t, pod)
	h.broken = errors.New("connection refused")
	h.remove()
	h.waits("InUse", "pod user")
	h.clock.SetTime(h.clock.Now().Add(time.Hour))
	if err := h.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	h.waits("RegistryFailed", "connection refused")
	h.clock.SetTime(h.clock.Now().Add(giveUpAfter - time.Second))
	h.waits("RegistryFailed", "connection refused")
	h.clock.SetTime(h.clock.Now().Add(2 * time.Second))
	h.gone("kept")
}

// TestAPersonKeepsTheArtifacts: by taking the finalizer away.
func TestAPersonKeepsTheArtifacts(t *testing.T) {
	h := open(t)
	h.broken = errors.New("connection refused")
	h.remove()
	h.waits("RegistryFailed", "connection refused")
	m, _ := h.look()
	m.Finalizers = nil
	if err := h.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if m, _ := h.look(); m != nil || h.removed != nil {
		t.Errorf("it is there: %v, removed are %v", m != nil, h.removed)
	}
}

func TestRoles(t *testing.T) {
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	first, second, _ := strings.Cut(string(RBAC), "\n---\n")
	if err := errors.Join(yaml.UnmarshalStrict([]byte(first), &role), yaml.UnmarshalStrict([]byte(second), &binding)); err != nil {
		t.Fatal(err)
	}
	if binding.RoleRef.Name != role.Name || len(binding.Subjects) != 1 {
		t.Errorf("role %s is bound as %+v", role.Name, binding)
	}
}
