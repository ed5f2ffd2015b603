package train

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
)

// marks of pods and PodGroups, by name.
func (c *cluster) marks() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, p := range c.pods() {
		if at, ok := p.Annotations[v1alpha1.AnnotationSaved]; ok {
			out[p.Name] = at
		}
	}
	var groups schedulingv1beta1.PodGroupList
	c.must(c.client.List(c.t.Context(), &groups, client.InNamespace("lab")))
	for _, g := range groups.Items {
		if at, ok := g.Annotations[v1alpha1.AnnotationSaved]; ok {
			out[g.Name] = at
		}
	}
	return out
}

func (c *cluster) epoch(n string, at time.Time) {
	c.t.Helper()
	c.write("metrics/metrics.jsonl", `{"event":"epoch","epoch":`+n+`,"epochs":9,"time":"`+at.Format(time.RFC3339)+`"}`+"\n")
}

// TestWhenAJobSavedIsMarked on its PodGroup, or on its only worker, and again only when
// it has become much later.
func TestWhenAJobSavedIsMarked(t *testing.T) {
	for workers, bearer := range map[int32]string{2: "digits-0", 1: "digits-0-0"} {
		t.Run(bearer, func(t *testing.T) { marked(t, workers, bearer) })
	}
}

func marked(t *testing.T, workers int32, bearer string) {
	c := newCluster(t)
	c.submit(digits(workers))
	c.runAll("digits", "digits-0")
	if m := c.marks(); len(m) > 0 {
		t.Errorf("a job that has reported nothing is marked: %v", m)
	}
	for _, step := range []struct {
		epoch string
		after time.Duration
		want  time.Duration
	}{{"1", time.Minute, time.Minute}, {"2", time.Minute + markEvery - time.Second, time.Minute}, {"3", time.Minute + markEvery, time.Minute + markEvery}} {
		c.epoch(step.epoch, epoch.Add(step.after))
		c.wait("digits", time.Second)
		m := c.marks()
		if want := epoch.Add(step.want).Format(time.RFC3339); len(m) != 1 || m[bearer] != want {
			t.Errorf("after epoch %s: %v, want %s at %s alone", step.epoch, m, want, bearer)
		}
	}
	c.restart() // and remembers nothing
	c.epoch("4", epoch.Add(time.Minute+markEvery+time.Second))
	c.wait("digits", time.Second)
	if m := c.marks(); m[bearer] != epoch.Add(time.Minute+markEvery+time.Second).Format(time.RFC3339) {
		t.Errorf("marks are %v", m)
	}
}

// TestAMarkThatIsRefusedStopsNothing: the job goes on, and it is tried again.
func TestAMarkThatIsRefusedStopsNothing(t *testing.T) {
	c := newCluster(t)
	refuse := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "digits-0-0", nil)
	c.client = interceptor.NewClient(c.client, interceptor.Funcs{Patch: func(ctx context.Context, to client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if _, ok := o.(*corev1.Pod); ok && refuse != nil {
			return refuse
		}
		return to.Patch(ctx, o, p, opts...)
	}})
	c.restart()
	c.submit(digits(1))
	c.runAll("digits", "digits-0")
	c.epoch("1", epoch)
	c.clock.SetTime(epoch.Add(time.Second))
	if _, err := c.r.reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "lab", Name: "digits"}}); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want what the API server said", err)
	}
	c.expect("digits", v1alpha1.StateRunning)
	refuse = nil
	c.wait("digits", time.Second)
	if m := c.marks(); len(m) != 1 {
		t.Errorf("marks are %v", m)
	}
}
