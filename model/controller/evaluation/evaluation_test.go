package evaluation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/workload"
)

func digest(i int) string { return fmt.Sprintf("sha256:%064x", i) }

// cloud is a fake API server; the test plays everybody in it but the controller.
type cloud struct {
	t      *testing.T
	client client.WithWatch
	clock  *clocktesting.FakePassiveClock
	c      *Controller
	logs   map[string]string // by pod
	kept   [][]byte
	keeps  error // of the keeper
	absent bool  // the registry has nothing
	uids   int
}

func (c *cloud) Volume(_ context.Context, reference string) (string, error) {
	if c.absent {
		return "", fmt.Errorf("asking for %s: %w", reference, registry.ErrNotFound)
	}
	return strings.Replace(reference, "@", "-volume@", 1), nil
}

func (c *cloud) Read(_ context.Context, namespace, pod, container string, _ int64) (io.ReadCloser, error) {
	text, ok := c.logs[pod]
	if !ok || namespace != "lab" || container != Container {
		return nil, errors.New("there is no such container")
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (c *cloud) Keep(_ context.Context, e *v1alpha1.Evaluation, reference string, report []byte) (v1alpha1.ReportReference, error) {
	if c.keeps != nil {
		return v1alpha1.ReportReference{}, c.keeps
	}
	c.kept = append(c.kept, report)
	name, _, _ := strings.Cut(reference, "@")
	if reference == "" {
		name = v1alpha1.ReportRepository(e.Namespace, e.Name)
	}
	return v1alpha1.ReportReference{Reference: name + "@" + digest(99), Digest: digest(99)}, nil
}

func newCloud(t *testing.T, objects ...client.Object) *cloud {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)), logs: map[string]string{}}
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}, modelOf("small", 1), modelOf("large", 2))
	c.client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Evaluation{}, &v1alpha1.Dataset{}, &corev1.Pod{}, &batchv1.Job{}).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
		WithInterceptorFuncs(interceptor.Funcs{Create: c.create}).Build()
	c.restart()
	return c
}

// create plays the API server's part in a creation.
func (c *cloud) create(ctx context.Context, to client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	c.uids++
	o.SetUID(types.UID(fmt.Sprint("uid-", c.uids)))
	o.SetCreationTimestamp(metav1.NewTime(c.clock.Now()))
	return to.Create(ctx, o, opts...)
}

// restart gives the cloud a controller that remembers nothing.
func (c *cloud) restart() {
	c.t.Helper()
	k, err := New(slog.New(slog.DiscardHandler), Deps{
		Client: c.client, Live: c.client, Mounter: c, Logs: c, Keeper: c, Events: events.NewFakeRecorder(1000),
		Clock: c.clock, Metrics: prometheus.NewRegistry(),
	}, Config{Sandbox: "gvisor", CopyImage: "system/fetch@" + digest(7), Gateway: "https://gateway.example"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.c = k
}

func modelOf(name string, i int) *v1alpha1.Model {
	return &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: v1alpha1.ModelSpec{
		Reference: "models/lab/" + name + "@" + digest(i), Digest: digest(i)}}
}

func runtimeOf() *v1alpha1.Runtime {
	return &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: runtimeDefault}, Spec: v1alpha1.RuntimeSpec{
		Variants: []v1alpha1.RuntimeVariant{{Software: "cpu", Image: "runtimes/onnx-cpu", Digest: digest(5)}}}}
}

func frozen(name string) *v1alpha1.Dataset {
	d := &v1alpha1.Dataset{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: v1alpha1.DatasetSpec{Bucket: "data", Prefix: "digits/"}}
	d.Status.Manifest, d.Status.Digest = ".polder/m", digest(8)
	apimeta.SetStatusCondition(&d.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Frozen"})
	return d
}

// evaluation of two models on a data set.
func evaluation() *v1alpha1.Evaluation {
	return &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "judge"}, Spec: v1alpha1.EvaluationSpec{
		Models: []v1alpha1.EvaluatedModel{{Name: "small", Model: "small"}, {Name: "large", Model: "large"}},
		Task:   v1alpha1.TaskClassification, Data: v1alpha1.EvaluationData{Dataset: "held", File: "$(HOME).csv", Label: "digit"}, Seed: 4, DeadlineSeconds: 3600,
		Requirements: []v1alpha1.EvaluationRequirement{{Metric: "accuracy", Min: "0.9"}},
	}}
}

func (c *cloud) add(o client.Object) {
	c.t.Helper()
	status := o.DeepCopyObject().(client.Object)
	if err := c.client.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
	switch o := o.(type) {
	case *v1alpha1.Dataset:
		o.Status = status.(*v1alpha1.Dataset).Status
	case *corev1.Pod:
		o.Status = status.(*corev1.Pod).Status
	default:
		return
	}
	if err := c.client.Status().Update(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) get() *v1alpha1.Evaluation {
	c.t.Helper()
	e := &v1alpha1.Evaluation{}
	if err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: "judge"}, e); err != nil {
		c.t.Fatal(err)
	}
	return e
}

// job of the evaluation; nil: there is none.
func (c *cloud) job() *batchv1.Job {
	c.t.Helper()
	j := &batchv1.Job{}
	err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: JobName("judge")}, j)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

// look has a controller look until it wants to wait. A new one looks each time: it must
// need no memory.
func (c *cloud) look() *v1alpha1.Evaluation {
	c.t.Helper()
	for range 20 {
		c.restart()
		e := c.get()
		res, err := c.c.Reconcile(c.t.Context(), e.DeepCopy())
		if err != nil {
			c.t.Fatalf("reconciling: %v", err)
		}
		if now := c.get(); now.ResourceVersion == e.ResourceVersion && (res.RequeueAfter == 0 || res.RequeueAfter >= 500*time.Millisecond) {
			return now
		}
	}
	c.t.Fatal("the controller does not come to rest")
	return nil
}

// pod plays the Job controller and the kubelet.
func (c *cloud) pod(name string, phase corev1.PodPhase, states ...corev1.ContainerStatus) *corev1.Pod {
	c.t.Helper()
	j := c.job()
	if j == nil {
		c.t.Fatal("there is no Job")
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "lab", Name: name, Labels: map[string]string{batchv1.JobNameLabel: j.Name},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))},
	}, Spec: j.Spec.Template.Spec, Status: corev1.PodStatus{Phase: phase, ContainerStatuses: states}}
	c.add(p)
	return p
}

func (c *cloud) jobBecomes(kind batchv1.JobConditionType) {
	c.t.Helper()
	j := c.job()
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Message: "Job has reached the specified backoff limit"})
	if err := c.client.Status().Update(c.t.Context(), j); err != nil {
		c.t.Fatal(err)
	}
}

func terminated(code int32, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: Container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}
}

// planOf what the pod was told.
func (c *cloud) plan() *trial.Plan {
	c.t.Helper()
	for _, v := range c.job().Spec.Template.Spec.Containers[0].Env {
		if v.Name == trial.PlanVariable {
			p, err := trial.Decode(strings.ReplaceAll(v.Value, "$$", "$"))
			if err != nil {
				c.t.Fatal(err)
			}
			return p
		}
	}
	c.t.Fatal("the pod is told nothing")
	return nil
}

// output is what a pod prints when it has judged as it was told.
func (c *cloud) output(change func(*eval.Report)) string {
	c.t.Helper()
	p := c.plan()
	in := &eval.Input{Task: p.Task, Seed: p.Seed, Requirements: p.Requirements, Data: eval.Data{Digest: digest(3), Classes: []string{"a", "b"}}}
	for _, m := range p.Models {
		in.Models = append(in.Models, eval.Answered{Name: m.Name, Reference: m.Reference, Digest: m.Digest, Service: m.Service, Route: m.Route})
	}
	for i := range 200 {
		in.Rows, in.Expected = append(in.Rows, int64(i)), append(in.Expected, i%2)
		for j := range in.Models {
			answer := i % 2
			if i%(8-6*j) == 0 { // the second one errs much oftener
				answer = 1 - answer
			}
			in.Models[j].Predicted = append(in.Models[j].Predicted, answer)
		}
	}
	r, err := eval.Judge(in)
	if err != nil {
		c.t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	var out bytes.Buffer
	out.WriteString("polder-progress 400 400\n")
	if err := trial.Say(&out, r); err != nil {
		c.t.Fatal(err)
	}
	return out.String()
}

func TestStory(t *testing.T) {
	c := newCloud(t, runtimeOf())
	c.add(evaluation())
	if e := c.look(); e.Status.State != v1alpha1.StatePending || !strings.Contains(e.Status.Message, "there is no Dataset held") || c.job() != nil {
		t.Fatalf("without its data: %+v", e.Status)
	}
	c.add(frozen("held"))
	e := c.look()
	if !apimeta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionAccepted) || e.Status.Models[0].Model.Digest != digest(1) || e.Status.DataDigest != digest(8) {
		t.Fatalf("accepted: %+v", e.Status)
	}
	want := &trial.Plan{
		Task: eval.TaskClassification, Seed: 4, Threads: 1, Sandbox: "gvisor", Data: trial.Data{Dir: dirData, File: "$(HOME).csv", Label: "digit"},
		Models: []trial.Entrant{
			{Name: "small", Dir: "/polder/models/small", Reference: "models/lab/small@" + digest(1), Digest: digest(1)},
			{Name: "large", Dir: "/polder/models/large", Reference: "models/lab/large@" + digest(2), Digest: digest(2)},
		},
	}
	min := 0.9
	want.Requirements = []eval.Requirement{{Metric: "accuracy", Min: &min}}
	if d := cmp.Diff(want, c.plan()); d != "" {
		t.Errorf("what the pod is told (-want +got):\n%s", d)
	}
	c.pod("p-1", corev1.PodRunning)
	c.logs["p-1"] = "polder-progress 100 400\nhalf a li"
	if e := c.look(); e.Status.State != v1alpha1.StateRunning || e.Status.Done != 100 || e.Status.Total != 400 {
		t.Errorf("running: %+v", e.Status)
	}
	// The pod dies, and upstream starts another one.
	p := c.getPod("p-1")
	p.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{terminated(137, "Error", "")}}
	c.update(p)
	if e := c.look(); e.Status.State != v1alpha1.StatePending || !strings.Contains(e.Status.Message, "killed by signal 9") {
		t.Errorf("after a death: %+v", e.Status)
	}
	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	c.pod("p-2", corev1.PodSucceeded)
	c.logs["p-2"] = c.output(nil)
	if e := c.look(); e.Status.State != v1alpha1.StateRunning {
		t.Errorf("between the pod's end and the Job's it goes back: %+v", e.Status)
	}
	c.jobBecomes(batchv1.JobComplete)
	e = c.look()
	if e.Status.State != v1alpha1.StateSucceeded || e.Status.Passed || len(e.Status.Unmet) != 1 || e.Status.Rows != 200 {
		t.Fatalf("judged: %+v", e.Status)
	}
	if got := e.Status.Models[0].Metrics["accuracy"]; got.Value != "0.875" || got.Low == "" {
		t.Errorf("accuracy %+v", got)
	}
	if got := e.Status.Comparisons; len(got) != 1 || got[0].Verdict != "better" || got[0].With != "large" || got[0].Test != "mcnemar" {
		t.Errorf("comparisons %+v", got)
	}
	if e.Status.Report == nil || e.Status.Report.Digest != digest(99) || len(c.kept) != 1 {
		t.Errorf("report %+v, kept %d times", e.Status.Report, len(c.kept))
	}
	if c.job() != nil {
		t.Error("the Job is still there")
	}
	before := e.ResourceVersion
	if e := c.look(); e.ResourceVersion != before || c.job() != nil || len(c.kept) != 1 {
		t.Error("an evaluation that has ended is judged again")
	}
}

func (c *cloud) getPod(name string) *corev1.Pod {
	c.t.Helper()
	p := &corev1.Pod{}
	if err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, p); err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *cloud) update(o client.Object) {
	c.t.Helper()
	if err := c.client.Status().Update(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// ready is a cloud in which an evaluation has its Job.
func ready(t *testing.T) *cloud {
	t.Helper()
	c := newCloud(t, runtimeOf())
	c.add(frozen("held"))
	c.add(evaluation())
	c.look()
	if c.job() == nil {
		t.Fatal("there is no Job")
	}
	return c
}

func TestThePodIsConfined(t *testing.T) {
	c := ready(t)
	j := c.job()
	spec := j.Spec.Template.Spec
	if *spec.AutomountServiceAccountToken || !*spec.SecurityContext.RunAsNonRoot || len(spec.InitContainers) != 1 || len(spec.Containers) != 1 {
		t.Errorf("pod %+v", spec)
	}
	for _, k := range append(spec.InitContainers, spec.Containers...) {
		if s := k.SecurityContext; !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" {
			t.Errorf("container %s is free to do what it likes", k.Name)
		}
	}
	for _, v := range spec.Containers[0].Env {
		if strings.HasPrefix(v.Name, "AWS_") || v.ValueFrom != nil {
			t.Errorf("the container that judges has %s", v.Name)
		}
	}
	for _, m := range spec.Containers[0].VolumeMounts {
		if !m.ReadOnly && m.MountPath != "/tmp" {
			t.Errorf("%s can be written", m.MountPath)
		}
	}
	for _, v := range spec.InitContainers[0].Env {
		if v.Name != workload.EnvSources {
			continue
		}
		got, err := dataset.DecodeSources(v.Value)
		want := []dataset.Source{{Dir: dirData, Bucket: "data", Prefix: "digits/", Manifest: ".polder/m", Digest: digest(8)}}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%v: what is copied (-want +got):\n%s", err, d)
		}
	}
	if got := spec.Volumes[1].Image.Reference; got != workload.Reference("models/lab/small-volume@"+digest(1), "") {
		t.Errorf("the first model's image is %s", got)
	}
	if rules := j.Spec.PodFailurePolicy.Rules; rules[0].Action != batchv1.PodFailurePolicyActionFailJob || rules[0].OnExitCodes.Values[0] != 2 {
		t.Errorf("rules %+v", rules)
	}
}

// An alias that moves after the evaluation was accepted changes nothing.
func TestModelsArePinned(t *testing.T) {
	c := ready(t)
	m := &v1alpha1.Model{}
	key := client.ObjectKey{Namespace: "lab", Name: "small"}
	if err := c.client.Get(t.Context(), key, m); err != nil {
		t.Fatal(err)
	}
	m.Spec.Digest, m.Spec.Reference = digest(42), "models/lab/small@"+digest(42)
	if err := c.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Delete(t.Context(), c.job()); err != nil {
		t.Fatal(err)
	}
	c.look()
	if got := c.plan().Models[0].Digest; got != digest(1) {
		t.Errorf("judged is %s, accepted was %s", got, digest(1))
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.Evaluation)
		state  v1alpha1.State
		want   string
	}{
		"a model that is not there":  {func(e *v1alpha1.Evaluation) { e.Spec.Models[1].Model = "nobody" }, v1alpha1.StatePending, "spec.models[1].model: there is no Model nobody in namespace lab"},
		"an alias that is not there": {func(e *v1alpha1.Evaluation) { e.Spec.Models[0].Model = "small@production" }, v1alpha1.StatePending, "model small has no alias production"},
		"another runtime":            {func(e *v1alpha1.Evaluation) { e.Spec.Runtime = "pytorch" }, v1alpha1.StatePending, "there is no Runtime pytorch"},
		"an unknown metric":          {func(e *v1alpha1.Evaluation) { e.Spec.Requirements[0].Metric = "beauty" }, v1alpha1.StateFailed, "spec.requirements[0].metric: there is no \"beauty\""},
		"nothing asked":              {func(e *v1alpha1.Evaluation) { e.Spec.Requirements[0].Min = "" }, v1alpha1.StateFailed, "asks for nothing"},
		"an unknown rival":           {func(e *v1alpha1.Evaluation) { e.Spec.Requirements[0].NotWorseThan = "x" }, v1alpha1.StateFailed, "there are large"},
		"text":                       {func(e *v1alpha1.Evaluation) { e.Spec.Task = v1alpha1.TaskGeneration }, v1alpha1.StateFailed, "models in ONNX write no text"},
		"rows upside down":           {func(e *v1alpha1.Evaluation) { e.Spec.Data.Rows = &v1alpha1.RowRange{From: 5, To: 5} }, v1alpha1.StateFailed, "spec.data.rows"},
		"no image reference":         {func(e *v1alpha1.Evaluation) { e.Spec.Data = v1alpha1.EvaluationData{Image: "A B"} }, v1alpha1.StateFailed, "spec.data.image"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCloud(t, runtimeOf())
			k.add(frozen("held"))
			e := evaluation()
			c.change(e)
			k.add(e)
			got := k.look()
			if got.Status.State != c.state || !strings.Contains(got.Status.Message, c.want) || k.job() != nil {
				t.Errorf("%s: %q, want %s with %q", got.Status.State, got.Status.Message, c.state, c.want)
			}
		})
	}
}

func TestEndsBadly(t *testing.T) {
	for name, c := range map[string]struct {
		status corev1.ContainerStatus
		want   string
	}{
		"bad data":    {terminated(2, "Error", "noise\npolder-onnx: data: held.csv: line 3: column a is empty"), "data: held.csv: line 3: column a is empty"},
		"memory":      {terminated(137, "OOMKilled", ""), "raise spec.resources.memory"},
		"a crash":     {terminated(139, "Error", ""), "killed by signal 11"},
		"other codes": {terminated(7, "Error", "what?"), "exit code 7; what?"},
	} {
		t.Run(name, func(t *testing.T) {
			k := ready(t)
			k.pod("p", corev1.PodFailed, c.status)
			if e := k.look(); strings.Contains(e.Status.Message, "is started again") != (c.status.State.Terminated.ExitCode != exitWrong) {
				t.Errorf("before the Job has failed: %q", e.Status.Message)
			}
			k.jobBecomes(batchv1.JobFailed)
			e := k.look()
			if e.Status.State != v1alpha1.StateFailed || !strings.Contains(e.Status.Message, c.want) || e.Status.Passed {
				t.Errorf("%s: %q, want %q", e.Status.State, e.Status.Message, c.want)
			}
			if k.job() != nil {
				t.Error("the Job is still there")
			}
		})
	}
}

// A program stands between the answers and the verdict, and sees nothing else.
func TestProgram(t *testing.T) {
	torch := runtimeOf()
	torch.Name, torch.Spec.Variants[0].Image = "pytorch-cpu", "runtimes/pytorch-cpu"
	c := newCloud(t, runtimeOf(), torch)
	c.add(frozen("held"))
	e := evaluation()
	e.Spec.Program = &v1alpha1.EvaluationProgram{Runtime: "pytorch-cpu", Code: v1alpha1.Code{Image: "code/lab/judge@" + digest(6)}, Command: []string{"python3", "judge.py"}}
	e.Spec.Requirements = []v1alpha1.EvaluationRequirement{{Metric: "score", Min: "0.5"}}
	c.add(e)
	c.look()
	if !c.plan().Program {
		t.Error("the pod is told of no program")
	}
	spec := c.job().Spec.Template.Spec
	var names, sees []string
	for _, k := range append(spec.InitContainers, spec.Containers...) {
		names = append(names, k.Name)
		if s := k.SecurityContext; !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" {
			t.Errorf("container %s is free to do what it likes", k.Name)
		}
	}
	if d := cmp.Diff([]string{containerData, containerAnswer, containerProgram, Container}, names); d != "" {
		t.Fatalf("containers (-want +got):\n%s", d)
	}
	p := spec.InitContainers[2]
	for _, m := range p.VolumeMounts {
		sees = append(sees, fmt.Sprint(m.MountPath, " ", m.ReadOnly))
	}
	if d := cmp.Diff([]string{"/tmp false", "/polder/code true", trial.DirAnswers + " true", trial.DirScores + " false"}, sees); d != "" {
		t.Errorf("the program sees (-want +got):\n%s", d)
	}
	if want := []string{"/bin/sh", "-c", `exec "$@" </polder/answers/answers.jsonl >/polder/scores/scores.jsonl`, "sh", "python3", "judge.py"}; !cmp.Equal(want, p.Command) {
		t.Errorf("it is started as %q", p.Command)
	}
	if got := spec.Containers[0].VolumeMounts; len(got) != 3 || !got[1].ReadOnly || !got[2].ReadOnly {
		t.Errorf("the verdict is made with %+v", got)
	}
	pod := c.pod("p", corev1.PodPending)
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: containerProgram, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	c.update(pod)
	if e := c.look(); e.Status.State != v1alpha1.StateRunning || e.Status.Message != "the program judges the answers" {
		t.Errorf("%+v", e.Status)
	}
	pod = c.getPod("p")
	failed := terminated(3, "Error", "Traceback\nKeyError: 'x'")
	failed.Name = containerProgram
	pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: []corev1.ContainerStatus{failed}}
	c.update(pod)
	c.jobBecomes(batchv1.JobFailed)
	if e := c.look(); e.Status.State != v1alpha1.StateFailed || e.Status.Message != "the program that judges ended with exit code 3; KeyError: 'x'" {
		t.Errorf("%+v", e.Status)
	}
}

func TestDeadline(t *testing.T) {
	c := ready(t)
	c.clock.SetTime(c.clock.Now().Add(time.Hour))
	if e := c.look(); e.Status.State != v1alpha1.StateFailed || !strings.Contains(e.Status.Message, "3600 seconds") || c.job() != nil {
		t.Errorf("%+v", e.Status)
	}
}

func TestReportsThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		output func(*cloud) string
		want   string
	}{
		"none":            {func(*cloud) string { return "polder-progress 1 2\n" }, "no report"},
		"cut off":         {func(c *cloud) string { s := c.output(nil); return s[:len(s)-5] }, "no report"},
		"no JSON":         {func(*cloud) string { return "polder-report {\n" }, "reading report"},
		"another model":   {func(c *cloud) string { return c.output(func(r *eval.Report) { r.Models[0].Digest = digest(77) }) }, "reports of model"},
		"another task":    {func(c *cloud) string { return c.output(func(r *eval.Report) { r.Task = eval.TaskRegression }) }, "something else"},
		"no requirements": {func(c *cloud) string { return c.output(func(r *eval.Report) { r.Requirements, r.Passed = nil, true }) }, "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			k := ready(t)
			k.pod("p", corev1.PodSucceeded)
			k.logs["p"] = c.output(k)
			k.jobBecomes(batchv1.JobComplete)
			e := k.look()
			if e.Status.State != v1alpha1.StateFailed || !strings.Contains(e.Status.Message, c.want) || len(k.kept) != 0 || e.Status.Passed {
				t.Errorf("%s: %q, want %q", e.Status.State, e.Status.Message, c.want)
			}
		})
	}
}

// The registry is away, or the log cannot be read: nothing is lost, it is tried again.
func TestTroubleIsTriedAgain(t *testing.T) {
	c := ready(t)
	c.pod("p", corev1.PodSucceeded)
	c.jobBecomes(batchv1.JobComplete)
	if _, err := c.c.Reconcile(t.Context(), c.get()); err == nil {
		t.Error("a log that cannot be read is no error")
	}
	c.logs["p"] = c.output(nil)
	c.keeps = errors.New("the registry is away")
	if _, err := c.c.Reconcile(t.Context(), c.get()); err == nil || c.get().Status.State.Done() || c.job() == nil {
		t.Errorf("a report that cannot be kept: %v, %+v", err, c.get().Status)
	}
	c.keeps = nil
	if e := c.look(); e.Status.State != v1alpha1.StateSucceeded {
		t.Errorf("%+v", e.Status)
	}
}

// Somebody removes the pod before its report was read.
func TestPodRemovedTooEarly(t *testing.T) {
	c := ready(t)
	c.jobBecomes(batchv1.JobComplete)
	old := c.job().UID
	c.look()
	if j := c.job(); j == nil || j.UID == old {
		t.Error("it is not started again")
	}
}

// A cache that is behind shows an evaluation that has ended as if it had not.
func TestOldCacheStartsNothing(t *testing.T) {
	c := ready(t)
	old := c.get()
	c.pod("p", corev1.PodSucceeded)
	c.logs["p"] = c.output(nil)
	c.jobBecomes(batchv1.JobComplete)
	c.look()
	for range 3 {
		_, _ = c.c.Reconcile(t.Context(), old.DeepCopy()) // whether it is an error is of no interest
	}
	if c.job() != nil {
		t.Error("an evaluation that has ended got another Job")
	}
}

func TestArtifactIsGone(t *testing.T) {
	c := newCloud(t, runtimeOf())
	c.absent = true
	c.add(frozen("held"))
	c.add(evaluation())
	if e := c.look(); e.Status.State != v1alpha1.StateFailed || !strings.Contains(e.Status.Message, "the registry has no models/lab/small@") {
		t.Errorf("%+v", e.Status)
	}
}

// A Job of somebody else with the name stays, and is not taken for ours.
func TestForeignJob(t *testing.T) {
	c := newCloud(t, runtimeOf(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: JobName("judge"), UID: "foreign"}})
	c.add(frozen("held"))
	c.add(evaluation())
	if e := c.look(); !strings.Contains(e.Status.Message, "not this evaluation's") || c.job().UID != "foreign" {
		t.Errorf("%+v", e.Status)
	}
}

func TestDecimal(t *testing.T) {
	for v, want := range map[float64]string{0.96512345678: "0.965123", 1e-5: "0.00001", 0: "0", 123456789: "123457000", -0.25: "-0.25"} {
		if got := decimal(v); got != want {
			t.Errorf("%g is written %s, want %s", v, got, want)
		}
	}
}

func TestRBAC(t *testing.T) {
	for _, doc := range bytes.Split(RBAC, []byte("\n---\n")) {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal(doc, &role); err != nil {
			t.Fatal(err)
		}
		for _, r := range role.Rules {
			for _, w := range append(append(r.APIGroups, r.Resources...), r.Verbs...) {
				if w == "*" || w == "secrets" {
					t.Errorf("the controller may %v of %v", r.Verbs, r.Resources)
				}
			}
		}
	}
}
