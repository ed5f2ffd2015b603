package distillation

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/distil"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestC = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// cloud is a controller over an API server in memory; the test is the trainer and judge.
type cloud struct {
	*Reconciler
	t      *testing.T
	api    client.Client
	clock  *clocktesting.FakePassiveClock
	copied []string
	broken error // what the registry says, if it is out of order
}

func (c *cloud) Volume(_ context.Context, reference string) (string, error) {
	return strings.Replace(reference, "@", "-volume@", 1), c.broken
}

func (c *cloud) Register(_ context.Context, reference, repository string) (string, error) {
	_, digest, _ := strings.Cut(reference, "@")
	c.copied = append(c.copied, repository)
	return repository + "@" + digest, c.broken
}

func open(t *testing.T, objects ...client.Object) *cloud {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))}
	c.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Distillation{}, &v1alpha1.TrainJob{}, &v1alpha1.Evaluation{}, &v1alpha1.Model{}).Build()
	c.start()
	return c
}

// start makes a controller that remembers nothing, as after a crash.
func (c *cloud) start() {
	c.t.Helper()
	var err error
	c.Reconciler, err = New(slog.New(slog.DiscardHandler), Deps{
		Client: c.api, Live: c.api, Events: &events.FakeRecorder{}, Mounter: c, Registrar: c, Clock: c.clock, Metrics: prometheus.NewRegistry(),
	}, Config{Code: "system/recipes@" + digestA, Recipes: "r1"})
	if err != nil {
		c.t.Fatal(err)
	}
}

// look has the controller look until it changes nothing any more.
func (c *cloud) look() *v1alpha1.Distillation {
	c.t.Helper()
	key := client.ObjectKey{Namespace: "ns", Name: "digits"}
	for range 6 {
		c.start()
		if _, err := c.reconcile(c.t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
			c.t.Fatal(err)
		}
	}
	var d v1alpha1.Distillation
	c.get("digits", &d)
	return &d
}

func (c *cloud) get(name string, o client.Object) {
	c.t.Helper()
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, o); err != nil {
		c.t.Fatal(err)
	}
}

// finish ends a job as the trainer does: with a Model.
func (c *cloud) finish(job, digest string, metrics map[string]string) {
	c.t.Helper()
	var j v1alpha1.TrainJob
	c.get(job, &j)
	name := j.Spec.Output.Model
	ref := "models/ns/" + name + "@" + digest
	if err := c.api.Create(c.t.Context(), modelOf(name, digest, metrics)); err != nil {
		c.t.Fatal(err)
	}
	j.Status.State, j.Status.Model = v1alpha1.StateSucceeded, &v1alpha1.ModelReference{Name: name, Digest: digest, Reference: ref}
	c.status(&j)
}

func (c *cloud) status(o client.Object) {
	c.t.Helper()
	if err := c.api.Status().Update(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

func modelOf(name, digest string, metrics map[string]string) *v1alpha1.Model {
	return &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: v1alpha1.ModelSpec{Reference: "models/ns/" + name + "@" + digest, Digest: digest, Metrics: metrics}}
}

func distillation() *v1alpha1.Distillation {
	return &v1alpha1.Distillation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "digits", UID: "12345678"},
		Spec: v1alpha1.DistillationSpec{
			Method: v1alpha1.MethodLogits, Teacher: &v1alpha1.Teacher{Model: "big"}, Student: v1alpha1.Student{Recipe: "logits"},
			Data: v1alpha1.EvaluationData{Image: "data/ns/x@" + digestA}, Held: &v1alpha1.EvaluationData{Image: "data/ns/y@" + digestA},
			Output: v1alpha1.Output{Model: "small", Licence: "Apache-2.0"},
		},
	}
}

var good = map[string]string{"test_accuracy": "0.97", "test_majority_accuracy": "0.1"}

func (c *cloud) want(d *v1alpha1.Distillation, state v1alpha1.State, stage, message string) {
	c.t.Helper()
	if d.Status.State != state || d.Status.Stage != stage || !strings.Contains(d.Status.Message, message) {
		c.t.Fatalf("it is %s in stage %q: %s; want %s, %q, %q", d.Status.State, d.Status.Stage, d.Status.Message, state, stage, message)
	}
}

// toEvaluation brings a distillation to where its student is judged.
func (c *cloud) toEvaluation() {
	c.t.Helper()
	c.want(c.look(), v1alpha1.StateRunning, "teacher", "")
	c.finish("digits-t1234", digestB, nil)
	c.want(c.look(), v1alpha1.StateRunning, "student", "")
	c.finish("digits-s1234", digestC, good)
	c.want(c.look(), v1alpha1.StateRunning, "evaluation", "")
}

func (c *cloud) judged(passed bool, unmet ...string) {
	c.t.Helper()
	var e v1alpha1.Evaluation
	c.get("digits-e1234", &e)
	e.Status.State, e.Status.Passed, e.Status.Unmet, e.Status.Verdict = v1alpha1.StateSucceeded, passed, unmet, "no significant difference"
	c.status(&e)
}

func TestFromTeacherToModel(t *testing.T) {
	have := modelOf("small", digestA, nil)
	have.Spec.Aliases = []v1alpha1.ModelAlias{{Name: "production", Digest: digestA}}
	have.Status.Versions = []v1alpha1.ModelVersion{{Digest: digestA}}
	c := open(t, distillation(), modelOf("big", digestA, nil), have)
	c.toEvaluation()
	var student v1alpha1.TrainJob
	c.get("digits-s1234", &student)
	if a := student.Spec.Data[len(student.Spec.Data)-1]; a.Name != "answers" || !strings.HasSuffix(a.Image, digestB) {
		t.Errorf("the student learns from %+v", a)
	}
	var m v1alpha1.Model
	if c.get("small", &m); m.Spec.Digest != digestA || c.copied != nil {
		t.Fatalf("a student that was not judged is registered: %s", m.Spec.Digest)
	}
	c.judged(true)
	d := c.look()
	c.want(d, v1alpha1.StateSucceeded, "", "no significant difference")
	c.get("small", &m)
	if m.Spec.Digest != digestC || m.Spec.Reference != "models/ns/small@"+digestC || len(m.Spec.Aliases) != 1 {
		t.Errorf("the model is %+v", m.Spec)
	}
	if d.Status.Model == nil || d.Status.Model.Digest != digestC || d.Status.Evaluation != "digits-e1234" || len(d.Status.Stages) != 3 {
		t.Errorf("the status is %+v", d.Status)
	}
}

func TestAnswersAreTakenAgain(t *testing.T) {
	d := distillation()
	key := distil.Key(d, &distil.Found{Teacher: &distil.Source{Digest: digestA}, DataDigest: digestA, Recipes: "r1"})
	c := open(t, d, modelOf("big", digestA, nil), modelOf(distil.AnswersName(key), digestB, nil))
	got := c.look()
	c.want(got, v1alpha1.StateRunning, "student", "")
	if s := got.Status.Stages[0]; s.Name != "teacher" || s.State != v1alpha1.StateSucceeded || !strings.Contains(s.Message, "already") || s.Job != "" {
		t.Errorf("the teacher's stage is %+v", s)
	}
	var jobs v1alpha1.TrainJobList
	if err := c.api.List(t.Context(), &jobs); err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d jobs run, %v", len(jobs.Items), err)
	}
}

// TestTheTeacherIsPinned: an alias that moves meanwhile does not change who taught.
func TestTheTeacherIsPinned(t *testing.T) {
	c := open(t, distillation(), modelOf("big", digestA, nil))
	c.look()
	var m v1alpha1.Model
	c.get("big", &m)
	m.Spec.Digest = digestB
	if err := c.api.Update(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	c.finish("digits-t1234", digestB, nil)
	c.want(c.look(), v1alpha1.StateRunning, "student", "")
}

func TestWhatIsNotThereIsAwaited(t *testing.T) {
	d := distillation()
	d.Spec.Held = &v1alpha1.EvaluationData{Dataset: "later"}
	c := open(t, d)
	c.want(c.look(), v1alpha1.StatePending, "", "no Model big")
	if err := c.api.Create(t.Context(), modelOf("big", digestA, nil)); err != nil {
		t.Fatal(err)
	}
	c.want(c.look(), v1alpha1.StatePending, "", "no Dataset later")
}

// TestAnAliasIsFollowedOnce: at the first look, and what has none waits.
func TestAnAliasIsFollowedOnce(t *testing.T) {
	d := distillation()
	d.Spec.Teacher.Model = "big@production"
	big := modelOf("big", digestA, nil)
	c := open(t, d, big)
	c.want(c.look(), v1alpha1.StatePending, "", "has no alias production")
	c.get("big", big)
	big.Status.Versions = []v1alpha1.ModelVersion{{Digest: digestB, Reference: "models/ns/big@" + digestB}}
	big.Status.Aliases = []v1alpha1.ModelAliasStatus{{Name: "production", Digest: digestB}}
	c.status(big)
	got := c.look()
	c.want(got, v1alpha1.StateRunning, "teacher", "")
	if got.Status.Teacher == nil || got.Status.Teacher.Digest != digestB {
		t.Errorf("the teacher is %+v", got.Status.Teacher)
	}
}

func TestBadEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(c *cloud)
		state v1alpha1.State
		want  string
	}{
		"requirements unmet": {func(c *cloud) { c.toEvaluation(); c.judged(false, "accuracy is 0.9, and must be at least 0.96.") },
			v1alpha1.StateFailed, "must be at least 0.96.; the student is not registered, and kept as Model digits-candidate"},
		"did not learn": {func(c *cloud) {
			c.look()
			c.finish("digits-t1234", digestB, nil)
			c.look()
			c.finish("digits-s1234", digestC, map[string]string{"test_accuracy": "0.1", "test_majority_accuracy": "0.1"})
		}, v1alpha1.StateFailed, "did not learn"},
		"teacher failed": {func(c *cloud) {
			c.look()
			var j v1alpha1.TrainJob
			c.get("digits-t1234", &j)
			j.Status.State, j.Status.Message = v1alpha1.StateFailed, "the endpoint does not answer"
			c.status(&j)
		}, v1alpha1.StateFailed, "the endpoint does not answer"},
		"evaluation failed": {func(c *cloud) {
			c.toEvaluation()
			var e v1alpha1.Evaluation
			c.get("digits-e1234", &e)
			e.Status.State, e.Status.Message = v1alpha1.StateFailed, "there are no labels"
			c.status(&e)
		}, v1alpha1.StateFailed, "there are no labels"},
		"cancelled": {func(c *cloud) {
			c.look()
			var d v1alpha1.Distillation
			c.get("digits", &d)
			d.Spec.Cancel = true
			if err := c.api.Update(c.t.Context(), &d); err != nil {
				c.t.Fatal(err)
			}
		}, v1alpha1.StateCancelled, "kept"},
		"another took the candidate's name": {func(c *cloud) {
			c.toEvaluation()
			var m v1alpha1.Model
			c.get("digits-candidate", &m)
			m.Spec.Digest = digestA
			if err := c.api.Update(c.t.Context(), &m); err != nil {
				c.t.Fatal(err)
			}
		}, v1alpha1.StateFailed, "is another"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, distillation(), modelOf("big", digestA, nil))
			tc.do(c)
			c.want(c.look(), tc.state, "", tc.want)
			if c.copied != nil {
				t.Errorf("it was registered: %v", c.copied)
			}
			var jobs v1alpha1.TrainJobList
			if err := c.api.List(t.Context(), &jobs); err != nil {
				t.Fatal(err)
			}
			for _, j := range jobs.Items {
				if !j.Status.State.Done() && !j.Spec.Cancel {
					t.Errorf("job %s goes on", j.Name)
				}
			}
		})
	}
}

// TestBudgetEndsWhatRuns: at the moment that the hours are used up, not later.
func TestBudgetEndsWhatRuns(t *testing.T) {
	d := distillation()
	d.Spec.Budget.AcceleratorHours = "0.5"
	c := open(t, d, modelOf("big", digestA, nil))
	c.look()
	var j v1alpha1.TrainJob
	c.get("digits-t1234", &j)
	j.Status.State, j.Status.StartTime = v1alpha1.StateRunning, &metav1.Time{Time: c.clock.Now()}
	c.status(&j)
	c.clock.SetTime(c.clock.Now().Add(29*time.Minute + 59*time.Second))
	c.want(c.look(), v1alpha1.StateRunning, "teacher", "")
	r, err := c.reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d)})
	if err != nil || r.RequeueAfter > 1100*time.Millisecond {
		t.Errorf("it looks again after %v, when a second is left: %v", r.RequeueAfter, err)
	}
	c.clock.SetTime(c.clock.Now().Add(2 * time.Second))
	got := c.look()
	c.want(got, v1alpha1.StateFailed, "", "budget of 0.5 accelerator-hours is used up: distil again with a larger one; answers under way are kept where cacheBucket")
	if c.get("digits-t1234", &j); !j.Spec.Cancel {
		t.Error("the teacher goes on")
	}
	if got.Status.Used.AcceleratorHours != "0.5003" {
		t.Errorf("used are %s hours", got.Status.Used.AcceleratorHours)
	}
}

// TestAPolicyIsJudgedByItsRewards: no evaluation could say what is right.
func TestAPolicyIsJudgedByItsRewards(t *testing.T) {
	for name, tc := range map[string]struct {
		metrics map[string]string
		state   v1alpha1.State
		want    string
	}{
		"rewarded":    {map[string]string{"test_reward": "0.8", "test_constant_reward": "0.2"}, v1alpha1.StateSucceeded, "rewarded by 0.8 on average; always the same one by 0.2"},
		"too little":  {map[string]string{"test_reward": "0.4", "test_constant_reward": "0.2"}, v1alpha1.StateFailed, "at least 0.5 is required.; the student is not registered"},
		"not at all":  {map[string]string{"test_reward": "0.2", "test_constant_reward": "0.2"}, v1alpha1.StateFailed, "did not learn"},
		"as it began": {map[string]string{"test_reward": "0.8", "test_constant_reward": "0.2", "before_reward": "0.8"}, v1alpha1.StateFailed, "were by 0.8 before"},
	} {
		t.Run(name, func(t *testing.T) {
			d := distillation()
			d.Spec.Method, d.Spec.Teacher = v1alpha1.MethodReinforce, nil
			d.Spec.Student = v1alpha1.Student{Recipe: "reinforce", Parameters: map[string]string{"actions": "odd,even"}}
			d.Spec.Requirements = []v1alpha1.EvaluationRequirement{{Metric: "reward", Min: "0.5"}}
			c := open(t, d)
			c.want(c.look(), v1alpha1.StateRunning, "student", "")
			c.finish("digits-s1234", digestC, tc.metrics)
			got := c.look()
			c.want(got, tc.state, "", tc.want)
			if registered := len(c.copied) > 0; registered != (tc.state == v1alpha1.StateSucceeded) || got.Status.Evaluation != "" {
				t.Errorf("registered as %v, judged by %q", c.copied, got.Status.Evaluation)
			}
		})
	}
}

// TestTheRegistryIsOutOfOrder: what cannot be done is tried again, and nothing half made.
func TestTheRegistryIsOutOfOrder(t *testing.T) {
	c := open(t, distillation(), modelOf("big", digestA, nil))
	c.broken = errors.New("connection refused")
	if _, err := c.reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "ns", Name: "digits"}}); err == nil {
		t.Error("it was passed over")
	}
	c.broken = nil
	c.want(c.look(), v1alpha1.StateRunning, "teacher", "")
}
