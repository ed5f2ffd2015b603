package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestC = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

var epoch = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// cluster is a fake API server, and the test plays everybody in it but the controller.
type cluster struct {
	t      *testing.T
	client client.WithWatch
	clock  *clocktesting.FakePassiveClock
	events *events.FakeRecorder
	gauges *prometheus.Registry
	r      *Reconciler
	uids   int
	refuse func(client.Object) error // of a Create, if it returns an error
	broken error                     // of a model's files
}

// Volume makes a cluster the Mounter of its controller.
func (c *cluster) Volume(_ context.Context, reference string) (string, error) {
	repository, digest, _ := strings.Cut(reference, "@")
	return repository + "@sha256:f" + strings.TrimPrefix(digest, "sha256:")[1:], c.broken
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, clock: clocktesting.NewFakePassiveClock(epoch), events: events.NewFakeRecorder(1000), gauges: prometheus.NewRegistry()}
	objects = append([]client.Object{onnx(), model("digits", digestA)}, objects...)
	c.client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.InferenceService{}, &v1alpha1.Model{}, &corev1.Pod{}, &appsv1.ReplicaSet{}).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}).
		WithInterceptorFuncs(interceptor.Funcs{Create: c.create}).Build()
	r, err := New(slog.New(slog.DiscardHandler), Deps{
		Client: c.client, Replicas: c.client, Mounter: c, Live: c.client, Events: c.events, Clock: c.clock, Gauges: c.gauges,
	}, Config{Gateway: "https://gateway:8443"})
	if err != nil {
		t.Fatal(err)
	}
	c.r = r
	return c
}

// create plays the API server's part in a creation.
func (c *cluster) create(ctx context.Context, to client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if c.refuse != nil {
		if err := c.refuse(o); err != nil {
			return err
		}
	}
	c.uids++
	o.SetUID(types.UID("uid-" + strconv.Itoa(c.uids)))
	o.SetCreationTimestamp(metav1.NewTime(c.clock.Now()))
	o.SetGeneration(1)
	return to.Create(ctx, o, opts...)
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// look lets the controller work until it wants to wait, and returns for how long.
func (c *cluster) look() time.Duration {
	c.t.Helper()
	for range 50 {
		before := c.svc().ResourceVersion
		sets := len(c.sets())
		res, err := c.r.reconcile(c.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "lab", Name: "svc"}})
		c.must(err)
		if c.svc().ResourceVersion == before && len(c.sets()) == sets && (res.RequeueAfter == 0 || res.RequeueAfter > soon) {
			return res.RequeueAfter
		}
	}
	c.t.Fatalf("the controller does not come to rest; status: %+v", c.svc().Status)
	return 0
}

// wait lets time pass, and then the controller look.
func (c *cluster) wait(d time.Duration) {
	c.t.Helper()
	c.clock.SetTime(c.clock.Now().Add(d))
	c.look()
}

func (c *cluster) submit(svc *v1alpha1.InferenceService) {
	c.t.Helper()
	c.must(c.client.Create(c.t.Context(), svc))
	c.look()
}

// change edits the spec as a person does.
func (c *cluster) change(edit func(*v1alpha1.InferenceServiceSpec)) {
	c.t.Helper()
	svc := c.svc()
	edit(&svc.Spec)
	svc.Generation++
	c.must(c.client.Update(c.t.Context(), svc))
	c.look()
}

func (c *cluster) svc() *v1alpha1.InferenceService {
	c.t.Helper()
	var svc v1alpha1.InferenceService
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: "svc"}, &svc))
	return &svc
}

// sets are the names of the ReplicaSets there are, sorted.
func (c *cluster) sets() []string {
	c.t.Helper()
	var list appsv1.ReplicaSetList
	c.must(c.client.List(c.t.Context(), &list))
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func (c *cluster) set(name string) *appsv1.ReplicaSet {
	c.t.Helper()
	var s appsv1.ReplicaSet
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, &s))
	return &s
}

// scale plays the gateway.
func (c *cluster) scale(name string, n int32) {
	c.t.Helper()
	s := c.set(name)
	s.Spec.Replicas = ptr.To(n)
	c.must(c.client.Update(c.t.Context(), s))
	c.look()
}

// pods plays the controller of ReplicaSets and the kubelet: the ReplicaSet has as many
// pods as it is to have, and each is as change makes it.
func (c *cluster) pods(set string, change ...func(*corev1.PodStatus)) {
	c.t.Helper()
	c.podsOf(set, change...)
	c.look()
}

func (c *cluster) podsOf(set string, change ...func(*corev1.PodStatus)) {
	c.t.Helper()
	s := c.set(set)
	var list corev1.PodList
	c.must(c.client.List(c.t.Context(), &list, client.MatchingLabels{v1alpha1.LabelRevision: set}))
	for i := range list.Items {
		c.must(c.client.Delete(c.t.Context(), &list.Items[i]))
	}
	for i := range int(*s.Spec.Replicas) {
		p := &corev1.Pod{ObjectMeta: *s.Spec.Template.ObjectMeta.DeepCopy(), Spec: *s.Spec.Template.Spec.DeepCopy()}
		p.Namespace, p.Name = s.Namespace, fmt.Sprintf("%s-%d", set, i)
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
		c.must(c.client.Create(c.t.Context(), p))
		p.Status.Phase = corev1.PodPending
		if len(change) > 0 {
			change[min(i, len(change)-1)](&p.Status)
		}
		c.must(c.client.Status().Update(c.t.Context(), p))
	}
}

// What a pod may be like.
func up(s *corev1.PodStatus) {
	s.Phase = corev1.PodRunning
	s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	s.ContainerStatuses = []corev1.ContainerStatus{{Name: Container, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

func pending(*corev1.PodStatus) {}

func waits(reason, message string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: Container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	}
}

func crashed(code int32, reason, said string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodRunning
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: Container, RestartCount: 3,
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: said}},
		}}
	}
}

func homeless(s *corev1.PodStatus) {
	s.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient memory.",
	}}
}

// revisions are the status in short: "ROLE PERCENT DIGEST READY/REPLICAS", the newest
// first. A digest is its first letter.
func (c *cluster) revisions() []string {
	c.t.Helper()
	var out []string
	for _, r := range c.svc().Status.Revisions {
		digest := "-"
		if r.Model != nil {
			digest = strings.TrimPrefix(r.Model.Digest, "sha256:")[:1]
		}
		out = append(out, fmt.Sprintf("%s %d %s %d/%d", r.Role, r.Percent, digest, r.ReadyReplicas, r.Replicas))
	}
	return out
}

// expect compares the revisions.
func (c *cluster) expect(want ...string) {
	c.t.Helper()
	if got := c.revisions(); !slices.Equal(got, want) {
		c.t.Fatalf("revisions are %q, want %q", got, want)
	}
}

// name is that of the revision that serves a digest.
func (c *cluster) name(digest string) string {
	c.t.Helper()
	for _, r := range c.svc().Status.Revisions {
		if r.Model != nil && r.Model.Digest == digest {
			return r.Name
		}
	}
	c.t.Fatalf("no revision serves %s: %q", digest, c.revisions())
	return ""
}

func (c *cluster) condition(kind string, status metav1.ConditionStatus, reason string, says ...string) {
	c.t.Helper()
	got := apimeta.FindStatusCondition(c.svc().Status.Conditions, kind)
	if got == nil || got.Status != status || got.Reason != reason {
		c.t.Fatalf("condition %s is %+v, want %s for %s", kind, got, status, reason)
	}
	for _, text := range says {
		if !strings.Contains(got.Message, text) {
			c.t.Errorf("condition %s says %q, not %q", kind, got.Message, text)
		}
	}
}

// told drains the recorded events and reports whether one holds the text.
func (c *cluster) told(text string) bool {
	found := false
	for {
		select {
		case e := <-c.events.Events:
			found = found || strings.Contains(e, text)
		default:
			return found
		}
	}
}

// publish makes a digest the latest version of the model.
func (c *cluster) publish(digest string) {
	c.t.Helper()
	var m v1alpha1.Model
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: "digits"}, &m))
	m.Spec.Digest, m.Spec.Reference = digest, "models/lab/digits@"+digest
	c.must(c.client.Update(c.t.Context(), &m))
	c.look()
}

// promote makes an alias mean a digest.
func (c *cluster) promote(alias, digest string) {
	c.t.Helper()
	var m v1alpha1.Model
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: "digits"}, &m))
	m.Status.Aliases = []v1alpha1.ModelAliasStatus{{Name: alias, Digest: digest}}
	c.must(c.client.Status().Update(c.t.Context(), &m))
	c.look()
}

func onnx() *v1alpha1.Runtime {
	return &v1alpha1.Runtime{
		ObjectMeta: metav1.ObjectMeta{Name: "onnx"},
		Spec: v1alpha1.RuntimeSpec{Framework: "onnx", Version: "1.24.1", Variants: []v1alpha1.RuntimeVariant{
			{Software: "cpu", Image: "runtimes/onnx-cpu", Digest: digestC, Env: []corev1.EnvVar{{Name: "MINE", Value: "0"}}},
		}},
	}
}

func model(name, digest string) *v1alpha1.Model {
	return &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name},
		Spec:       v1alpha1.ModelSpec{Digest: digest, Reference: "models/lab/" + name + "@" + digest},
	}
}

// service serves a model with as many replicas at least.
func service(model string, least int32) *v1alpha1.InferenceService {
	return &v1alpha1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "svc"},
		Spec: v1alpha1.InferenceServiceSpec{
			Model: model, Runtime: "onnx", Protocol: v1alpha1.ProtocolV2, Port: 8080, TimeoutSeconds: 20,
			Scale: v1alpha1.Scale{Min: ptr.To(least), Max: 4},
		},
	}
}

func taken(name string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}}
}

func quotaSays(o client.Object) error {
	if _, ok := o.(*appsv1.ReplicaSet); ok {
		return apierrors.NewForbidden(appsv1.Resource("replicasets"), o.GetName(), errors.New("exceeded quota: small"))
	}
	return nil
}

func request() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "lab", Name: "svc"}}
}
