package route

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
)

// house is a namespace with a route and its controller.
type house struct {
	t       *testing.T
	client  client.Client
	c       *Controller
	report  *eval.Report
	broken  error
	read    int
	events  *events.FakeRecorder
	looking client.ObjectKey
}

// Read implements Reports.
func (h *house) Read(context.Context, *v1alpha1.ReportReference) (*eval.Report, error) {
	h.read++
	return h.report, h.broken
}

func newHouse(t *testing.T, objects ...client.Object) *house {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, events: events.NewFakeRecorder(100), looking: client.ObjectKey{Namespace: "lab", Name: "ocr"}}
	h.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ModelRoute{}, &v1alpha1.Evaluation{}, &v1alpha1.InferenceService{}).Build()
	h.restart()
	return h
}

func (h *house) restart() {
	h.t.Helper()
	var err error
	h.c, err = New(slog.New(slog.DiscardHandler), Deps{Client: h.client, Reports: h, Events: h.events}, Config{Gateway: "https://gate:8448/"})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) route() *v1alpha1.ModelRoute {
	h.t.Helper()
	r := &v1alpha1.ModelRoute{}
	if err := h.client.Get(h.t.Context(), h.looking, r); err != nil {
		h.t.Fatal(err)
	}
	return r
}

// look has the controller look until nothing changes any more.
func (h *house) look() *v1alpha1.ModelRoute {
	h.t.Helper()
	for range 5 {
		r := h.route()
		if _, err := h.c.Reconcile(h.t.Context(), r.DeepCopy()); err != nil {
			h.t.Fatal(err)
		}
		if now := h.route(); now.ResourceVersion == r.ResourceVersion {
			return now
		}
	}
	h.t.Fatal("the controller writes without end")
	return nil
}

// change writes an object and looks.
func (h *house) change(o client.Object) *v1alpha1.ModelRoute {
	h.t.Helper()
	spec := o.DeepCopyObject().(client.Object) // each of the two takes back what it does not write
	if err := h.client.Update(h.t.Context(), spec); err != nil {
		h.t.Fatal(err)
	}
	o.SetResourceVersion(spec.GetResourceVersion())
	if err := h.client.Status().Update(h.t.Context(), o); err != nil {
		h.t.Fatal(err)
	}
	return h.look()
}

func expect(t *testing.T, r *v1alpha1.ModelRoute, kind, status, reason, says string) {
	t.Helper()
	c := meta.FindStatusCondition(r.Status.Conditions, kind)
	if c == nil || string(c.Status) != status || c.Reason != reason || !strings.Contains(c.Message, says) {
		t.Errorf("%s is %+v, want %s, %s, %q", kind, c, status, reason, says)
	}
}

func service(name, model, digest string, ready bool) *v1alpha1.InferenceService {
	s := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: v1alpha1.InferenceServiceSpec{Model: model}}
	s.Status.Revisions = []v1alpha1.Revision{{Name: name + "-1", Role: v1alpha1.RevisionStable, Model: &v1alpha1.ModelReference{Name: strings.Split(model, "@")[0], Digest: digest}}}
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: "False", Reason: "Failing", Message: "no room."}
	if ready {
		c.Status = "True"
	}
	meta.SetStatusCondition(&s.Status.Conditions, c)
	return s
}

func learner() *v1alpha1.ModelRoute {
	return &v1alpha1.ModelRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "ocr", Generation: 1},
		Spec: v1alpha1.ModelRouteSpec{
			Targets: []v1alpha1.RouteTarget{{Name: "small", Service: "student", Cost: "1"}, {Name: "large", Service: "teacher", Cost: "10"}},
			Rules: []v1alpha1.RouteRule{{Name: "all", Cascade: &v1alpha1.Cascade{
				Specialist: "small", General: "large", Learn: &v1alpha1.CascadeLearning{Evaluation: "both", EscalationMax: "0.3"},
			}}},
		},
	}
}

func evaluation() *v1alpha1.Evaluation {
	return &v1alpha1.Evaluation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "both"},
		Status: v1alpha1.EvaluationStatus{
			State: v1alpha1.StateSucceeded, Report: &v1alpha1.ReportReference{Reference: "models/lab/student@sha256:r1", Digest: "sha256:r1"},
			Models: []v1alpha1.EvaluatedResult{
				{Name: "candidate", Model: &v1alpha1.ModelReference{Name: "student", Digest: "sha256:s1"}},
				{Name: "baseline", Model: &v1alpha1.ModelReference{Name: "teacher", Digest: "sha256:t1"}},
			},
		},
	}
}

// judged is a report of rows of which the unsure ones are often wrong.
func judged(n int) *eval.Report {
	rng := rand.New(rand.NewPCG(1, 1))
	small, large := &eval.Answers{}, &eval.Answers{}
	for range n {
		m := math.Sqrt(rng.Float64())
		right := rng.Float64() < 0.5+0.5*m
		small.Margin, small.Correct = append(small.Margin, m), append(small.Correct, right)
		large.Correct = append(large.Correct, rng.Float64() < 0.98)
		small.Predicted, large.Predicted = append(small.Predicted, map[bool]int{true: 1}[right]), append(large.Predicted, 1)
	}
	return &eval.Report{Models: []eval.Model{{Name: "candidate", Answers: small}, {Name: "baseline", Answers: large}}}
}

func TestLearns(t *testing.T) {
	small, large, e := service("student", "student@production", "sha256:s1", true), service("teacher", "teacher", "sha256:t1", true), evaluation()
	h := newHouse(t, learner(), small, large, e)
	h.report = judged(2000)
	r := h.look()
	expect(t, r, v1alpha1.ConditionAccepted, "True", "Accepted", "")
	expect(t, r, v1alpha1.ConditionReady, "True", "Serving", "")
	expect(t, r, v1alpha1.ConditionLearned, "True", "Learned", "better than the best fixed mix at equal cost")
	if r.Status.URL != "https://gate:8448/lab/v2/models/ocr" {
		t.Error(r.Status.URL)
	}
	c := r.Status.Cascade
	if c == nil || c.Threshold == "" || c.Evaluation != "sha256:r1" || c.Rows != 2000 || c.Expected.EscalationHigh == "" || c.Split.Cost == "" || c.DisagreementHigh == "" || c.Specialist != "student" {
		t.Fatalf("%+v", c)
	}
	if h.read != 1 {
		t.Errorf("the report was read %d times", h.read)
	}
	h.restart()
	before := r.DeepCopy()
	if diff := cmp.Diff(before, h.look()); diff != "" {
		t.Errorf("a restart changed\n%s", diff)
	}

	r = h.route()
	r.Generation, r.Spec.Rules[0].Cascade.Learn.EscalationMax = 2, "0.1"
	r = h.change(r)
	if r.Status.Cascade.Threshold >= c.Threshold {
		t.Errorf("with less escalation the threshold is %s, and it was %s", r.Status.Cascade.Threshold, c.Threshold)
	}

	small.Status.Revisions[0].Model.Digest = "sha256:s2"
	r = h.change(fresh(h, small))
	expect(t, r, v1alpha1.ConditionLearned, "False", "ModelsChanged", "service student serves now")
	if r.Status.Cascade == nil {
		t.Error("the threshold is gone")
	}

	r = h.route()
	r.Generation, r.Spec.Targets[0].Service = 3, "other"
	r = h.change(r)
	if r.Status.Cascade != nil {
		t.Error("the threshold of another service stays")
	}
	expect(t, r, v1alpha1.ConditionAccepted, "False", "NoService", "no service other in namespace lab")
	expect(t, r, v1alpha1.ConditionReady, "False", "ServiceNotReady", "target small has no service")
}

// TestLearnsFromServices learns from a report whose models are the services themselves, and
// sees when one of them has come to serve something else than what answered.
func TestLearnsFromServices(t *testing.T) {
	small, large, e := service("student", "student@production", "sha256:s1", true), service("teacher", "teacher", "sha256:t1", true), evaluation()
	e.Status.Report.Reference = v1alpha1.ReportRepository("lab", e.Name) + "@sha256:r1"
	for i, svc := range []string{"student", "teacher"} {
		e.Status.Models[i].Model, e.Status.Models[i].Service = nil, svc
	}
	e.Status.Models[0].By = []v1alpha1.EvaluationOrigin{{Revision: "student-1", Digest: "sha256:s1", Rows: 2000}}
	h := newHouse(t, learner(), small, large, e)
	h.report = judged(2000)
	expect(t, h.look(), v1alpha1.ConditionLearned, "True", "Learned", "better than the best fixed mix")
	small.Status.Revisions[0].Model.Digest = "sha256:s2"
	expect(t, h.change(fresh(h, small)), v1alpha1.ConditionLearned, "False", "ModelsChanged", "service student serves now")
}

// fresh is o with the version that is stored.
func fresh[T client.Object](h *house, o T) T {
	h.t.Helper()
	have := o.DeepCopyObject().(client.Object)
	if err := h.client.Get(h.t.Context(), client.ObjectKeyFromObject(o), have); err != nil {
		h.t.Fatal(err)
	}
	o.SetResourceVersion(have.GetResourceVersion())
	return o
}

func TestWaits(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(h *house, e *v1alpha1.Evaluation, small *v1alpha1.InferenceService)
		reason, says string
		retry        bool
	}{
		"runs": {func(_ *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			e.Status.State = v1alpha1.StateRunning
		}, "EvaluationRuns", "the general model answers everything", false},
		"waits": {func(_ *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			e.Status.State, e.Status.Message = v1alpha1.StatePending, "there is no Model m"
		}, "EvaluationRuns", "has not ended yet: there is no Model m.", false},
		"failed": {func(_ *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			e.Status.State, e.Status.Message = v1alpha1.StateFailed, "no data."
		}, "EvaluationFailed", "has failed: no data;", false},
		"foreign": {func(_ *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			e.Status.Report.Reference = "models/labour/x@sha256:r1"
		}, "ForeignReport", "not of namespace lab", false},
		"foreign, of a service": {func(_ *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			e.Status.Report.Reference = "reports/lab/other@sha256:r1"
		}, "ForeignReport", "not of namespace lab", false},
		"other model": {func(_ *house, _ *v1alpha1.Evaluation, s *v1alpha1.InferenceService) {
			s.Spec.Model, s.Status.Revisions = "x", nil
		}, "OtherModels", "has judged neither service student", false},
		"the same": {func(_ *house, e *v1alpha1.Evaluation, s *v1alpha1.InferenceService) {
			s.Spec.Model, s.Status.Revisions = "teacher", nil
		}, "OtherModels", "the same model", false},
		"unread": {func(h *house, _ *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			h.broken = errors.New("registry is down")
		}, "NoReport", "registry is down", true},
		"few rows": {func(h *house, _ *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) { h.report = judged(10) }, "CannotLearn", "there are 10 rows", false},
		"no margins": {func(h *house, _ *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) {
			h.report.Models[0].Answers.Margin = nil
		}, "CannotLearn", "no margins of candidate", false},
		"no evaluation": {func(h *house, e *v1alpha1.Evaluation, _ *v1alpha1.InferenceService) { e.Name = "another" }, "NoEvaluation", "There is no evaluation both", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, small := evaluation(), service("student", "student", "sha256:s1", true)
			h := newHouse(t)
			h.report = judged(200)
			c.change(h, e, small)
			for _, o := range []client.Object{learner(), e, small, service("teacher", "teacher", "sha256:t1", true)} {
				if err := h.client.Create(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if err := h.client.Status().Update(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			r := h.look()
			expect(t, r, v1alpha1.ConditionLearned, "False", c.reason, c.says)
			if r.Status.Cascade != nil {
				t.Errorf("%+v", r.Status.Cascade)
			}
			res, err := h.c.Reconcile(t.Context(), r)
			if err != nil || (res.RequeueAfter > 0) != c.retry {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

func TestNotAccepted(t *testing.T) {
	large := service("teacher", "teacher", "sha256:t1", false)
	large.Spec.Protocol = v1alpha1.ProtocolOpenAI
	h := newHouse(t, learner(), service("student", "student", "sha256:s1", true), large)
	r := h.look()
	expect(t, r, v1alpha1.ConditionAccepted, "False", "Invalid", "large speaks openai, and small speaks v2")
	large.Spec.Protocol = ""
	r = h.change(fresh(h, large))
	expect(t, r, v1alpha1.ConditionAccepted, "True", "Accepted", "")
	expect(t, r, v1alpha1.ConditionReady, "False", "ServiceNotReady", "service teacher of target large is not ready: no room.")
	r.Spec.Rules[0].Cascade.General = "small"
	r = h.change(r)
	expect(t, r, v1alpha1.ConditionAccepted, "False", "Invalid", "name two targets")
}

func TestFixed(t *testing.T) {
	route := learner()
	route.Spec.Rules[0].Cascade.Learn, route.Spec.Rules[0].Cascade.Threshold = nil, "0.250"
	h := newHouse(t, route, service("student", "student", "sha256:s1", true), service("teacher", "teacher", "sha256:t1", true), evaluation())
	h.report = judged(200)
	r := h.look()
	if r.Status.Cascade == nil || r.Status.Cascade.Threshold != "0.25" || meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionLearned) != nil {
		t.Errorf("%+v", r.Status)
	}
	r.Spec = learner().Spec
	expect(t, h.change(r), v1alpha1.ConditionLearned, "True", "Learned", "")
}

func TestWatched(t *testing.T) {
	h := newHouse(t, learner())
	for _, c := range []struct {
		needs func(*v1alpha1.ModelRoute, string) bool
		o     client.Object
		want  int
	}{
		{targets, service("student", "x", "", true), 1}, {targets, service("other", "x", "", true), 0}, {learnsFrom, evaluation(), 1},
		{learnsFrom, &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "x"}}, 0},
		{learnsFrom, &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "both"}}, 0},
	} {
		if got := h.c.asking(c.needs)(t.Context(), c.o); len(got) != c.want {
			t.Errorf("%s has %v looked at", c.o.GetName(), got)
		}
	}
}

// The roles have what the controller calls, and nothing that writes what is not its own.
func TestRBAC(t *testing.T) {
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal([]byte(strings.Split(string(RBAC), "---")[0]), &role); err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			switch verb {
			case "get", "list", "watch":
			case "patch":
				if rule.Resources[0] != "modelroutes/status" && rule.Resources[0] != "events" {
					t.Errorf("%v may be patched", rule.Resources)
				}
			default:
				if rule.APIGroups[0] != "events.k8s.io" {
					t.Errorf("%s of %v", verb, rule.Resources)
				}
			}
		}
	}
}
