package tenant

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func TestPolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		labels map[string]string
		from   map[string]string
	}{
		"a namespace is a tenant of its own": {nil, map[string]string{"kubernetes.io/metadata.name": "a"}},
		"the tenant's namespaces":            {map[string]string{v1alpha1.LabelTenant: "red"}, map[string]string{v1alpha1.LabelTenant: "red"}},
		"an empty label is none":             {map[string]string{v1alpha1.LabelTenant: ""}, map[string]string{"kubernetes.io/metadata.name": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Policy(namespace("a", tc.labels))
			want := networkingv1.NetworkPolicySpec{
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: tc.from},
				}}}},
			}
			if d := cmp.Diff(want, p.Spec); d != "" || p.Namespace != "a" || p.Name != PolicyName {
				t.Errorf("%s/%s (-want +got):\n%s", p.Namespace, p.Name, d)
			}
		})
	}
}

// start returns a controller over a fake API server; writes counts its writes.
func start(t *testing.T, refuse error, objects ...client.Object) (*Controller, client.Client, *int) {
	t.Helper()
	writes := 0
	c := fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if writes++; refuse != nil {
				return refuse
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			writes++
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	return New(slog.New(slog.DiscardHandler), c), c, &writes
}

func look(t *testing.T, c *Controller, name string) (reconcile.Result, error) {
	t.Helper()
	return c.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}})
}

func TestReconcile(t *testing.T) {
	ns := namespace("a", nil)
	c, api, writes := start(t, nil, ns)
	spec := func() networkingv1.NetworkPolicySpec {
		t.Helper()
		var p networkingv1.NetworkPolicy
		if err := api.Get(t.Context(), client.ObjectKey{Namespace: "a", Name: PolicyName}, &p); err != nil {
			t.Fatal(err)
		}
		return p.Spec
	}
	steps := []struct {
		name   string
		do     func() error
		writes int
	}{
		{"a new namespace gets its policy", func() error { return nil }, 1},
		{"a second look changes nothing", func() error { return nil }, 0},
		{"what a tenant opened is closed again", func() error {
			var p networkingv1.NetworkPolicy
			if err := api.Get(t.Context(), client.ObjectKey{Namespace: "a", Name: PolicyName}, &p); err != nil {
				return err
			}
			p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
			return api.Update(t.Context(), &p)
		}, 1},
		{"a policy that was removed comes back", func() error {
			return api.Delete(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: PolicyName}})
		}, 1},
		{"a new label is a new policy", func() error {
			ns.Labels = map[string]string{v1alpha1.LabelTenant: "red"}
			return api.Update(t.Context(), ns)
		}, 1},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		*writes = 0
		if res, err := look(t, c, "a"); err != nil || res != (reconcile.Result{}) {
			t.Fatalf("%s: %+v, %v", s.name, res, err)
		}
		if d := cmp.Diff(Policy(ns).Spec, spec()); d != "" || *writes != s.writes {
			t.Errorf("%s: %d writes, want %d (-want +got):\n%s", s.name, *writes, s.writes, d)
		}
	}
}

func TestNamespacesOfTheSystemAreLeftAlone(t *testing.T) {
	gone := namespace("gone", nil)
	gone.Finalizers, gone.DeletionTimestamp = []string{"x"}, &metav1.Time{Time: metav1.Now().Time}
	objects := []client.Object{gone}
	for _, n := range System {
		objects = append(objects, namespace(n, nil))
	}
	c, _, writes := start(t, nil, objects...)
	for _, n := range append([]string{"nowhere", "gone"}, System...) {
		if res, err := look(t, c, n); err != nil || res != (reconcile.Result{}) || *writes != 0 {
			t.Errorf("%s: %+v, %v, %d writes", n, res, err, *writes)
		}
	}
	if len(System) != 4 {
		t.Errorf("%v are of the system; the admission policies of system/bootstrap name four", System)
	}
}

func TestRefusedWrites(t *testing.T) {
	policies := schema.GroupResource{Group: "networking.k8s.io", Resource: "networkpolicies"}
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		refuse error
		again  bool
	}{
		"the cache is behind": {apierrors.NewAlreadyExists(policies, PolicyName), true},
		"any other reason":    {broken, false},
	} {
		c, _, _ := start(t, tc.refuse, namespace("a", nil))
		res, err := look(t, c, "a")
		if tc.again && (err != nil || res.RequeueAfter <= 0) || !tc.again && !errors.Is(err, broken) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}
