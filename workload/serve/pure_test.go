package serve

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

func target0() *target {
	return &target{name: "svc-1", model: &v1alpha1.ModelReference{Name: "digits", Digest: digestA, Reference: "models/lab/digits@" + digestA}}
}

// TestPodIsRestricted holds a replica to Pod Security's restricted profile and to the
// contract of docs/howto/serving.md.
func TestPodIsRestricted(t *testing.T) {
	svc := service("digits", 1)
	svc.Spec.Env = []corev1.EnvVar{{Name: "MINE", Value: "1"}}
	svc.Spec.Batch = &v1alpha1.Batch{Max: 16, DelayMicroseconds: 200}
	svc.Spec.Resources.CPU = resource.MustParse("1500m")
	svc.Spec.TimeoutSeconds = 86400
	v := v1alpha1.RuntimeVariant{Software: "cpu", Image: "runtimes/onnx-cpu", Digest: digestC, Sandbox: "kata", Env: []corev1.EnvVar{{Name: "MINE", Value: "0"}}}
	spec := podOf(svc, target0(), workload.Choice{Variant: v})
	c := spec.Containers[0]
	if s := spec.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context = %+v", s)
	}
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("container security context = %+v", s)
	}
	if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks || *spec.RuntimeClassName != "kata" || *spec.TerminationGracePeriodSeconds != 300 {
		t.Errorf("pod = %+v", spec)
	}
	if p := c.ReadinessProbe; p.HTTPGet.Path != "/v2/health/ready" || p.PeriodSeconds != 1 || c.Ports[0].ContainerPort != 8080 {
		t.Errorf("probe = %+v, ports %+v", p, c.Ports)
	}
	if c.Image != "registry.polder.internal/runtimes/onnx-cpu@"+digestC {
		t.Errorf("image = %s", c.Image)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	want := map[string]string{
		"HOME": "/tmp", "MINE": "1", "OMP_NUM_THREADS": "2", "PORT": "8080", "POLDER_SERVICE": "svc", "POLDER_NAMESPACE": "lab", "POLDER_REVISION": "svc-1",
		"POLDER_THREADS": "2", "POLDER_MODEL_NAME": "svc", "POLDER_MODEL_DIR": "/polder/model", "POLDER_MODEL": "digits", "POLDER_MODEL_DIGEST": digestA,
		"POLDER_BATCH_MAX": "16", "POLDER_BATCH_DELAY_MICROSECONDS": "200",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	for _, m := range c.VolumeMounts {
		if m.MountPath == "/polder/model" && !m.ReadOnly {
			t.Error("the model can be written")
		}
	}
	bare := podOf(svc, &target{name: "svc-1"}, workload.Choice{Variant: v})
	if len(bare.Volumes) != 1 || len(bare.Containers[0].VolumeMounts) != 1 {
		t.Errorf("without a model there are volumes %+v", bare.Volumes)
	}
}

// TestRevisionName: what is another revision, and what is not. The name itself must not
// change from one version of this program to the next, or all services roll out.
func TestRevisionName(t *testing.T) {
	name := func(edit func(*v1alpha1.InferenceService, *v1alpha1.Runtime)) string {
		svc, rt := service("digits", 1), onnx()
		edit(svc, rt)
		got, err := targetOf(&world{svc: svc, runtime: rt, models: map[string]*v1alpha1.Model{"digits": model("digits", digestA)}}, "spec.model", svc.Spec.Model)
		if err != nil {
			t.Fatal(err)
		}
		return got.name
	}
	base := name(func(*v1alpha1.InferenceService, *v1alpha1.Runtime) {})
	if base != "svc-ea51bef222" {
		t.Errorf("the revision is called %s", base)
	}
	for what, edit := range map[string]func(*v1alpha1.InferenceService, *v1alpha1.Runtime){
		"the model by digest": func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Model += "@" + digestA },
		"the scale":           func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Scale = v1alpha1.Scale{Max: 9} },
		"defaults": func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) {
			s.Spec.Protocol, s.Spec.Port, s.Spec.ReadyPath = "", 0, "/v2/health/ready"
		},
		"another software": func(_ *v1alpha1.InferenceService, rt *v1alpha1.Runtime) {
			rt.Spec.Variants = append(rt.Spec.Variants, v1alpha1.RuntimeVariant{Software: "cuda", Image: "x"})
		},
	} {
		if got := name(edit); got != base {
			t.Errorf("%s makes another revision", what)
		}
	}
	seen := map[string]string{base: "nothing"}
	for what, edit := range map[string]func(*v1alpha1.InferenceService, *v1alpha1.Runtime){
		"the model":   func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Model += "@" + digestB },
		"the command": func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Command = []string{"x"} },
		"a variable":  func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Env = []corev1.EnvVar{{Name: "A"}} },
		"the batch":   func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Batch = &v1alpha1.Batch{Max: 2} },
		"the memory": func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) {
			s.Spec.Resources.Memory = resource.MustParse("2Gi")
		},
		"the port":      func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.Port = 9000 },
		"the timeout":   func(s *v1alpha1.InferenceService, _ *v1alpha1.Runtime) { s.Spec.TimeoutSeconds = 1 },
		"the runtime":   func(_ *v1alpha1.InferenceService, rt *v1alpha1.Runtime) { rt.Spec.Variants[0].Digest = digestB },
		"its variables": func(_ *v1alpha1.InferenceService, rt *v1alpha1.Runtime) { rt.Spec.Variants[0].Env = nil },
	} {
		got := name(edit)
		if other, ok := seen[got]; ok {
			t.Errorf("%s makes the revision that %s makes", what, other)
		}
		seen[got] = what
	}
}

func TestURL(t *testing.T) {
	for protocol, want := range map[v1alpha1.Protocol]string{
		v1alpha1.ProtocolV2: "https://g/lab/v2/models/svc", v1alpha1.ProtocolOpenAI: "https://g/lab/v1", v1alpha1.ProtocolHTTP: "https://g/lab/http/svc", "": "https://g/lab/v2/models/svc",
	} {
		svc := service("digits", 1)
		svc.Spec.Protocol = protocol
		if got := urlOf(svc, "https://g/"); got != want {
			t.Errorf("%s is served at %s, want %s", protocol, got, want)
		}
		if got := urlOf(svc, ""); got != "" {
			t.Errorf("without a gateway it is served at %s", got)
		}
	}
}

// TestAcceleratorsAreClaimed: devices that a driver publishes are claimed, by a template of
// the revision's name that goes with it; those of a device plugin are asked for by resource.
func TestAcceleratorsAreClaimed(t *testing.T) {
	svc := service("digits", 1)
	svc.Spec.Runtime, svc.Spec.Image = "", "images/lab/llm"
	svc.Spec.Accelerators = v1alpha1.Accelerators{Count: 2, Software: []string{"cuda"}}
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("8")}}}
	c, err := choiceOf(&world{svc: svc, nodes: []corev1.Node{node}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	objects := objectsOf(svc, target0(), c, 1)
	if set := objects[0].(*appsv1.ReplicaSet); len(objects) != 1 || set.Spec.Template.Spec.Containers[0].Resources.Limits.Name("nvidia.com/gpu", resource.DecimalSI).Value() != 2 {
		t.Errorf("objects are %+v", objects)
	}
	r := *claimFor(t, svc)
	objects = objectsOf(svc, target0(), workload.Choice{Variant: c.Variant, Claim: &r}, 1)
	if len(objects) != 2 {
		t.Fatalf("objects are %+v", objects)
	}
	template, set := objects[0].(*resourcev1.ResourceClaimTemplate), objects[1].(*appsv1.ReplicaSet)
	spec := set.Spec.Template.Spec
	if *spec.ResourceClaims[0].ResourceClaimTemplateName != template.Name || template.Spec.Spec.Devices.Requests[0].Exactly.Count != 2 {
		t.Errorf("the pod names %+v, the template is %+v", spec.ResourceClaims, template)
	}
	if gone := withTemplate(set); len(gone) != 2 || gone[0].GetName() != template.Name {
		t.Errorf("with it go %+v", gone)
	}
	if ptr.Deref(spec.RuntimeClassName, "") != "" {
		t.Error("the sandbox is admission's to choose")
	}
}

func claimFor(t *testing.T, svc *v1alpha1.InferenceService) *device.Requirement {
	t.Helper()
	r := claim.Of(svc.Spec.Accelerators)
	if err := claim.Validate(r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestRBACIsForTheControllers(t *testing.T) {
	role, binding, ok := strings.Cut(string(RBAC), "\n---\n")
	var r rbacv1.ClusterRole
	var b rbacv1.ClusterRoleBinding
	if err := errors.Join(yaml.UnmarshalStrict([]byte(role), &r), yaml.UnmarshalStrict([]byte(binding), &b)); err != nil || !ok {
		t.Fatal(err)
	}
	if len(r.Rules) == 0 || b.RoleRef.Name != r.Name || b.Subjects[0].Name != "polder:controllers" {
		t.Errorf("binding = %+v of role %s", b, r.Name)
	}
	for _, rule := range r.Rules {
		if slices.Contains(rule.Resources, "replicasets") && (slices.Contains(rule.Verbs, "patch") || slices.Contains(rule.Verbs, "update")) {
			t.Error("it may scale, which is the gateway's alone")
		}
	}
}
