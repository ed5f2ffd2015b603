package apiserver

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// forgetful counts how often it was told to forget the kinds that it knows.
type forgetful struct {
	meta.ResettableRESTMapper
	resets int
}

func (f *forgetful) Reset() { f.resets++ }

func TestSettled(t *testing.T) {
	for name, tc := range map[string]struct {
		says   string
		again  bool
		resets int
	}{
		"our kind is not known yet": {"denied request: failed to configure policy: failed to find resource referenced by paramKind: 'polder.dev/v1alpha1, Kind=InferenceService'", true, 1},
		"its objects are not read":  {"failed to configure binding: paramKind kind `&ParamKind{Kind:InferenceService,APIVersion:polder.dev/v1alpha1,}` not yet synced to use for admission", true, 0},
		"a kind of somebody else":   {"failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=None'", false, 0},
		"what is really refused":    {"model ocr is used by InferenceService digits", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			kinds := &forgetful{}
			given := errors.New(tc.says)
			err := (&policies{kinds: kinds}).settled(given)
			seconds, wait := apierrors.SuggestsClientDelay(err)
			if wait != tc.again || wait && seconds != retryAfterSeconds || !wait && err != given || kinds.resets != tc.resets {
				t.Errorf("%v, wait %v s, %d resets", err, seconds, kinds.resets)
			}
		})
	}
	if err := (&policies{}).settled(nil); err != nil {
		t.Errorf("what is let through is refused: %v", err)
	}
}

// TestOptions: upstream takes our plugin beside its own.
func TestOptions(t *testing.T) {
	o := options.NewServerRunOptions().Admission
	settling(o.GenericAdmission)
	o.GenericAdmission.EnablePlugins = []string{pluginName}
	if errs := o.Validate(); len(errs) > 0 {
		t.Error(errors.Join(errs...))
	}
	p, err := o.GenericAdmission.Plugins.InitPlugin(pluginName, nil, admission.PluginInitializers{})
	if err == nil {
		t.Fatalf("%T is ready with nothing to work with", p)
	}
}
