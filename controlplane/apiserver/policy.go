package apiserver

import (
	"context"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/server/options"

	"polder.dev/polder/api/v1alpha1"
)

// pluginName is that of upstream's ValidatingAdmissionPolicy with what is said at policies.
const pluginName = "SettlingAdmissionPolicy"

// settling registers policies, in upstream's place.
func settling(o *options.AdmissionOptions) {
	o.Plugins.Register(pluginName, func(config io.Reader) (admission.Interface, error) {
		p, err := validating.NewPlugin(config)
		if err != nil {
			return nil, err
		}
		return &policies{Plugin: p}, nil
	})
	at := slices.Index(o.RecommendedPluginOrder, validating.PluginName)
	o.RecommendedPluginOrder = slices.Insert(slices.Clone(o.RecommendedPluginOrder), at, pluginName)
}

// policies judges requests by ValidatingAdmissionPolicies. Upstream reads these as soon as it
// runs, and the kinds of CustomResourceDefinitions a little later; a policy whose parameters
// are of such a kind then refuses all that it is about as invalid, until upstream asks for
// the kinds again, which it does twice a minute. We have it ask at once, and tell the
// client to try again in a second, which every client of Kubernetes does by itself.
type policies struct {
	*validating.Plugin
	kinds meta.RESTMapper
}

var (
	_ admission.ValidationInterface    = (*policies)(nil)
	_ initializer.WantsRESTMapper      = (*policies)(nil)
	_ initializer.WantsManifestLoaders = (*policies)(nil)
)

// SetRESTMapper implements initializer.WantsRESTMapper.
func (p *policies) SetRESTMapper(kinds meta.RESTMapper) {
	p.kinds = kinds
	p.Plugin.SetRESTMapper(kinds)
}

// Validate implements admission.ValidationInterface.
func (p *policies) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	return p.settled(p.Plugin.Validate(ctx, a, o))
}

// retryAfterSeconds is how often upstream reads policies again in which something was wrong.
const retryAfterSeconds = 1

// settled turns the refusal by a policy that waits for a kind of Polder's own into a request
// to try again. It goes by the words, since upstream has none but these; kinds that are
// not ours may never come, and stay refused.
func (p *policies) settled(err error) error {
	if err == nil {
		return nil
	}
	unknown := strings.Contains(err.Error(), "failed to find resource referenced by paramKind: '"+v1alpha1.Group+"/")
	unread := strings.Contains(err.Error(), "not yet synced to use for admission") && strings.Contains(err.Error(), v1alpha1.Group+"/")
	if !unknown && !unread {
		return err
	}
	if unknown {
		meta.MaybeResetRESTMapper(p.kinds)
	}
	return apierrors.NewTooManyRequests("the API server has just started, and reads its policies; try again in a second", retryAfterSeconds)
}
