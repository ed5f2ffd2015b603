package bootstrap

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"polder.dev/polder/api/v1alpha1"
)

const otherDigest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// person is who asks the API server.
type person struct {
	name   string
	groups []string
}

func (p person) GetName() string               { return p.name }
func (p person) GetUID() string                { return "" }
func (p person) GetGroups() []string           { return p.groups }
func (p person) GetExtra() map[string][]string { return nil }

var (
	ana         = person{"ana", []string{"system:authenticated"}}
	controllers = person{"polder:controllers", nil}
	masters     = person{"admin", []string{"system:masters"}}
	ending      = person{"system:serviceaccount:kube-system:namespace-controller", nil}
)

// loose is an object as the API server has one of a kind that is not its own.
func loose(t *testing.T, kind string, v any) *unstructured.Unstructured {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return u
}

// judgeModel asks a policy about a Model that who makes, changes from old, or, where
// there is no other, removes. It returns the refusal, or "".
func judgeModel(t *testing.T, v validating.Validator, who person, m, old *v1alpha1.Model, service *v1alpha1.InferenceService) string {
	t.Helper()
	kind, resource := v1alpha1.GroupVersion.WithKind("Model"), v1alpha1.GroupVersion.WithResource("models")
	var now, before, params runtime.Object
	operation, name := admission.Create, ""
	if m != nil {
		now, name = loose(t, "Model", m), m.Name
	}
	if old != nil {
		before, name, operation = loose(t, "Model", old), old.Name, admission.Update
	}
	if m == nil {
		operation = admission.Delete
	}
	if service != nil {
		params = loose(t, "InferenceService", service)
	}
	record := admission.NewAttributesRecord(now, before, kind, "lab", name, resource, "", operation, nil, false, who)
	attr, err := admission.NewVersionedAttributes(record, kind, objects{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}
	got := v.Validate(t.Context(), resource, attr, params, namespace, celconfig.RuntimeCELCostBudget, nil)
	for _, d := range got.Decisions {
		if d.Evaluation == validating.EvalError {
			t.Fatal(d.Message)
		}
		if d.Action != validating.ActionAdmit {
			return d.Message
		}
	}
	return ""
}

// imported and trained are Models as persons and jobs make them.
func imported(digest string) *v1alpha1.Model {
	return &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "ocr"},
		Spec: v1alpha1.ModelSpec{
			Reference: "models/lab/ocr@" + digest, Digest: digest, SizeBytes: 1, Licence: "MIT", Classification: "internal",
			Lineage: v1alpha1.Lineage{Source: "onnx, by ana"},
		},
	}
}

func trained(digest string) *v1alpha1.Model {
	m := imported(digest)
	m.Spec.Lineage = v1alpha1.Lineage{Job: "j", JobUID: "u", Data: map[string]string{"d": someDigest}, Workers: 2}
	m.Spec.Metrics = map[string]string{"accuracy": "0.9"}
	m.Status.Versions = []v1alpha1.ModelVersion{{Digest: digest}}
	return m
}

func TestAPersonMakesAModelByImportAlone(t *testing.T) {
	v := policy(t, "polder-models")
	for name, tc := range map[string]struct {
		change func(*v1alpha1.Model)
		says   string
	}{
		"an import":                 {func(*v1alpha1.Model) {}, ""},
		"with aliases and gates":    {func(m *v1alpha1.Model) { m.Spec.Aliases = []v1alpha1.ModelAlias{{Name: "a", Digest: someDigest}} }, ""},
		"without a source":          {func(m *v1alpha1.Model) { m.Spec.Lineage.Source = "" }, "only by importing"},
		"said to be of a job":       {func(m *v1alpha1.Model) { m.Spec.Lineage.Job = "j" }, "only by importing"},
		"said to be of data":        {func(m *v1alpha1.Model) { m.Spec.Lineage.Data = map[string]string{"d": someDigest} }, "only by importing"},
		"said to have parents":      {func(m *v1alpha1.Model) { m.Spec.Lineage.Parents = map[string]string{"teacher": someDigest} }, "only by importing"},
		"said to be good":           {func(m *v1alpha1.Model) { m.Spec.Metrics = map[string]string{"accuracy": "1"} }, "leave them out"},
		"of another namespace":      {func(m *v1alpha1.Model) { m.Spec.Reference = "models/other/ocr@" + someDigest }, "must be models/lab/ocr@" + someDigest},
		"of another model":          {func(m *v1alpha1.Model) { m.Spec.Reference = "models/lab/x@" + someDigest }, "must be models/lab/ocr@" + someDigest},
		"with another digest there": {func(m *v1alpha1.Model) { m.Spec.Reference = "models/lab/ocr@" + otherDigest }, "must be models/lab/ocr@" + someDigest},
	} {
		m := imported(someDigest)
		tc.change(m)
		if got := judgeModel(t, v, ana, m, nil, nil); (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
			t.Errorf("%s: %q, want %q", name, got, tc.says)
		}
		for _, who := range []person{controllers, masters} {
			if got := judgeModel(t, v, who, m, nil, nil); got != "" {
				t.Errorf("%s, by %s: %q", name, who.name, got)
			}
		}
	}
}

func TestAPersonChangesAliasesAndGatesAlone(t *testing.T) {
	v := policy(t, "polder-models")
	for name, tc := range map[string]struct {
		change func(*v1alpha1.Model)
		says   string
	}{
		"nothing": {func(*v1alpha1.Model) {}, ""},
		"a label": {func(m *v1alpha1.Model) { m.Labels = map[string]string{"a": "b"} }, ""},
		"an alias": {func(m *v1alpha1.Model) {
			m.Spec.Aliases = []v1alpha1.ModelAlias{{Name: "production", Digest: someDigest}}
		}, ""},
		"a gate":                    {func(m *v1alpha1.Model) { m.Spec.Gates = []v1alpha1.ModelGate{{Alias: "production", Evaluation: true}} }, ""},
		"the licence":               {func(m *v1alpha1.Model) { m.Spec.Licence = "Apache-2.0" }, "cannot be changed"},
		"no licence":                {func(m *v1alpha1.Model) { m.Spec.Licence = "" }, "cannot be changed"},
		"the class":                 {func(m *v1alpha1.Model) { m.Spec.Classification = "public" }, "cannot be changed"},
		"the metrics":               {func(m *v1alpha1.Model) { m.Spec.Metrics["accuracy"] = "1" }, "cannot be changed"},
		"the lineage":               {func(m *v1alpha1.Model) { m.Spec.Lineage = v1alpha1.Lineage{Source: "me"} }, "cannot be changed"},
		"another version, imported": {func(m *v1alpha1.Model) { m.Spec = imported(otherDigest).Spec }, ""},
		"another version, as trained": {func(m *v1alpha1.Model) {
			m.Spec.Digest, m.Spec.Reference = otherDigest, "models/lab/ocr@"+otherDigest
		}, "only by importing"},
		"an earlier version, imported": {func(m *v1alpha1.Model) {
			m.Spec = imported(otherDigest).Spec
			m.Status.Versions = nil // the main resource's status is not what is written
		}, ""},
	} {
		old := trained(someDigest)
		m := old.DeepCopy()
		tc.change(m)
		if got := judgeModel(t, v, ana, m, old, nil); (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
			t.Errorf("%s: %q, want %q", name, got, tc.says)
		}
		if got := judgeModel(t, v, controllers, m, old, nil); got != "" {
			t.Errorf("%s, by the controllers: %q", name, got)
		}
	}
	old := trained(someDigest)
	old.Status.Versions = append(old.Status.Versions, v1alpha1.ModelVersion{Digest: otherDigest})
	if got := judgeModel(t, v, ana, imported(otherDigest), old, nil); !strings.Contains(got, "is a version of model ocr already") {
		t.Errorf("what jobs made is imported over: %q", got)
	}
}

func TestAVersionIsReplacedWhenItIsRecorded(t *testing.T) {
	v := policy(t, "polder-model-versions")
	old := trained(someDigest)
	next := trained(otherDigest)
	unknown := old.DeepCopy()
	unknown.Status.Versions = []v1alpha1.ModelVersion{{Digest: otherDigest}}
	fresh := old.DeepCopy()
	fresh.Status = v1alpha1.ModelStatus{}
	for _, who := range []person{ana, controllers, masters} {
		if got := judgeModel(t, v, who, next, old, nil); got != "" {
			t.Errorf("%s: %q", who.name, got)
		}
		for _, o := range []*v1alpha1.Model{unknown, fresh} {
			if got := judgeModel(t, v, who, next, o, nil); !strings.Contains(got, someDigest+" of model ocr is not recorded") {
				t.Errorf("%s, unrecorded: %q", who.name, got)
			}
			if got := judgeModel(t, v, who, o, o, nil); got != "" {
				t.Errorf("%s, unrecorded and left: %q", who.name, got)
			}
		}
	}
}

func TestAModelInUseStays(t *testing.T) {
	v := policy(t, "polder-models-used")
	old := trained(someDigest)
	old.Spec.Aliases = []v1alpha1.ModelAlias{{Name: "production", Digest: someDigest}, {Name: "staging", Digest: someDigest}}
	without := old.DeepCopy()
	without.Spec.Aliases = without.Spec.Aliases[1:]
	none := old.DeepCopy()
	none.Spec.Aliases = nil
	moved := old.DeepCopy()
	moved.Spec.Aliases[0].Digest = otherDigest
	forget := old.DeepCopy()
	forget.Annotations = map[string]string{v1alpha1.AnnotationForget: otherDigest}
	for _, tc := range []struct {
		serves, canary string
		m              *v1alpha1.Model // nil removes
		says           string
	}{
		{"ocr", "", nil, "model ocr is used by InferenceService s: have that serve another"},
		{"ocr@production", "", nil, "model ocr is used"},
		{"ocr@" + otherDigest, "", nil, "model ocr is used"},
		{"other", "ocr", nil, "model ocr is used"},
		{"other", "ocr@staging", nil, "model ocr is used"},
		{"other", "", nil, ""}, {"", "", nil, ""}, {"ocr-2", "ocr2@production", nil, ""},
		{"ocr@production", "", without, "an alias of model ocr that is to go is used"},
		{"other", "ocr@production", none, "an alias of model ocr"},
		{"ocr@staging", "", without, ""}, {"ocr", "", none, ""}, {"other@production", "", none, ""},
		{"ocr@production", "", moved, ""}, {"ocr@production", "", old, ""},
		{"ocr@" + otherDigest, "", forget, "version " + otherDigest + " of model ocr is used"},
		{"ocr@" + someDigest, "", forget, ""}, {"other@" + otherDigest, "", forget, ""},
	} {
		s := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "s"}}
		s.Spec.Model = tc.serves
		if tc.canary != "" {
			s.Spec.Canary = &v1alpha1.Canary{Model: tc.canary}
		}
		for _, who := range []person{ana, masters} {
			if got := judgeModel(t, v, who, tc.m, old, s); (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
				t.Errorf("%s with %q and %q, removed: %v: %q, want %q", who.name, tc.serves, tc.canary, tc.m == nil, got, tc.says)
			}
		}
		if got := judgeModel(t, v, ending, tc.m, old, s); got != "" {
			t.Errorf("the namespace's end is refused %q", got)
		}
	}
}
