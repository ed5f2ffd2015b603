package cli

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/kubetest"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

// flagged applies flags to a spec.
func flagged(t *testing.T, spec *v1alpha1.InferenceServiceSpec, args ...string) error {
	t.Helper()
	var f serviceFlags
	cmd := &cobra.Command{Use: "x"}
	f.add(cmd, &options{})
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return f.apply(cmd, spec)
}

func TestServiceFlags(t *testing.T) {
	spec := v1alpha1.InferenceServiceSpec{Runtime: "onnx-cpu", Env: []corev1.EnvVar{{Name: "A", Value: "0"}, {Name: "Z", Value: "1"}}, Scale: v1alpha1.Scale{Max: 2}}
	err := flagged(t, &spec, "--image=images/lab/x", "--protocol=http", "--port=9000", "--ready-path=/ok", "--memory=2Gi", "--env=A=1,B=2",
		"--min=4", "--concurrency=16", "--idle=30s", "--wake=1m30s", "--queue-max=10", "--request-timeout=5s", "--batch-max=8", "--batch-delay=2ms", "--accelerators=1", "--software=cuda,rocm")
	if err != nil {
		t.Fatal(err)
	}
	if got := spec.Resources.Memory.String(); got != "2Gi" || !spec.Resources.CPU.IsZero() {
		t.Errorf("memory is %s", got)
	}
	spec.Resources = v1alpha1.WorkerResources{}
	want := v1alpha1.InferenceServiceSpec{
		Image: "images/lab/x", Protocol: "http", Port: 9000, ReadyPath: "/ok", TimeoutSeconds: 5,
		Env:          []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "Z", Value: "1"}, {Name: "B", Value: "2"}},
		Accelerators: v1alpha1.Accelerators{Count: 1, Software: []string{"cuda", "rocm"}},
		Batch:        &v1alpha1.Batch{Max: 8, DelayMicroseconds: 2000},
		Scale:        v1alpha1.Scale{Min: ptr.To[int32](4), Max: 4, Concurrency: 16, IdleSeconds: 30, WakeSeconds: 90, QueueMax: 10},
	}
	if d := cmp.Diff(want, spec); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	before := *spec.DeepCopy()
	if err := flagged(t, &spec); err != nil || cmp.Diff(before, spec) != "" {
		t.Errorf("what is not said is changed: %v\n%s", err, cmp.Diff(before, spec))
	}
	for _, bad := range []string{"--cpu=lots", "--idle=1500ms", "--env=PORT=1", "--env=POLDER_X=1", "--wake=0s", "--request-timeout=25h"} {
		if err := flagged(t, &v1alpha1.InferenceServiceSpec{}, bad); !usage.Is(err) || !strings.Contains(err.Error(), strings.SplitN(bad, "=", 2)[0]) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := flagged(t, &v1alpha1.InferenceServiceSpec{}, "--min=3", "--max=2"); !usage.Is(err) {
		t.Errorf("--min above --max: %v", err)
	}
}

func TestServeMisuse(t *testing.T) {
	away(t)
	for args, want := range map[string]string{
		"serve":                              "name a MODEL",
		"serve a b":                          "takes one MODEL",
		"serve a --min 2 --max 1":            "--min 2 is above --max 1",
		"serve a --runtime x --image y":      "--image and --runtime exclude each other",
		"service scale a":                    "say what to change",
		"service canary a":                   "--percent",
		"service canary a b --promote":       "neither a MODEL",
		"service canary a --end --promote":   "--end and --promote exclude each other",
		"service canary":                     "takes SERVICE and MODEL",
		"service update":                     "takes one SERVICE",
		"service update a b":                 "takes one SERVICE",
		"service show":                       "takes SERVICE",
		"service nonsense":                   `no verb "nonsense"`,
		"service ls -o yaml":                 "-o yaml is not known",
		"serve --image x --name y --cpu a":   "--cpu",
		"serve --image x -- /server --quick": "--name",
	} {
		if code, _, errs, _ := program(t, strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %q does not say %q", args, code, errs, want)
		}
	}
}

func TestEditCanary(t *testing.T) {
	spec := &v1alpha1.InferenceServiceSpec{Model: "a"}
	for _, f := range []func() error{
		func() error { return editCanary("s", spec, nil, 5, false, false) },
		func() error { return editCanary("s", spec, nil, 0, true, false) },
		func() error { return editCanary("s", spec, nil, 0, false, true) },
	} {
		if err := f(); !usage.Is(err) || !strings.Contains(err.Error(), "service s has no canary") {
			t.Errorf("without a canary: %v", err)
		}
	}
	step := func(model []string, percent int32, promote, end bool, want v1alpha1.InferenceServiceSpec) {
		t.Helper()
		if err := editCanary("s", spec, model, percent, promote, end); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, *spec); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	with := func(model, canary string, percent int32) v1alpha1.InferenceServiceSpec {
		return v1alpha1.InferenceServiceSpec{Model: model, Canary: &v1alpha1.Canary{Model: canary, Percent: percent}}
	}
	step([]string{"b"}, 10, false, false, with("a", "b", 10))
	step(nil, 50, false, false, with("a", "b", 50))
	step([]string{"c"}, 20, false, false, with("a", "c", 20))
	step(nil, 0, true, false, v1alpha1.InferenceServiceSpec{Model: "c"})
	step([]string{"b"}, 0, false, false, with("c", "b", 0))
	step(nil, 0, false, true, v1alpha1.InferenceServiceSpec{Model: "c"})
}

// shownService is one in the middle of a rollout, with a canary.
func shownService() *v1alpha1.InferenceService {
	now := metav1.NewTime(time.Unix(1e9, 0))
	return &v1alpha1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "digits", Generation: 2, UID: "u", CreationTimestamp: now},
		Spec: v1alpha1.InferenceServiceSpec{
			Model: "digits@production", Runtime: "onnx-cpu", Protocol: "v2", Canary: &v1alpha1.Canary{Model: "digits@next", Percent: 10},
			Scale: v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, IdleSeconds: 60},
		},
		Status: v1alpha1.InferenceServiceStatus{
			ObservedGeneration: 2, URL: "https://g/lab/v2/models/digits", Replicas: 3,
			Revisions: []v1alpha1.Revision{
				{Name: "digits-3", Role: "starting", Replicas: 1, Message: "there is no room", Time: &now},
				{Name: "digits-2", Role: "canary", Percent: 10, Replicas: 1, ReadyReplicas: 1, Time: &now},
				{Name: "digits-1", Role: "stable", Percent: 90, Replicas: 1, ReadyReplicas: 1, Time: &now, Model: &v1alpha1.ModelReference{Name: "digits", Digest: "sha256:1"}},
			},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: 2},
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving", Message: "digits-3 does not start", ObservedGeneration: 2},
			},
		},
	}
}

func TestServiceIsShown(t *testing.T) {
	s := shownService()
	now := time.Unix(1e9+120, 0)
	if d := cmp.Diff([]string{"lab", "digits", "digits@production", "Serving", "2/3", "10%", "https://g/lab/v2/models/digits", "2m", "digits-3 does not start"}, serviceRow(s, now)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([][]string{
		{"REVISION", "ROLE", "PERCENT", "READY", "MODEL", "SINCE", "MESSAGE"},
		{"digits-3", "starting", "0", "0/1", "-", "2m", "there is no room"},
		{"digits-2", "canary", "10", "1/1", "-", "2m", ""},
		{"digits-1", "stable", "90", "1/1", "digits@sha256:1", "2m", ""},
	}, revisionRows(s, now)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	facts := serviceFacts(s)
	if got := facts[6][1]; got != "0 to 4 replicas, 8 requests at a time each, asleep after 60 s" {
		t.Errorf("its scale is %q", got)
	}
	if got := facts[len(facts)-1][1]; got != "digits@next, 10%" {
		t.Errorf("its canary is %q", got)
	}
	fresh := &v1alpha1.InferenceService{Spec: v1alpha1.InferenceServiceSpec{Image: "x"}}
	if got := serviceRow(fresh, now); got[3] != "Pending" || got[2] != "x" {
		t.Errorf("before it was looked at: %q", got)
	}
}

func TestSettled(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.InferenceService)
		done   bool
		says   string
	}{
		"a rollout":       {func(*v1alpha1.InferenceService) {}, false, ""},
		"all is there":    {func(s *v1alpha1.InferenceService) { s.Status.Revisions = s.Status.Revisions[1:] }, true, ""},
		"an older spec":   {func(s *v1alpha1.InferenceService) { s.Status.Revisions, s.Generation = s.Status.Revisions[1:], 3 }, false, ""},
		"never looked at": {func(s *v1alpha1.InferenceService) { s.Status = v1alpha1.InferenceServiceStatus{} }, false, ""},
		"is not ready": {func(s *v1alpha1.InferenceService) {
			s.Status.Conditions[1].Status, s.Status.Revisions = metav1.ConditionFalse, nil
		}, false, ""},
		"cannot be served": {func(s *v1alpha1.InferenceService) {
			s.Status.Conditions[0].Status, s.Status.Conditions[0].Message = metav1.ConditionFalse, "no model"
		}, false, "no model"},
	} {
		s := shownService()
		tt.change(s)
		if done, says := settled(s); done != tt.done || says != tt.says {
			t.Errorf("%s: settled %v, %q", name, done, says)
		}
	}
}

func TestAwaitService(t *testing.T) {
	s := shownService()
	var out strings.Builder
	c := &kube.Client{WithWatch: kubetest.New(t, nil, s)}
	_, err := awaitService(t.Context(), c, s, 600*time.Millisecond, &out)
	if err == nil || usage.Is(err) || !strings.Contains(err.Error(), "not ready yet") || !strings.Contains(err.Error(), "digits-3 does not start") {
		t.Errorf("it ends with %v", err)
	}
	if out.String() != "digits-3 does not start\n" {
		t.Errorf("it says %q", out.String())
	}
	other := s.DeepCopy()
	other.UID = "another"
	if _, err := awaitService(t.Context(), c, other, time.Minute, &out); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("of another service: %v", err)
	}
	s.Status.Revisions = s.Status.Revisions[1:]
	c = &kube.Client{WithWatch: kubetest.New(t, nil, s)}
	if got, err := awaitService(t.Context(), c, s, time.Minute, &out); err != nil || got.Name != "digits" {
		t.Errorf("a service that is ready: %v", err)
	}
}

func TestCheckService(t *testing.T) {
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "digits"}, Status: v1alpha1.ModelStatus{Aliases: []v1alpha1.ModelAliasStatus{{Name: "production"}}}}
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "onnx-cpu"}}
	c := &kube.Client{WithWatch: kubetest.New(t, nil, m, rt), Namespace: "lab"}
	for name, tt := range map[string]struct {
		spec v1alpha1.InferenceServiceSpec
		want string
	}{
		"all there":   {v1alpha1.InferenceServiceSpec{Runtime: "onnx-cpu", Model: "digits@production"}, ""},
		"by digest":   {v1alpha1.InferenceServiceSpec{Image: "x", Model: "digits@sha256:1"}, ""},
		"no model":    {v1alpha1.InferenceServiceSpec{Image: "x"}, ""},
		"runtime":     {v1alpha1.InferenceServiceSpec{Runtime: "x"}, "known are onnx-cpu; `polder runtime build x`"},
		"model":       {v1alpha1.InferenceServiceSpec{Image: "x", Model: "digitz"}, "no model digitz in namespace lab"},
		"alias":       {v1alpha1.InferenceServiceSpec{Image: "x", Model: "digits@prod"}, "its aliases are production"},
		"of a canary": {v1alpha1.InferenceServiceSpec{Image: "x", Model: "digits", Canary: &v1alpha1.Canary{Model: "other"}}, "no model other"},
	} {
		err := checkService(t.Context(), c, &tt.spec)
		if tt.want == "" && err != nil || tt.want != "" && (!usage.Is(err) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v does not say %q", name, err, tt.want)
		}
	}
}

// TestWhatCannotBeServedIsNotMade: a model of another form costs a sentence, and no replica.
func TestWhatCannotBeServedIsNotMade(t *testing.T) {
	s := registrytest.New(t)
	images, err := registry.New(s.URL, s.Writer)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"model.onnx": "", "model.safetensors": "model m has no model.onnx, which Runtime onnx-cpu serves"} {
		file := pack.File{Path: name, Size: 1, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}
		d, _, err := pack.Push(t.Context(), images, "models/lab/m:latest", pack.Model{Name: "m"}, []pack.File{file})
		if err != nil {
			t.Fatal(err)
		}
		err = servable(t.Context(), images, "m", "models/lab/m@"+d.String())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !usage.Is(err)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := servable(t.Context(), images, "m", "models/lab/gone@sha256:"+strings.Repeat("a", 64)); err != nil {
		t.Errorf("what cannot be read is judged: %v", err)
	}
}

// TestUpdatesHaveNoDefaults: what is not said stays as it is.
func TestUpdatesHaveNoDefaults(t *testing.T) {
	for _, verb := range []string{"update", "scale"} {
		out, _ := command(t, "service", verb, "--help")
		if strings.Contains(out, "(default: 1") || !strings.Contains(out, "--min int32") {
			t.Errorf("service %s says defaults:\n%s", verb, out)
		}
	}
	wants(t, "cores of each replica (default: 500m)", 0, "serve", "--help")
}
