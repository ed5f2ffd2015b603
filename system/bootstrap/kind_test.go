package bootstrap

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1/crd"
)

// kinds reads the CRDs as the API server does.
func kinds(t *testing.T) map[string]*apiextensions.CustomResourceDefinition {
	t.Helper()
	out := map[string]*apiextensions.CustomResourceDefinition{}
	names, err := fs.Glob(crd.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := fs.ReadFile(crd.Files, n)
		if err != nil {
			t.Fatal(err)
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(b, &v1); err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		apiextensionsv1.SetDefaults_CustomResourceDefinition(&v1)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&v1.Spec)
		var k apiextensions.CustomResourceDefinition
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &k, nil); err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		k.Status.StoredVersions = []string{"v1alpha1"}
		out[k.Spec.Names.Kind] = &k
	}
	return out
}

// TestTheAPIServerTakesTheKinds validates each CRD as the API server would: its
// schema, and that no rule may cost more than the server spends on one.
func TestTheAPIServerTakesTheKinds(t *testing.T) {
	all := kinds(t)
	if len(all) < 3 {
		t.Fatalf("there are %d kinds", len(all))
	}
	for name, k := range all {
		for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), k) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const job = `{
  "apiVersion": "polder.dev/v1alpha1", "kind": "TrainJob", "metadata": {"name": "j", "namespace": "n"},
  "spec": {
    "runtime": "r", "code": {"image": "code/a"}, "command": ["a", "b"], "workers": 2,
    "parameters": {"p": "1"}, "env": [{"name": "E", "value": "1"}, {"name": "F", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "data": [{"name": "d", "image": "data/a"}],
    "resources": {"cpu": "1", "memory": "1Gi"}, "accelerators": {"count": 1, "kinds": ["gpu"]},
    "checkpoints": {"size": "1Gi"}, "output": {"model": "m"}
  }
}`

// bare has nothing that may be left out.
const bare = `{
  "apiVersion": "polder.dev/v1alpha1", "kind": "TrainJob", "metadata": {"name": "j", "namespace": "n"},
  "spec": {"runtime": "r", "code": {"image": "code/a"}, "command": ["a"]}
}`

// TestAJobIsWhatItWas changes a job as the API server would let somebody, or not.
func TestAJobIsWhatItWas(t *testing.T) {
	const budget = 10_000_000 // what the API server spends on one request
	const perCall = 1_000_000
	k := kinds(t)["TrainJob"]
	props := k.Spec.Validation
	if props == nil {
		props = k.Spec.Versions[0].Schema
	}
	s, err := schema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	v := cel.NewValidator(s, true, perCall)
	for name, tc := range map[string]struct {
		from, path, to string // to: JSON; empty removes
		ok             bool
	}{
		"cancel":            {job, "cancel", "true", true},
		"deadline":          {job, "deadlineSeconds", "5", true},
		"retries":           {job, "retries", "0", true},
		"cancel, bare":      {bare, "cancel", "true", true},
		"nothing":           {job, "runtime", `"r"`, true},
		"runtime":           {job, "runtime", `"q"`, false},
		"code":              {job, "code.image", `"code/b"`, false},
		"command":           {job, "command", `["a"]`, false},
		"order of command":  {job, "command", `["b", "a"]`, false},
		"workers":           {job, "workers", "3", false},
		"workers, bare":     {bare, "workers", "3", false},
		"a parameter":       {job, "parameters.p", `"2"`, false},
		"one more":          {job, "parameters.q", `"2"`, false},
		"parameters gone":   {job, "parameters", "", false},
		"parameters new":    {bare, "parameters", `{"a": "b"}`, false},
		"env":               {job, "env", `[{"name": "E", "value": "2"}]`, false},
		"env gone":          {job, "env", "", false},
		"env new":           {bare, "env", `[{"name": "E", "value": "2"}]`, false},
		"data":              {job, "data", `[{"name": "d", "image": "data/b"}]`, false},
		"data gone":         {job, "data", "", false},
		"data new":          {bare, "data", `[{"name": "d", "image": "data/b"}]`, false},
		"cpu":               {job, "resources.cpu", `"2"`, false},
		"memory":            {job, "resources.memory", `"2Gi"`, false},
		"resources gone":    {job, "resources", "", false},
		"resources new":     {bare, "resources", `{"cpu": "2"}`, false},
		"accelerators":      {job, "accelerators.count", "2", false},
		"their kinds":       {job, "accelerators.kinds", `["npu"]`, false},
		"accelerators gone": {job, "accelerators", "", false},
		"accelerators new":  {bare, "accelerators", `{"count": 1}`, false},
		"checkpoints":       {job, "checkpoints.size", `"2Gi"`, false},
		"checkpoints gone":  {job, "checkpoints", "", false},
		"checkpoints new":   {bare, "checkpoints", `{"size": "9Gi"}`, false},
		"output":            {job, "output.model", `"x"`, false},
		"licence":           {job, "output.licence", `"MIT"`, false},
		"output gone":       {job, "output", "", false},
		"output new":        {bare, "output", `{"model": "x"}`, false},
		"keepSeconds":       {job, "keepSeconds", "1", false},
		"queue new":         {bare, "queue", `"q"`, false},
		"priority new":      {bare, "priority", "5", false},
	} {
		t.Run(name, func(t *testing.T) {
			was, is := object(t, tc.from), object(t, tc.from)
			set(t, is["spec"].(map[string]any), tc.path, tc.to)
			defaulting.Default(was, s)
			defaulting.Default(is, s)
			errs, _ := v.Validate(t.Context(), nil, s, is, was, budget)
			if ok := len(errs) == 0; ok != tc.ok {
				t.Fatalf("allowed: %v, want %v: %v", ok, tc.ok, errs)
			}
			if !tc.ok && !strings.Contains(errs.ToAggregate().Error(), "spec is immutable") {
				t.Errorf("refused for another reason: %v", errs)
			}
		})
	}
}

// TestQueuesThatMakeNoSense are refused by the kind's own rules.
func TestQueuesThatMakeNoSense(t *testing.T) {
	k := kinds(t)["Queue"]
	props := k.Spec.Validation
	if props == nil {
		props = k.Spec.Versions[0].Schema
	}
	s, err := schema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	v := cel.NewValidator(s, true, 1_000_000)
	for line, says := range map[string]string{
		`{"kind": "gpu", "nominal": 8}`:                         "",
		`{"nominal": "500m", "borrowMax": 0}`:                   "",
		`{"resource": "cpu", "nominal": "8", "lendMax": "4"}`:   "",
		`{"resource": "cpu", "kind": "gpu", "nominal": 1}`:      "resource cannot stand beside kind, product or memoryMin: write two lines",
		`{"resource": "cpu", "memoryMin": "1Gi", "nominal": 1}`: "write two lines",
		`{"kind": "gpu", "nominal": -1}`:                        "nominal must not be below zero",
		`{"kind": "gpu", "nominal": "1", "borrowMax": "-1"}`:    "borrowMax must not be below zero",
		`{"product": "p", "nominal": "1", "lendMax": -1}`:       "lendMax must not be below zero",
	} {
		q := object(t, `{"apiVersion": "polder.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "q"}, "spec": {"quotas": [`+line+`]}}`)
		defaulting.Default(q, s)
		errs, _ := v.Validate(t.Context(), nil, s, q, nil, 10_000_000)
		switch {
		case says == "" && len(errs) > 0:
			t.Errorf("%s is refused: %v", line, errs)
		case says != "" && (len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), says)):
			t.Errorf("%s: %v, want %q", line, errs, says)
		}
	}
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(text), &o, func(d *json.Decoder) *json.Decoder { d.UseNumber(); return d }); err != nil {
		t.Fatal(err)
	}
	return integers(o).(map[string]any)
}

// integers makes int64 of numbers, as the API server does.
func integers(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = integers(x[k])
		}
	case []any:
		for i := range x {
			x[i] = integers(x[i])
		}
	case json.Number:
		n, _ := x.Int64()
		return n
	}
	return v
}

func set(t *testing.T, o map[string]any, path, to string) {
	t.Helper()
	head, rest, deeper := strings.Cut(path, ".")
	if deeper {
		set(t, o[head].(map[string]any), rest, to)
		return
	}
	if to == "" {
		delete(o, head)
		return
	}
	o[head] = object(t, `{"v": `+to+`}`)["v"]
}
