package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
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

// kubelet is the finalizer by which a pod of the fake cluster outlives its
// deletion until the test says that its containers have ended.
const kubelet = "test/kubelet"

// cluster is a fake API server, and the test plays everybody in it but the
// train controller.
type cluster struct {
	t         *testing.T
	client    client.WithWatch
	clock     *clocktesting.FakePassiveClock
	events    *events.FakeRecorder
	volume    string
	publisher *publisher
	r         *Reconciler
	uids      int
	refuse    func(client.Object) error // of a Create, if it returns an error
	always    bool                      // a new controller for every look
}

// publisher remembers what it was given, and fails when told to.
type publisher struct {
	fail  error
	calls []Publication
}

func (p *publisher) Publish(_ context.Context, pub Publication) (string, string, int64, error) {
	p.calls = append(p.calls, pub)
	if p.fail != nil {
		return "", "", 0, p.fail
	}
	return digestC, "models/" + pub.Namespace + "/" + pub.Name + "@" + digestC, 42, nil
}

// Root makes a cluster the Volumes of its controller.
func (c *cluster) Root(_ context.Context, claim *corev1.PersistentVolumeClaim) (*os.Root, error) {
	if claim.Status.Phase != corev1.ClaimBound {
		return nil, errors.New("not bound")
	}
	return os.OpenRoot(c.volume)
}

// option changes a cluster before it starts.
type option func(*apimeta.DefaultRESTMapper, *[]client.Object)

func withoutGangs(m *apimeta.DefaultRESTMapper, _ *[]client.Object) {
	*m = *apimeta.NewDefaultRESTMapper(nil)
	addKinds(m, false)
}

func with(objects ...client.Object) option {
	return func(_ *apimeta.DefaultRESTMapper, to *[]client.Object) { *to = append(*to, objects...) }
}

func addKinds(m *apimeta.DefaultRESTMapper, gangs bool) {
	for _, kind := range []string{"Pod", "Service", "PersistentVolumeClaim", "Event"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	m.Add(corev1.SchemeGroupVersion.WithKind("Node"), apimeta.RESTScopeRoot)
	m.Add(batchv1.SchemeGroupVersion.WithKind("Job"), apimeta.RESTScopeNamespace)
	m.Add(v1alpha1.GroupVersion.WithKind("TrainJob"), apimeta.RESTScopeNamespace)
	m.Add(v1alpha1.GroupVersion.WithKind("Model"), apimeta.RESTScopeNamespace)
	m.Add(v1alpha1.GroupVersion.WithKind("Runtime"), apimeta.RESTScopeRoot)
	if gangs {
		m.Add(schedulingv1beta1.SchemeGroupVersion.WithKind("PodGroup"), apimeta.RESTScopeNamespace)
	}
}

func newCluster(t *testing.T, opts ...option) *cluster {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, clock: clocktesting.NewFakePassiveClock(epoch), events: events.NewFakeRecorder(1000),
		volume: t.TempDir(), publisher: &publisher{},
	}
	mapper := apimeta.NewDefaultRESTMapper(nil)
	addKinds(mapper, true)
	objects := []client.Object{pytorch(), node("one", "4", "8Gi")}
	for _, o := range opts {
		o(mapper, &objects)
	}
	c.client = fake.NewClientBuilder().WithScheme(s).WithRESTMapper(mapper).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.TrainJob{}, &v1alpha1.Model{}, &corev1.Pod{}, &batchv1.Job{}, &corev1.PersistentVolumeClaim{}).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}).
		WithInterceptorFuncs(interceptor.Funcs{Create: c.create}).Build()
	c.restart()
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
	return to.Create(ctx, o, opts...)
}

// restart gives the cluster a controller that remembers nothing.
func (c *cluster) restart() {
	c.t.Helper()
	r, err := New(slog.New(slog.DiscardHandler), Deps{
		Client: c.client, Live: c.client, Events: c.events, Volumes: c, Publisher: c.publisher,
		Clock: c.clock, Gauges: prometheus.NewRegistry(),
	}, Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.r = r
}

// look lets the controller work on the job until it wants to wait, and returns
// for how long.
func (c *cluster) look(name string) time.Duration {
	c.t.Helper()
	for range 50 {
		if c.always {
			c.restart()
		}
		before := c.job(name).ResourceVersion
		res, err := c.r.reconcile(c.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "lab", Name: name}})
		if err != nil {
			c.t.Fatalf("reconciling %s: %v", name, err)
		}
		if c.job(name).ResourceVersion == before && (res.RequeueAfter == 0 || res.RequeueAfter >= 500*time.Millisecond) {
			return res.RequeueAfter
		}
	}
	c.t.Fatalf("the controller does not come to rest; status: %+v", c.job(name).Status)
	return 0
}

// wait lets time pass, and then the controller look.
func (c *cluster) wait(name string, d time.Duration) {
	c.t.Helper()
	c.clock.SetTime(c.clock.Now().Add(d))
	c.look(name)
}

func (c *cluster) submit(job *v1alpha1.TrainJob) {
	c.t.Helper()
	if err := c.client.Create(c.t.Context(), job.DeepCopy()); err != nil {
		c.t.Fatal(err)
	}
	c.look(job.Name)
}

func (c *cluster) job(name string) *v1alpha1.TrainJob {
	c.t.Helper()
	var j v1alpha1.TrainJob
	if err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, &j); err != nil {
		c.t.Fatal(err)
	}
	return &j
}

// get reads one object; exists is false when it is not there.
func get[T client.Object](c *cluster, name string, into T) (_ T, exists bool) {
	c.t.Helper()
	err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, into)
	if client.IgnoreNotFound(err) != nil {
		c.t.Fatal(err)
	}
	return into, err == nil
}

// attempts lists the names of the Jobs there are.
func (c *cluster) attempts() []string {
	c.t.Helper()
	var jobs batchv1.JobList
	if err := c.client.List(c.t.Context(), &jobs, client.InNamespace("lab")); err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, j := range jobs.Items {
		names = append(names, j.Name)
	}
	slices.Sort(names)
	return names
}

func (c *cluster) pods() []corev1.Pod {
	c.t.Helper()
	var pods corev1.PodList
	if err := c.client.List(c.t.Context(), &pods, client.InNamespace("lab")); err != nil {
		c.t.Fatal(err)
	}
	return pods.Items
}

// schedule plays the Job controller and the volume's binder: it makes the pods
// of a Job, and binds the claim.
func (c *cluster) schedule(attempt string) {
	c.t.Helper()
	j, ok := get(c, attempt, &batchv1.Job{})
	if !ok {
		c.t.Fatalf("there is no Job %s, only %v", attempt, c.attempts())
	}
	for i := range int(*j.Spec.Completions) {
		p := &corev1.Pod{ObjectMeta: *j.Spec.Template.ObjectMeta.DeepCopy(), Spec: *j.Spec.Template.Spec.DeepCopy()}
		p.Namespace, p.Name, p.Finalizers = "lab", fmt.Sprintf("%s-%d", attempt, i), []string{kubelet}
		p.Annotations = map[string]string{indexAnnotation: strconv.Itoa(i)}
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))}
		p.Status.Phase = corev1.PodPending
		status := p.Status
		c.must(c.client.Create(c.t.Context(), p))
		p.Status = status
		c.must(c.client.Status().Update(c.t.Context(), p))
	}
	claim, ok := get(c, VolumeName(c.owner(j)), &corev1.PersistentVolumeClaim{})
	if !ok {
		c.t.Fatal("there is no volume claim")
	}
	claim.Status.Phase = corev1.ClaimBound
	c.must(c.client.Status().Update(c.t.Context(), claim))
}

func (c *cluster) owner(o client.Object) string { return metav1.GetControllerOf(o).Name }

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// set changes the status of one pod.
func (c *cluster) set(pod string, change func(*corev1.PodStatus)) {
	c.t.Helper()
	p, ok := get(c, pod, &corev1.Pod{})
	if !ok {
		c.t.Fatalf("there is no pod %s", pod)
	}
	change(&p.Status)
	c.must(c.client.Status().Update(c.t.Context(), p))
}

func runs(s *corev1.PodStatus) {
	s.Phase = corev1.PodRunning
	s.ContainerStatuses = []corev1.ContainerStatus{{
		Name: Container, ImageID: v1alpha1.RegistryHost + "/runtimes/pytorch-cpu@" + digestB,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
}

// ends makes a container end at the clock's time.
func (c *cluster) ends(code int32, reason, message string) func(*corev1.PodStatus) {
	at := metav1.NewTime(c.clock.Now())
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodFailed
		if code == 0 {
			s.Phase = corev1.PodSucceeded
		}
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: Container, ImageID: v1alpha1.RegistryHost + "/runtimes/pytorch-cpu@" + digestB,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, FinishedAt: at}},
		}}
	}
}

// runAll makes all workers of an attempt run.
func (c *cluster) runAll(name, attempt string) {
	c.t.Helper()
	c.schedule(attempt)
	for _, p := range c.pods() {
		if strings.HasPrefix(p.Name, attempt+"-") {
			c.set(p.Name, runs)
		}
	}
	c.look(name)
}

// finish ends a Job the way the Job controller does.
func (c *cluster) finish(attempt string, as batchv1.JobConditionType) {
	c.t.Helper()
	j, ok := get(c, attempt, &batchv1.Job{})
	if !ok {
		c.t.Fatalf("there is no Job %s", attempt)
	}
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: as, Status: corev1.ConditionTrue})
	c.must(c.client.Status().Update(c.t.Context(), j))
}

// succeed ends all workers of an attempt well.
func (c *cluster) succeed(attempt string) {
	c.t.Helper()
	for _, p := range c.pods() {
		if strings.HasPrefix(p.Name, attempt+"-") {
			c.set(p.Name, c.ends(0, "Completed", ""))
		}
	}
	c.finish(attempt, batchv1.JobComplete)
}

// reap plays the kubelet and the garbage collector: pods that were told to end,
// or whose Job is gone, disappear.
func (c *cluster) reap() {
	c.t.Helper()
	there := c.attempts()
	for _, p := range c.pods() {
		gone := p.DeletionTimestamp != nil
		if !gone && !slices.Contains(there, c.owner(&p)) {
			gone = true
			c.must(c.client.Delete(c.t.Context(), &p))
		}
		if gone {
			q, ok := get(c, p.Name, &corev1.Pod{})
			if !ok {
				continue
			}
			q.Finalizers = nil
			c.must(c.client.Update(c.t.Context(), q))
		}
	}
}

// write puts a file on the job's volume.
func (c *cluster) write(name, content string) {
	c.t.Helper()
	file := filepath.Join(c.volume, name)
	c.must(os.MkdirAll(filepath.Dir(file), 0o755))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	c.must(err)
	_, err = f.WriteString(content)
	c.must(errors.Join(err, f.Close()))
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

// expect checks the job's state and that its message holds every text.
func (c *cluster) expect(name string, state v1alpha1.State, texts ...string) *v1alpha1.TrainJob {
	c.t.Helper()
	j := c.job(name)
	if j.Status.State != state {
		c.t.Fatalf("state is %s, want %s; message: %s", j.Status.State, state, j.Status.Message)
	}
	for _, text := range texts {
		if !strings.Contains(j.Status.Message, text) {
			c.t.Errorf("message %q does not say %q", j.Status.Message, text)
		}
	}
	return j
}

func (c *cluster) condition(name, kind string, status metav1.ConditionStatus, reason string) {
	c.t.Helper()
	got := apimeta.FindStatusCondition(c.job(name).Status.Conditions, kind)
	if got == nil || got.Status != status || got.Reason != reason {
		c.t.Errorf("condition %s is %+v, want %s for %s", kind, got, status, reason)
	}
}

func pytorch() *v1alpha1.Runtime {
	return &v1alpha1.Runtime{
		ObjectMeta: metav1.ObjectMeta{Name: "pytorch"},
		Spec: v1alpha1.RuntimeSpec{Framework: "pytorch", Version: "1.13.1", Variants: []v1alpha1.RuntimeVariant{
			{Software: "cpu", Image: "runtimes/pytorch-cpu"},
			{Software: "cuda", Image: "docker.io/pytorch/pytorch:2.0"},
		}},
	}
}

func node(name, cpu, memory string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
		Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
		Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	}}
}

// digits is a job of n workers.
func digits(n int32) *v1alpha1.TrainJob {
	return &v1alpha1.TrainJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "digits"},
		Spec: v1alpha1.TrainJobSpec{
			Runtime: "pytorch", Code: v1alpha1.Code{Image: "code/lab/digits@" + digestA},
			Command: []string{"python3", "train.py"}, Workers: n, Parameters: map[string]string{"lr": "0.1"},
		},
	}
}
