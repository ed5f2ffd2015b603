package kube

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSettled(t *testing.T) {
	models := schema.GroupResource{Group: "polder.dev", Resource: "models"}
	young := apierrors.NewForbidden(models, "ocr", errors.New("ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'polder.dev/v1alpha1, Kind=InferenceService'"))
	young.ErrStatus.Reason, young.ErrStatus.Code = metav1.StatusReasonInvalid, http.StatusUnprocessableEntity // as the API server has it
	never := apierrors.NewForbidden(models, "ocr", errors.New("ValidatingAdmissionPolicy 'p' denied request: model ocr is used"))
	for name, tc := range map[string]struct {
		answers []error // the last again and again
		stop    time.Duration
		tries   int
		want    error
	}{
		"at once":                  {[]error{nil}, 0, 1, nil},
		"when it knows the kind":   {[]error{young, young, young, nil}, 0, 4, nil},
		"what is really refused":   {[]error{young, never}, 0, 2, never},
		"an error of another kind": {[]error{context.Canceled}, 0, 1, context.Canceled},
		"not for ever":             {[]error{young}, 0, 46, young},
		"not when nobody waits":    {[]error{young}, 3500 * time.Millisecond, 4, young},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.stop > 0 {
					time.AfterFunc(tc.stop, cancel)
				}
				tries := 0
				err := settled(ctx, func() error {
					tries++
					return tc.answers[min(tries, len(tc.answers))-1]
				})
				if err != tc.want || tries < tc.tries-1 || tries > tc.tries {
					t.Errorf("%v after %d tries, want %v after %d", err, tries, tc.want, tc.tries)
				}
			})
		})
	}
}
