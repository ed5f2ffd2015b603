package serve

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"polder.dev/polder/api/v1alpha1"
)

// errLost is what a write ends with that never came, or whose answer did not.
var errLost = errors.New("the connection is lost")

// unsteady has writes fail with a probability, half of them after they were carried out.
func (c *cluster) unsteady(rng *rand.Rand, share *float64) {
	lose := func(do func() error) error {
		switch {
		case rng.Float64() >= *share:
			return do()
		case rng.IntN(2) == 0:
			return errLost
		}
		return errors.Join(do(), errLost)
	}
	c.r.client = interceptor.NewClient(c.client, interceptor.Funcs{
		Create: func(ctx context.Context, to client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return lose(func() error { return to.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, to client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return lose(func() error { return to.Delete(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, to client.Client, name string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return lose(func() error { return to.SubResource(name).Patch(ctx, o, patch, opts...) })
		},
	})
}

// sound checks what must hold at every moment. Before are the ReplicaSets that got
// requests before the controller looked.
func (c *cluster) sound(before []string) {
	c.t.Helper()
	var sum, stable, canary int32
	for _, r := range c.svc().Status.Revisions {
		sum += r.Percent
		switch r.Role {
		case v1alpha1.RevisionStable:
			stable++
		case v1alpha1.RevisionCanary:
			canary++
		default:
			if r.Percent != 0 {
				c.t.Fatalf("what is %s gets requests: %q", r.Role, c.revisions())
			}
		}
		if r.Percent > 0 && !r.WasReady {
			c.t.Fatalf("what was never ready gets requests: %q", c.revisions())
		}
	}
	if stable > 1 || canary > 1 || sum != 100*stable {
		c.t.Fatalf("requests go to %q", c.revisions())
	}
	served := c.serving()
	for _, name := range before {
		if slices.Contains(served, name) && !slices.Contains(c.sets(), name) {
			c.t.Fatalf("ReplicaSet %s is removed, and gets requests: %q", name, c.revisions())
		}
	}
}

// serving are the ReplicaSets that are there and get requests.
func (c *cluster) serving() []string {
	var names []string
	for _, r := range c.svc().Status.Revisions {
		if r.Percent > 0 && slices.Contains(c.sets(), r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// glance lets the controller look once or a few times, whatever becomes of it.
func (c *cluster) glance(n int) {
	c.t.Helper()
	for range n {
		before := c.serving()
		if _, err := c.r.reconcile(c.t.Context(), request()); err != nil && !errors.Is(err, errLost) {
			c.t.Fatal(err)
		}
		c.sound(before)
	}
}

// TestAnyOrder: people, the gateway and the kubelet do what they like in any order, and
// writes are lost. What gets requests is never taken away, and in the end there is what is
// asked for and nothing else.
func TestAnyOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 4 {
		c := newCluster(t)
		share := 0.3
		c.unsteady(rng, &share)
		svc := service("digits", int32(rng.IntN(3)))
		c.must(c.client.Create(t.Context(), svc))
		for range 50 {
			c.disturb(rng)
			c.glance(1 + rng.IntN(3))
		}
		share = 0
		c.rest(rng)
	}
}

// disturb does one thing that somebody may do.
func (c *cluster) disturb(rng *rand.Rand) {
	c.t.Helper()
	digests := []string{digestA, digestB, digestC}
	edit := func(change func(*v1alpha1.InferenceServiceSpec)) {
		svc := c.svc()
		change(&svc.Spec)
		svc.Generation++
		c.must(c.client.Update(c.t.Context(), svc))
	}
	sets := c.sets()
	any := func(do func(set string)) {
		if len(sets) > 0 {
			do(sets[rng.IntN(len(sets))])
		}
	}
	switch rng.IntN(9) {
	case 0:
		edit(func(s *v1alpha1.InferenceServiceSpec) { s.Model = "digits@" + digests[rng.IntN(3)] })
	case 1:
		edit(func(s *v1alpha1.InferenceServiceSpec) {
			s.Canary = &v1alpha1.Canary{Model: "digits@" + digests[rng.IntN(3)], Percent: int32(rng.IntN(101))}
		})
	case 2:
		edit(func(s *v1alpha1.InferenceServiceSpec) { s.Canary = nil })
	case 3:
		edit(func(s *v1alpha1.InferenceServiceSpec) { s.Model = "nothing" })
	case 4: // the gateway
		any(func(set string) {
			s := c.set(set)
			s.Spec.Replicas = ptr.To(int32(rng.IntN(4)))
			c.must(c.client.Update(c.t.Context(), s))
		})
	case 5:
		any(func(set string) {
			c.podsOf(set, []func(*corev1.PodStatus){pending, homeless, crashed(1, "Error", "x"), waits("ErrImagePull", "x")}[rng.IntN(4)])
		})
	case 6: // a person
		any(func(set string) { c.must(c.client.Delete(c.t.Context(), c.set(set))) })
	case 7:
		c.clock.SetTime(c.clock.Now().Add(time.Duration(rng.IntN(90)) * time.Second))
	case 8:
		any(func(set string) { c.podsOf(set, up) })
	}
}

// rest lets everything be well from now on, and checks that it becomes what is asked for.
func (c *cluster) rest(rng *rand.Rand) {
	c.t.Helper()
	svc := c.svc()
	svc.Spec.Model, svc.Generation = "digits@"+digestA, svc.Generation+1
	c.must(c.client.Update(c.t.Context(), svc))
	for range 20 {
		c.glance(3)
		var list appsv1.ReplicaSetList
		c.must(c.client.List(c.t.Context(), &list))
		for i := range list.Items {
			c.podsOf(list.Items[i].Name, up)
		}
		c.clock.SetTime(c.clock.Now().Add(time.Duration(5+rng.IntN(20)) * time.Second))
	}
	c.glance(3)
	want := 1
	if k := c.svc().Spec.Canary; k != nil && k.Model != "digits@"+digestA {
		want = 2
	}
	revisions := c.svc().Status.Revisions
	if len(revisions) != want || len(c.sets()) != want || c.name(digestA) == "" || slices.ContainsFunc(revisions, func(r v1alpha1.Revision) bool {
		return r.Role != v1alpha1.RevisionStable && r.Role != v1alpha1.RevisionCanary
	}) {
		c.t.Fatalf("in the end there is %q, and ReplicaSets %q; want %d; canary %+v", c.revisions(), c.sets(), want, c.svc().Spec.Canary)
	}
}
