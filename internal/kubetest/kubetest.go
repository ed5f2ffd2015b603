// Package kubetest gives the tests of clients an API server to speak to: a fake one
// in memory, which holds Kubernetes' kinds and Polder's own. Only tests import it.
// It has no controllers and no admission: what a test needs done, the test does.
package kubetest

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"polder.dev/polder/api/v1alpha1"
)

// Refuse returns the error that a Create ends with, dry or not, or nil.
type Refuse func(o any) error

// New returns a client of a fake API server that holds objects; refuse may be nil.
func New(t testing.TB, refuse Refuse, objects ...client.Object) client.WithWatch {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&v1alpha1.TrainJob{}, &v1alpha1.Runtime{}).Build()
	return interceptor.NewClient(c, interceptor.Funcs{Create: create(refuse)})
}

type createFunc = func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error

func create(refuse Refuse) createFunc {
	return func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if refuse != nil {
			if err := refuse(o); err != nil {
				return err
			}
		}
		return c.Create(ctx, o, opts...)
	}
}
