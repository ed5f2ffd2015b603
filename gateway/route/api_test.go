package route

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"polder.dev/polder/api/v1alpha1"
)

// What somebody else writes at the same time stays.
func TestStatusIsShared(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	others := 0
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(split()).WithStatusSubresource(&v1alpha1.ModelRoute{}).
		WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := c.Get(ctx, key, o, opts...); err != nil || others > 0 {
				return err
			}
			others++ // the controller writes between our read and our write
			r := o.DeepCopyObject().(*v1alpha1.ModelRoute)
			meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: "True", Reason: "Serving"})
			return c.Status().Update(ctx, r)
		}}).Build()
	a := API{Live: c}
	err := a.Write(t.Context(), split2key(), report{counts: counts{requests: 7}, expects: true, settled: true, logs: true}.write(time.Unix(1e9, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var r v1alpha1.ModelRoute
	if err := c.Get(t.Context(), split2key(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Status.Observed == nil || r.Status.Observed.Requests != 7 || len(r.Status.Conditions) != 3 || others != 1 {
		t.Errorf("%+v", r.Status)
	}
	if err := c.Delete(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(t.Context(), split2key(), report{}.write(time.Unix(1e9, 0))); err != nil {
		t.Errorf("a route that is gone: %v", err)
	}
}
