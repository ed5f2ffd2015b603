package evaluation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
)

func conditions(ready metav1.ConditionStatus, message string) []metav1.Condition {
	var out []metav1.Condition
	apimeta.SetStatusCondition(&out, metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Accepted"})
	apimeta.SetStatusCondition(&out, metav1.Condition{Type: v1alpha1.ConditionReady, Status: ready, Reason: "Asleep", Message: message})
	return out
}

func svc(name string, p v1alpha1.Protocol) *v1alpha1.InferenceService {
	return &v1alpha1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name},
		Spec:       v1alpha1.InferenceServiceSpec{Protocol: p, TimeoutSeconds: 20, Scale: v1alpha1.Scale{WakeSeconds: 50}},
		Status: v1alpha1.InferenceServiceStatus{
			Revisions:  []v1alpha1.Revision{{Name: name + "-1", Role: v1alpha1.RevisionStable, Model: &v1alpha1.ModelReference{Name: "small", Digest: digest(1)}}},
			Conditions: conditions(metav1.ConditionTrue, ""),
		},
	}
}

func route(name string, services ...string) *v1alpha1.ModelRoute {
	r := &v1alpha1.ModelRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Status: v1alpha1.ModelRouteStatus{Conditions: conditions(metav1.ConditionTrue, "")}}
	for _, s := range services {
		r.Spec.Targets = append(r.Spec.Targets, v1alpha1.RouteTarget{Name: s, Service: s})
	}
	return r
}

// mixed is a service against a route and a model.
func mixed() *v1alpha1.Evaluation {
	e := evaluation()
	e.Spec.Models = []v1alpha1.EvaluatedModel{
		{Name: "one", Service: "one", Labels: []string{"no", "yes"}, CostPerHour: "1.5"}, {Name: "both", Route: "both"}, {Name: "small", Model: "small"},
	}
	return e
}

func TestServices(t *testing.T) {
	asleep := svc("two", "")
	asleep.Status.Conditions = conditions(metav1.ConditionFalse, "No replica has come up: no node has room.")
	c := newCloud(t, runtimeOf(), svc("one", v1alpha1.ProtocolV2), asleep)
	c.add(frozen("held"))
	c.add(mixed())
	waits := func(reason, message string) {
		t.Helper()
		e := c.look()
		if a := apimeta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionAccepted); e.Status.State != v1alpha1.StatePending || a == nil || a.Reason != reason || !strings.Contains(a.Message, message) || c.job() != nil {
			t.Errorf("%+v, want %s: %s", e.Status, reason, message)
		}
	}
	waits(ReasonNoService, "spec.models[1].route: there is no ModelRoute both in namespace lab")
	c.add(route("both", "one", "two"))
	waits(ReasonNotReady, "spec.models[1].route: service two is not ready: No replica has come up: no node has room.")
	c.remove(asleep)
	c.add(svc("two", ""))
	e := c.look()
	if !apimeta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionAccepted) || e.Status.Models[0].Service != "one" || e.Status.Models[0].Model != nil || e.Status.Models[1].Route != "both" {
		t.Fatalf("accepted: %+v", e.Status)
	}
	known := map[string]string{"one-1": digest(1)}
	want := []trial.Entrant{
		{Name: "one", Service: "one", URL: "https://gateway.example/lab", Labels: []string{"no", "yes"}, CostPerHour: 1.5, TimeoutSeconds: 100, Revisions: known},
		{Name: "both", Route: "both", URL: "https://gateway.example/lab", TimeoutSeconds: 170, Revisions: map[string]string{"one-1": digest(1), "two-1": digest(1)}},
		{Name: "small", Dir: "/polder/models/small", Reference: "models/lab/small@" + digest(1), Digest: digest(1)},
	}
	if d := cmp.Diff(want, c.plan().Models); d != "" {
		t.Errorf("what the pod is told (-want +got):\n%s", d)
	}
	c.checkAccount(t)
	c.pod("p", corev1.PodSucceeded)
	c.logs["p"] = c.output(func(r *eval.Report) {
		r.Models[0].By = []eval.Origin{{Revision: "one-1", Digest: digest(1), Rows: 200}}
	})
	c.jobBecomes(batchv1.JobComplete)
	e = c.look()
	if e.Status.State != v1alpha1.StateSucceeded || e.Status.Report == nil || e.Status.Report.Reference != "reports/lab/judge@"+digest(99) {
		t.Fatalf("judged: %+v", e.Status)
	}
	if d := cmp.Diff([]v1alpha1.EvaluationOrigin{{Revision: "one-1", Digest: digest(1), Rows: 200}}, e.Status.Models[0].By); d != "" || e.Status.Models[0].Model != nil {
		t.Errorf("who has answered (-want +got):\n%s", d)
	}
}

// checkAccount looks at whom the pod asks as, and at which container can.
func (c *cloud) checkAccount(t *testing.T) {
	t.Helper()
	key := client.ObjectKey{Namespace: "lab", Name: AccountName("judge")}
	var account corev1.ServiceAccount
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	e := c.get()
	for _, o := range []client.Object{&account, &role, &binding} {
		if err := c.client.Get(t.Context(), key, o); err != nil {
			t.Fatal(err)
		}
		if !owned(e, o) {
			t.Errorf("%T does not go with the evaluation", o)
		}
	}
	rule := func(resource, name string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{"polder.dev"}, Resources: []string{resource}, ResourceNames: []string{name}, Verbs: []string{"create"}}
	}
	if d := cmp.Diff([]rbacv1.PolicyRule{rule("inferenceservices/infer", "one"), rule("modelroutes/infer", "both")}, role.Rules); d != "" {
		t.Errorf("what the account may (-want +got):\n%s", d)
	}
	if binding.RoleRef.Name != role.Name || len(binding.Subjects) != 1 || binding.Subjects[0].Name != account.Name || binding.Subjects[0].Namespace != "lab" {
		t.Errorf("bound is %+v", binding)
	}
	spec := c.job().Spec.Template.Spec
	if spec.ServiceAccountName != account.Name || *spec.AutomountServiceAccountToken || *account.AutomountServiceAccountToken {
		t.Errorf("the pod is %s's, and mounts %v", spec.ServiceAccountName, *spec.AutomountServiceAccountToken)
	}
	found := false
	for _, v := range spec.Volumes {
		if v.Name == "gateway" {
			found = v.Projected.Sources[0].ServiceAccountToken.Audience == "https://gateway.example"
		}
	}
	if !found {
		t.Error("there is no token for the gateway alone")
	}
	for _, k := range append(spec.InitContainers, spec.Containers...) {
		has := false
		for _, m := range k.VolumeMounts {
			has = has || m.Name == "gateway"
		}
		if has != (k.Name == Container) {
			t.Errorf("container %s has the token: %v", k.Name, has)
		}
	}
}

func (c *cloud) remove(o client.Object) {
	c.t.Helper()
	if err := c.client.Delete(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// With a program, the container that asks has the token, and neither the program nor the
// one that judges has it.
func TestProgramSeesNoToken(t *testing.T) {
	c := newCloud(t, runtimeOf(), svc("one", ""), route("both", "one"))
	c.add(frozen("held"))
	e := mixed()
	e.Spec.Program = &v1alpha1.EvaluationProgram{Runtime: runtimeDefault, Code: v1alpha1.Code{Image: "code/lab/x@" + digest(6)}, Command: []string{"python3", "judge.py"}}
	c.add(e)
	c.look()
	spec := c.job().Spec.Template.Spec
	for _, k := range append(spec.InitContainers, spec.Containers...) {
		for _, m := range k.VolumeMounts {
			if m.Name == "gateway" && k.Name != containerAnswer {
				t.Errorf("container %s has the token", k.Name)
			}
		}
	}
}

func TestServicesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.Evaluation)
		state  v1alpha1.State
		want   string
	}{
		"another protocol":         {func(e *v1alpha1.Evaluation) { e.Spec.Models[0].Service = "chat" }, v1alpha1.StateFailed, "spec.models[0].service: service chat speaks the protocol openai; at the task classification services are asked by v2"},
		"no such service":          {func(e *v1alpha1.Evaluation) { e.Spec.Models[0].Service = "none" }, v1alpha1.StatePending, "there is no InferenceService none in namespace lab"},
		"a route of the same name": {func(e *v1alpha1.Evaluation) { e.Spec.Models[0].Service = "both" }, v1alpha1.StatePending, "route both answers whoever asks for service both"},
		"a model beside texts": {func(e *v1alpha1.Evaluation) {
			e.Spec.Task, e.Spec.Requirements = v1alpha1.TaskGeneration, nil
		}, v1alpha1.StateFailed, "spec.models[2].model: models in ONNX write no text"},
		"texts and training data": {func(e *v1alpha1.Evaluation) {
			e.Spec.Task, e.Spec.Models, e.Spec.Requirements, e.Spec.Trained = v1alpha1.TaskGeneration, e.Spec.Models[:1], nil, &e.Spec.Data
		}, v1alpha1.StateFailed, "spec.trained: texts are not looked for"},
		"how to write, of classes": {func(e *v1alpha1.Evaluation) { e.Spec.Generation = &v1alpha1.EvaluationGeneration{} }, v1alpha1.StateFailed, "spec.generation: it is for the task generation"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCloud(t, runtimeOf(), svc("one", ""), svc("chat", v1alpha1.ProtocolOpenAI), route("both", "one"))
			k.add(frozen("held"))
			e := mixed()
			c.change(e)
			k.add(e)
			if got := k.look(); got.Status.State != c.state || !strings.Contains(got.Status.Message, c.want) || k.job() != nil {
				t.Errorf("%s: %q, want %s with %q", got.Status.State, got.Status.Message, c.state, c.want)
			}
		})
	}
}

func TestGeneration(t *testing.T) {
	c := newCloud(t, runtimeOf(), svc("chat", v1alpha1.ProtocolOpenAI))
	c.add(frozen("held"))
	e := mixed()
	e.Spec.Task, e.Spec.Models, e.Spec.Requirements = v1alpha1.TaskGeneration, []v1alpha1.EvaluatedModel{{Name: "chat", Service: "chat"}}, nil
	e.Spec.Generation = &v1alpha1.EvaluationGeneration{System: "Be brief.", MaxTokens: 9}
	c.add(e)
	c.look()
	if p := c.plan(); p.Task != eval.TaskGeneration || p.System != "Be brief." || p.TokensMax != 9 || p.Models[0].Service != "chat" {
		t.Errorf("the pod is told %+v", p)
	}
}

// An account of somebody else with the name is not used.
func TestForeignAccount(t *testing.T) {
	c := newCloud(t, runtimeOf(), svc("one", ""), route("both", "one"), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: AccountName("judge")}})
	c.add(frozen("held"))
	c.add(mixed())
	var err error
	for range 3 {
		if _, err = c.c.Reconcile(t.Context(), c.get()); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "not this evaluation's") || c.job() != nil {
		t.Errorf("%v", err)
	}
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "lab", Name: AccountName("judge")}, &rbacv1.Role{}); !apierrors.IsNotFound(err) {
		t.Errorf("a role was made: %v", err)
	}
}
