//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// tenantPolicy is the policy that keeps a namespace to its tenant.
const tenantPolicy = "polder-default"

// TestTenantsIsolated sets up two tenants, one of them with two namespaces, and
// sees who reaches whom, also after somebody tried to change that.
func TestTenantsIsolated(t *testing.T) {
	c := shared(t)
	c.probe(t)
	red := map[string]string{v1alpha1.LabelTenant: "red"}
	pods := map[string]*corev1.Pod{}
	for _, ns := range []struct {
		name   string
		labels map[string]string
	}{{"red-one", red}, {"red-two", red}, {"blue", nil}} {
		c.namespace(t, ns.name, ns.labels)
		pods[ns.name] = c.serve(t, ns.name)
	}
	reach := func(from, to string) error { return c.reach(t, pods[from], pods[to]) }

	t.Run("a tenant reaches its own namespaces", func(t *testing.T) {
		for _, p := range [][2]string{{"red-one", "red-two"}, {"red-two", "red-one"}, {"red-one", "red-one"}, {"blue", "blue"}} {
			waitFor(t, time.Minute, p[0]+" reaching "+p[1], func(context.Context) error { return reach(p[0], p[1]) })
		}
	})
	t.Run("and nobody else's", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, p := range [][2]string{{"red-one", "blue"}, {"red-two", "blue"}, {"blue", "red-one"}, {"blue", "red-two"}} {
			wg.Go(func() { c.unreached(t, pods[p[0]], pods[p[1]]) })
		}
		wg.Wait()
	})
	t.Run("names are resolved", func(t *testing.T) {
		for _, name := range []string{"kubernetes.default.svc.cluster.local", "server.red-one.svc.cluster.local", "server"} {
			waitFor(t, time.Minute, name+" being resolved", func(ctx context.Context) error {
				out, err := c.exec(ctx, t, pods["red-one"], "resolve", name)
				if err == nil && out == "" {
					err = fmt.Errorf("no address")
				}
				return err
			})
		}
	})
	t.Run("a new pod is closed from its first moment", func(t *testing.T) {
		p := probePod("red-one", "late", "serve", "8080", "late")
		late := c.start(t, p)
		c.unreached(t, pods["blue"], late)
	})

	mallory, kubeconfig := c.user(t, "mallory", "red-one")
	t.Run("a tenant keeps to its own images", func(t *testing.T) { c.imagesApart(t, mallory, kubeconfig) })
	t.Run("the policy is put back", func(t *testing.T) {
		c.putBack(t, "deleted", func(ctx context.Context, p *networkingv1.NetworkPolicy) error { return mallory.Delete(ctx, p) })
		c.putBack(t, "opened", func(ctx context.Context, p *networkingv1.NetworkPolicy) error {
			p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}} // from everywhere
			return mallory.Update(ctx, p)
		})
		waitFor(t, time.Minute, "blue not reaching red-one", func(context.Context) error {
			if reach("blue", "red-one") == nil {
				return fmt.Errorf("it does")
			}
			return nil
		})
		c.unreached(t, pods["blue"], pods["red-one"])
	})
	t.Run("a tenant cannot leave its place", func(t *testing.T) { c.confined(t, mallory) })
}

// serve starts a server in a namespace, with a Service before it.
func (c *cloud) serve(t *testing.T, ns string) *corev1.Pod {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "server"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "server"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if err := c.api(t).Create(brief(t), s); err != nil {
		t.Fatal(err)
	}
	return c.start(t, probePod(ns, "server", "serve", "8080", "this is "+ns))
}

// ways are the addresses by which to is reached: its own, and its Service's.
func ways(to *corev1.Pod) []string {
	w := []string{"http://" + to.Status.PodIP + ":8080"}
	if to.Name == "server" {
		w = append(w, "http://server."+to.Namespace+".svc.cluster.local")
	}
	return w
}

// reach returns nil when a request from one pod gets to another by all ways.
func (c *cloud) reach(t testing.TB, from, to *corev1.Pod) error {
	for _, url := range ways(to) {
		ctx, cancel := context.WithTimeout(t.Context(), callLimit)
		out, err := c.exec(ctx, t, from, "get", url)
		cancel()
		if err == nil && out != "this is "+to.Namespace {
			err = fmt.Errorf("the answer is %q", out)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
	}
	return nil
}

// unreached checks that no way leads from one pod to another, though the other
// serves and names are resolved.
func (c *cloud) unreached(t testing.TB, from, to *corev1.Pod) {
	t.Helper()
	for _, url := range ways(to) {
		out, err := c.exec(brief(t), t, from, "get", url)
		switch {
		case err == nil:
			t.Errorf("%s reaches %s: %q", from.Namespace, url, out)
		case !strings.Contains(err.Error(), "deadline exceeded") && !strings.Contains(err.Error(), "timeout") && !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "unreachable"):
			t.Errorf("%s asked for %s and failed for another reason than the network: %v", from.Namespace, url, err)
		}
	}
	err := awaited(t.Context(), time.Minute, to.Namespace+"/"+to.Name+" serving, without which it shows nothing that it is not reached", func(ctx context.Context) error {
		_, err := c.exec(ctx, t, to, "get", "http://127.0.0.1:8080")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// putBack lets a tenant change the policy of red-one and waits until it is again
// what it was.
func (c *cloud) putBack(t *testing.T, how string, change func(context.Context, *networkingv1.NetworkPolicy) error) {
	t.Helper()
	key := kube.Key("red-one", tenantPolicy)
	var before networkingv1.NetworkPolicy
	if err := c.api(t).Get(brief(t), key, &before); err != nil {
		t.Fatal(err)
	}
	if err := change(brief(t), before.DeepCopy()); err != nil {
		t.Fatalf("%s by a tenant, who may: %v", how, err)
	}
	waitFor(t, time.Minute, "the policy put back after it was "+how, func(ctx context.Context) error {
		var now networkingv1.NetworkPolicy
		if err := c.api(t).Get(ctx, key, &now); err != nil {
			return err
		}
		if now.DeletionTimestamp != nil || !apiequality.Semantic.DeepEqual(now.Spec, before.Spec) || now.ResourceVersion == before.ResourceVersion {
			return fmt.Errorf("it is %+v", now.Spec)
		}
		return nil
	})
}

// confined tries, as a tenant who may edit red-one, what would lead out of it.
func (c *cloud) confined(t *testing.T, who *kube.Client) {
	var ns corev1.Namespace
	if err := c.api(t).Get(brief(t), kube.Key("", "red-one"), &ns); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{v1alpha1.LabelTenant: "blue", v1alpha1.LabelSandbox: "runc", "pod-security.kubernetes.io/enforce": "privileged"} {
		changed := ns.DeepCopy()
		changed.Labels[key] = value
		refused(t, "labelling the namespace "+key+"="+value, who.Patch(brief(t), changed, kube.Changes(&ns)))
	}
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "blue", Name: "open"}, Spec: networkingv1.NetworkPolicySpec{
		Ingress: []networkingv1.NetworkPolicyIngressRule{{}},
	}}
	refused(t, "opening another tenant's namespace", who.Create(brief(t), policy))
	refused(t, "making a pod in another tenant's namespace", who.Create(brief(t), probePod("blue", "intruder", "look")))
	refused(t, "reading another tenant's secrets", who.List(brief(t), &corev1.SecretList{}, kube.InNamespace("blue")))
	refused(t, "reading another tenant's jobs", who.List(brief(t), &v1alpha1.TrainJobList{}, kube.InNamespace("blue")))
	refused(t, "making a namespace", who.Create(brief(t), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}))
	refused(t, "writing a runtime", who.Create(brief(t), &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: v1alpha1.RuntimeSpec{
		Framework: "x", Version: "1", Variants: []v1alpha1.RuntimeVariant{{Software: "cpu", Image: "x"}},
	}}))
	if err := who.List(brief(t), &corev1.PodList{}, kube.InNamespace("red-one")); err != nil {
		t.Errorf("a tenant cannot read their own namespace, so that the refusals show nothing: %v", err)
	}
}
