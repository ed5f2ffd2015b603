package bootstrap

import (
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
)

// policy compiles one of our policies as the API server does.
func policy(t *testing.T, name string) validating.Validator {
	t.Helper()
	var p admissionregistrationv1.ValidatingAdmissionPolicy
	for _, u := range gather(t, Options{}) {
		if u.GetKind() == "ValidatingAdmissionPolicy" && u.GetName() == name {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &p, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.Name == "" {
		t.Fatalf("there is no policy %s", name)
	}
	c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		t.Fatal(err)
	}
	const stored = environment.StoredExpressions
	none := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil}
	for _, v := range p.Spec.Variables {
		if r := c.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, none, stored); r.Error != nil {
			t.Fatalf("variable %s: %v", v.Name, r.Error)
		}
	}
	var conditions, validations, messages []plugincel.ExpressionAccessor
	for _, m := range p.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&m))
	}
	for _, v := range p.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason})
		messages = append(messages, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
	}
	var match matchconditions.Matcher
	if len(conditions) > 0 {
		match = matchconditions.NewMatcher(c.CompileCondition(conditions, none, stored), p.Spec.FailurePolicy, "policy", "validate", name)
	}
	v := validating.NewValidator(c.CompileCondition(validations, none, stored), match, c.CompileCondition(nil, none, stored),
		c.CompileCondition(messages, none, stored), p.Spec.FailurePolicy, nil)
	return v
}

// decide asks a policy about a pod that is made, or changed from old.
func decide(t *testing.T, v validating.Validator, pod, old *corev1.Pod) validating.PolicyDecision {
	t.Helper()
	kind, resource := corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
	operation := admission.Create
	var before runtime.Object
	if old != nil {
		operation, before = admission.Update, old
	}
	record := admission.NewAttributesRecord(pod, before, kind, pod.Namespace, pod.Name, resource, "", operation, nil, false, nil)
	attr, err := admission.NewVersionedAttributes(record, kind, objects{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace}}
	got := v.Validate(t.Context(), resource, attr, nil, namespace, celconfig.RuntimeCELCostBudget, nil)
	for _, d := range got.Decisions {
		if d.Evaluation == validating.EvalError {
			t.Fatal(d.Message)
		}
		if d.Action != validating.ActionAdmit {
			return d
		}
	}
	return validating.PolicyDecision{Action: validating.ActionAdmit}
}

// objects is how the API server knows of Kubernetes' own kinds.
type objects struct{ admission.ObjectInterfaces }

func (objects) GetObjectConvertor() runtime.ObjectConvertor { return scheme.Scheme }
func (objects) GetObjectDefaulter() runtime.ObjectDefaulter { return scheme.Scheme }
func (objects) GetObjectCreater() runtime.ObjectCreater     { return scheme.Scheme }
func (objects) GetObjectTyper() runtime.ObjectTyper         { return scheme.Scheme }
func (objects) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper {
	return runtime.NewEquivalentResourceRegistry()
}

// places are the fields of a pod that name an image.
var places = map[string]func(*corev1.PodSpec, string){
	"container": func(s *corev1.PodSpec, image string) {
		s.Containers = append(s.Containers, corev1.Container{Name: "c", Image: image})
	},
	"init": func(s *corev1.PodSpec, image string) {
		s.InitContainers = []corev1.Container{{Name: "i", Image: image}}
	},
	"ephemeral": func(s *corev1.PodSpec, image string) {
		s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: image}}}
	},
	"volume": func(s *corev1.PodSpec, image string) {
		s.Volumes = []corev1.Volume{
			{Name: "d", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}},
		}
	},
}

func podWith(place, image string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x"}}}}
	places[place](&p.Spec, image)
	return p
}

const someDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestAPodNamesImagesOfItsOwnNamespace(t *testing.T) {
	v := policy(t, "polder-images")
	const host = "registry.polder.internal"
	for image, ok := range map[string]bool{
		host + "/code/team-a/x": true, host + "/data/team-a/x:1": true, host + "/images/team-a/x@" + someDigest: true, host + "/models/team-a/x/y:1@" + someDigest: true,
		host + "/images/team-a": true, host + "/images/team-a:1": true, host + "/images/team-a@" + someDigest: true,
		host + "/runtimes/pytorch-cpu@" + someDigest: true, host + "/system/pause:1": true, host + "/tests/probe": true, host + "/code": true, host + "/code:1": true,
		host + "/runtimes/code/team-b/x": true, "docker.io/code/team-b/x": true, "code/team-b/x": true, "busybox": true, "docker.io/library/sha256:1": true,
		"registry-polder-internal/code/team-b/x": true, "x." + host + "/code/team-b/x": true, "localhost:5000/" + host + "/code/team-b/x": true,

		host + "/code/team-b/x": false, host + "/data/team-b/x:1": false, host + "/images/team-b/x@" + someDigest: false, host + "/models/team-b/x:1@" + someDigest: false,
		host + "/images/team-b": false, host + "/images/team-b:1": false, host + "/code/team-ab/x": false, host + "/code/team-a-b/x": false, host + "/code/team-a.b/x": false,
		host + "/code/team/x": false, host + "/code/team-b/team-a": false, host + ":5000/code/team-b/x": false, host + ":443/models/team-b/x": false,
		strings.ToUpper(host) + "/code/team-b/x": false, host + "/Code/team-b/x": false,
		someDigest: false, "sha256:3f2": false, "sha256:3": false,
	} {
		for place := range places {
			d := decide(t, v, podWith(place, image), nil)
			if (d.Action == validating.ActionAdmit) != ok {
				t.Errorf("%s %s: %s, want it allowed: %v", place, image, d.Action, ok)
			}
			if ok {
				continue
			}
			if d.Reason != metav1.StatusReasonForbidden || !strings.Contains(d.Message, "image "+image) {
				t.Errorf("%s %s is refused with %s %q", place, image, d.Reason, d.Message)
			}
		}
	}
	d := decide(t, v, podWith("volume", host+"/code/team-b/x"), nil)
	const want = "image registry.polder.internal/code/team-b/x is not for pods of namespace team-a: it belongs to another namespace; " +
		"have somebody who may pull it push it to images/team-a/NAME"
	if d.Message != want {
		t.Errorf("it says %q, want %q", d.Message, want)
	}
}

// TestAPodThatIsThereGoesOn: one from before the rule is labelled and ends, and
// gets no image of another tenant anew.
func TestAPodThatIsThereGoesOn(t *testing.T) {
	v := policy(t, "polder-images")
	const foreign = "registry.polder.internal/code/team-b/x"
	for place := range places {
		old := podWith(place, foreign)
		old.Finalizers = []string{"batch.kubernetes.io/job-tracking"}
		ended := old.DeepCopy()
		ended.Finalizers, ended.Labels = nil, map[string]string{"a": "b"}
		if d := decide(t, v, ended, old); d.Action != validating.ActionAdmit {
			t.Errorf("%s: a pod cannot end: %s", place, d.Message)
		}
		if d := decide(t, v, podWith(place, foreign), podWith(place, "x")); d.Action == validating.ActionAdmit {
			t.Errorf("%s: a running pod got another's image", place)
		}
		if d := decide(t, v, podWith(place, "y"), podWith(place, "x")); d.Action != validating.ActionAdmit {
			t.Errorf("%s: a running pod cannot get another image: %s", place, d.Message)
		}
	}
}

// TestALargePodIsJudged: the rule fits what the API server spends on one request.
func TestALargePodIsJudged(t *testing.T) {
	p := podWith("container", "x")
	for i := range 200 {
		image := fmt.Sprintf("registry.polder.internal/images/team-a/%s-%d@%s", strings.Repeat("x", 150), i, someDigest)
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "c", Image: image})
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}})
	}
	old := p.DeepCopy()
	p.Spec.ActiveDeadlineSeconds = ptr.To[int64](1)
	v := policy(t, "polder-images")
	for _, before := range []*corev1.Pod{nil, old} {
		if d := decide(t, v, p, before); d.Action != validating.ActionAdmit {
			t.Error(d.Message)
		}
	}
}

// TestNobodyJumpsTheQueue: the gate, the label and the queue's word stay as they are.
func TestNobodyJumpsTheQueue(t *testing.T) {
	v := policy(t, "polder-queue")
	held := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "p", Labels: map[string]string{"polder.dev/queue": "q", "other": "a"}}}
	held.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "polder.dev/queue"}, {Name: "other"}}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		says   string // "" lets it through
	}{
		"another label": {func(p *corev1.Pod) { p.Labels["other"] = "b" }, ""},
		"another gate":  {func(p *corev1.Pod) { p.Spec.SchedulingGates = p.Spec.SchedulingGates[:1] }, ""},
		"the gate":      {func(p *corev1.Pod) { p.Spec.SchedulingGates = p.Spec.SchedulingGates[1:] }, "taken off by the queue alone"},
		"all gates":     {func(p *corev1.Pod) { p.Spec.SchedulingGates = nil }, "taken off by the queue alone"},
		"the label":     {func(p *corev1.Pod) { p.Labels["polder.dev/queue"] = "r" }, "cannot be changed"},
		"no label":      {func(p *corev1.Pod) { p.Labels = nil }, "cannot be changed"},
		"the word":      {func(p *corev1.Pod) { p.Annotations = map[string]string{"polder.dev/queue-status": "{}"} }, "only its controller writes it"},
	} {
		after := held.DeepCopy()
		tc.change(after)
		if got := decide(t, v, after, held); (got.Message == "") != (tc.says == "") || !strings.Contains(got.Message, tc.says) {
			t.Errorf("%s: %q, want %q", name, got.Message, tc.says)
		}
	}
	plain := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "p"}}
	if got := decide(t, v, held, plain); !strings.Contains(got.Message, "cannot be changed") {
		t.Errorf("a label that comes later: %q", got.Message)
	}
	if got := decide(t, v, held, nil); got.Message != "" {
		t.Errorf("a new pod: %q", got.Message)
	}
	known := held.DeepCopy()
	known.Annotations = map[string]string{"polder.dev/queue-status": `{"admitted":true}`}
	if got := decide(t, v, known, nil); !strings.Contains(got.Message, "only its controller writes it") {
		t.Errorf("a new pod with a word of the queue: %q", got.Message)
	}
}

// TestReasonsAreTheAPIServers: it takes no policy that refuses for another reason.
func TestReasonsAreTheAPIServers(t *testing.T) {
	for _, u := range gather(t, Options{}) {
		if u.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		var p admissionregistrationv1.ValidatingAdmissionPolicy
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &p, true); err != nil {
			t.Fatal(err)
		}
		for i, v := range p.Spec.Validations {
			switch ptr.Deref(v.Reason, metav1.StatusReasonInvalid) {
			case metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonUnauthorized, metav1.StatusReasonRequestEntityTooLarge:
			default:
				t.Errorf("%s: spec.validations[%d].reason is %s", p.Name, i, *v.Reason)
			}
		}
	}
}
