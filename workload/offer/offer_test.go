package offer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// shelf is a registry: it holds these references, and fails for others when it is
// broken.
type shelf struct {
	holds  []string
	broken error
	asked  []string
}

func (s *shelf) Exists(_ context.Context, reference string) (bool, error) {
	s.asked = append(s.asked, reference)
	for _, h := range s.holds {
		if h == reference {
			return true, nil
		}
	}
	return false, s.broken
}

func node(resources ...corev1.ResourceName) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{}}}
	for _, r := range resources {
		n.Status.Allocatable[r] = resource.MustParse("1")
	}
	return n
}

// start returns a controller over a fake API server with these objects; writes
// counts what was written.
func start(t *testing.T, images Registry, writes *int, objects ...client.Object) (*Controller, client.Client) {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&v1alpha1.Runtime{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			*writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		}}).Build()
	r, err := New(slog.New(slog.DiscardHandler), c, images)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

func TestReady(t *testing.T) {
	type variants = []v1alpha1.RuntimeVariant
	const own = "registry.polder.internal/runtimes/x@" + digest
	cpu := v1alpha1.RuntimeVariant{Software: "cpu", Image: "runtimes/x", Digest: digest}
	cuda := v1alpha1.RuntimeVariant{Software: "cuda", Image: "docker.io/pytorch/pytorch:2"}
	for name, tc := range map[string]struct {
		variants variants
		nodes    []client.Object
		holds    []string
		broken   error
		status   metav1.ConditionStatus
		reason   string
		says     string
		asked    []string
	}{
		"its image is there": {variants: variants{cpu}, holds: []string{own}, status: metav1.ConditionTrue, reason: ReasonUsable, says: "cpu", asked: []string{own}},
		"its image is not":   {variants: variants{cpu}, status: metav1.ConditionFalse, reason: ReasonNoImage, says: "polder runtime build", asked: []string{own}},
		"another digest is there": {
			variants: variants{cpu}, holds: []string{"registry.polder.internal/runtimes/x"}, status: metav1.ConditionFalse, reason: ReasonNoImage, says: digest, asked: []string{own},
		},
		"no node has its devices": {variants: variants{cuda}, nodes: []client.Object{node("amd.com/gpu")}, status: metav1.ConditionFalse, reason: ReasonNoHardware, says: "nvidia.com/gpu"},
		"a node has, and another registry is not asked": {
			variants: variants{cuda}, nodes: []client.Object{node("nvidia.com/gpu")}, status: metav1.ConditionTrue, reason: ReasonUsable, says: "cuda",
		},
		"one variant of two is enough": {
			variants: variants{cuda, cpu}, holds: []string{own}, status: metav1.ConditionTrue, reason: ReasonUsable, says: "cpu", asked: []string{own},
		},
		"what all lack is said": {variants: variants{cuda, cpu}, status: metav1.ConditionFalse, reason: ReasonNoImage, says: "no node has nvidia.com/gpu, which cuda needs; " + own, asked: []string{own}},
		"software nobody knows": {variants: variants{{Software: "abacus", Image: "x"}}, status: metav1.ConditionFalse, reason: ReasonNoHardware, says: "abacus"},
		"the registry is down, and not needed": {
			variants: variants{cpu, cuda}, nodes: []client.Object{node("nvidia.com/gpu")}, broken: errors.New("down"), status: metav1.ConditionTrue, reason: ReasonUsable, says: "cuda", asked: []string{own},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 3}, Spec: v1alpha1.RuntimeSpec{Framework: "f", Version: "1", Variants: tc.variants}}
			images := &shelf{holds: tc.holds, broken: tc.broken}
			writes := 0
			r, c := start(t, images, &writes, append(tc.nodes, rt)...)
			look := func() *metav1.Condition {
				t.Helper()
				var have v1alpha1.Runtime
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(rt), &have); err != nil {
					t.Fatal(err)
				}
				res, err := r.Reconcile(t.Context(), &have)
				if err != nil || res.RequeueAfter != lookEvery {
					t.Fatalf("%+v, %v", res, err)
				}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(rt), &have); err != nil {
					t.Fatal(err)
				}
				return apimeta.FindStatusCondition(have.Status.Conditions, v1alpha1.ConditionReady)
			}
			got := look()
			if got == nil || got.Status != tc.status || got.Reason != tc.reason || !strings.Contains(got.Message, tc.says) || got.ObservedGeneration != 3 {
				t.Fatalf("condition %+v; want %s, %s, a message with %q, generation 3", got, tc.status, tc.reason, tc.says)
			}
			if d := cmp.Diff(tc.asked, images.asked); d != "" {
				t.Errorf("asked of the registry (-want +got):\n%s", d)
			}
			if d := cmp.Diff(got, look()); d != "" || writes != 1 {
				t.Errorf("a second look wrote again (%d writes): %s", writes, d)
			}
		})
	}
}

func TestARegistryThatDoesNotAnswerSaysNothing(t *testing.T) {
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: v1alpha1.RuntimeSpec{Variants: []v1alpha1.RuntimeVariant{{Software: "cpu", Image: "x"}}}}
	down := errors.New("down")
	writes := 0
	r, c := start(t, &shelf{broken: down}, &writes, rt)
	var have v1alpha1.Runtime
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(rt), &have); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), &have); !errors.Is(err, down) || writes != 0 {
		t.Errorf("error %v after %d writes; want %v and none", err, writes, down)
	}
}

func TestNodesChange(t *testing.T) {
	p := devicesChanged()
	busy := node("nvidia.com/gpu")
	busy.Status.Allocatable[corev1.ResourceMemory] = resource.MustParse("1Gi")
	for name, tc := range map[string]struct {
		before, after *corev1.Node
		want          bool
	}{
		"a heartbeat":      {node("nvidia.com/gpu"), busy, false},
		"a device appears": {node(), node("nvidia.com/gpu"), true},
		"a device is gone": {node("nvidia.com/gpu"), node(), true},
	} {
		if got := p.Update(event.UpdateEvent{ObjectOld: tc.before, ObjectNew: tc.after}); got != tc.want {
			t.Errorf("%s: looked again: %v, want %v", name, got, tc.want)
		}
	}
	writes := 0
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	r, _ := start(t, &shelf{}, &writes, rt)
	if reqs := r.all(t.Context(), nil); len(reqs) != 1 || reqs[0].Name != "x" {
		t.Errorf("a node's change looks at %v", reqs)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(nil, nil, nil); err == nil {
		t.Error("a controller of nothing was made")
	}
}

// TestRBAC: the controller may write the status, and nothing else.
func TestRBAC(t *testing.T) {
	first, _, _ := strings.Cut(string(RBAC), "\n---\n")
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(first), &role); err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		for _, v := range rule.Verbs {
			read := v == "get" || v == "list" || v == "watch"
			if !read && (v != "patch" || !cmp.Equal(rule.Resources, []string{"runtimes/status"})) {
				t.Errorf("may %s %v", v, rule.Resources)
			}
		}
	}
}
