package evaluation

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
)

// AccountName is the name of the service account that an evaluation's pod asks services as,
// and of the role that it has.
func AccountName(evaluation string) string { return "evaluate-" + evaluation }

// tokenSeconds is how long a token for the gateway is good for; the kubelet renews it.
const tokenSeconds = 3600

// remote reports whether an entry is asked through the gateway.
func remote(m *v1alpha1.EvaluatedModel) bool { return m.Service != "" || m.Route != "" }

// asks reports whether the evaluation's pod asks any services.
func asks(e *v1alpha1.Evaluation) bool {
	for i := range e.Spec.Models {
		if remote(&e.Spec.Models[i]) {
			return true
		}
	}
	return false
}

// served is what is known of the services behind an entry.
type served struct {
	services []v1alpha1.InferenceService
	// reason and why it cannot be asked now; wrong, that it never can.
	reason, why, wrong string
}

// service looks at the service or route of an entry.
func (c *Controller) service(ctx context.Context, e *v1alpha1.Evaluation, m *v1alpha1.EvaluatedModel) (*served, error) {
	out := &served{}
	var r v1alpha1.ModelRoute
	err := c.deps.Client.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: cmp.Or(m.Route, m.Service)}, &r)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading route %s: %w", cmp.Or(m.Route, m.Service), err)
	}
	there := err == nil
	switch {
	case m.Route == "" && there:
		out.reason, out.why = ReasonNoService, fmt.Sprintf("route %s answers whoever asks for service %s; name it as route, or remove it", r.Name, m.Service)
		return out, nil
	case m.Route == "":
		return out, c.serves(ctx, e, m.Service, out)
	case !there:
		out.reason, out.why = ReasonNoService, fmt.Sprintf("there is no ModelRoute %s in namespace %s; `polder route ls` lists them", m.Route, e.Namespace)
		return out, nil
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
		if s := apimeta.FindStatusCondition(r.Status.Conditions, kind); s == nil || s.Status != metav1.ConditionTrue {
			out.reason, out.why = ReasonNotReady, fmt.Sprintf("route %s is not ready: %s", r.Name, said(s))
			return out, nil
		}
	}
	for _, t := range r.Spec.Targets {
		if err := c.serves(ctx, e, t.Service, out); err != nil || out.why != "" || out.wrong != "" {
			return out, err
		}
	}
	return out, nil
}

// serves adds an InferenceService, if it can be asked.
func (c *Controller) serves(ctx context.Context, e *v1alpha1.Evaluation, name string, out *served) error {
	var s v1alpha1.InferenceService
	err := c.deps.Client.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		out.reason, out.why = ReasonNoService, fmt.Sprintf("there is no InferenceService %s in namespace %s; `polder service ls` lists them", name, e.Namespace)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading service %s: %w", name, err)
	}
	want := v1alpha1.ProtocolV2
	if task(e) == eval.TaskGeneration {
		want = v1alpha1.ProtocolOpenAI
	}
	if p := cmp.Or(s.Spec.Protocol, v1alpha1.ProtocolV2); p != want {
		out.wrong = fmt.Sprintf("service %s speaks the protocol %s; at the task %s services are asked by %s", name, p, task(e), want)
		return nil
	}
	if r := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady); r == nil || r.Status != metav1.ConditionTrue {
		out.reason, out.why = ReasonNotReady, fmt.Sprintf("service %s is not ready: %s", name, said(r))
		return nil
	}
	out.services = append(out.services, s)
	return nil
}

// said is a condition's message.
func said(c *metav1.Condition) string {
	if c == nil {
		return "nothing is known of it yet"
	}
	return cmp.Or(c.Message, c.Reason)
}

// entrant is what the pod is told of a service or route.
func (c *Controller) entrant(e *v1alpha1.Evaluation, m *v1alpha1.EvaluatedModel, s *served) (trial.Entrant, error) {
	out := trial.Entrant{
		Name: m.Name, Service: m.Service, Route: m.Route, URL: c.cfg.Gateway + "/" + e.Namespace, Labels: m.Labels, Revisions: map[string]string{},
	}
	if m.CostPerHour != "" {
		var err error
		if out.CostPerHour, err = strconv.ParseFloat(m.CostPerHour, 64); err != nil {
			return out, fmt.Errorf("costPerHour: %q is no number", m.CostPerHour)
		}
	}
	const spare, wakeDefault, timeoutDefault = 30, 120, 60 // seconds; of the API
	out.TimeoutSeconds = spare
	for i := range s.services {
		svc := &s.services[i]
		out.TimeoutSeconds += cmp.Or(svc.Spec.Scale.WakeSeconds, wakeDefault) + cmp.Or(svc.Spec.TimeoutSeconds, timeoutDefault)
		for _, r := range svc.Status.Revisions {
			if r.Model != nil {
				out.Revisions[r.Name] = r.Model.Digest
			}
		}
	}
	return out, nil
}

// account is whom the pod asks services as: it may ask those that the evaluation names, and
// nothing else. It goes with the evaluation.
func account(e *v1alpha1.Evaluation) []client.Object {
	meta := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Name: AccountName(e.Name), Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelEvaluation: e.Name, labelManager: managedBy},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, v1alpha1.GroupVersion.WithKind("Evaluation"))},
		}
	}
	names := map[string][]string{}
	for _, m := range e.Spec.Models {
		switch {
		case m.Service != "":
			names["inferenceservices"] = append(names["inferenceservices"], m.Service)
		case m.Route != "":
			names["modelroutes"] = append(names["modelroutes"], m.Route)
		}
	}
	role := &rbacv1.Role{ObjectMeta: meta()}
	for _, resource := range []string{"inferenceservices", "modelroutes"} {
		if len(names[resource]) > 0 {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{
				APIGroups: []string{v1alpha1.Group}, Resources: []string{resource + "/" + v1alpha1.ResourceInfer}, ResourceNames: names[resource], Verbs: []string{"create"},
			})
		}
	}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta(), AutomountServiceAccountToken: ptr.To(false)}, role,
		&rbacv1.RoleBinding{
			ObjectMeta: meta(),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: AccountName(e.Name)},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: e.Namespace, Name: AccountName(e.Name)}},
		},
	}
}

// admit makes the account, as far as it is not there.
func (c *Controller) admit(ctx context.Context, e *v1alpha1.Evaluation) error {
	for _, o := range account(e) {
		err := c.deps.Client.Create(ctx, o)
		if apierrors.IsAlreadyExists(err) {
			err = c.deps.Live.Get(ctx, client.ObjectKeyFromObject(o), o)
			if err == nil && !owned(e, o) { // an earlier evaluation's may be about to go
				err = fmt.Errorf("it is not this evaluation's")
			}
		}
		if err != nil {
			return fmt.Errorf("making %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// withGateway gives the container that asks what it needs for that: a token that is of use
// at the gateway only, and the authority that the gateway is known by.
func withGateway(spec *corev1.PodSpec, main *corev1.Container, e *v1alpha1.Evaluation, audience string) {
	const authority = "kube-root-ca.crt" // which every namespace has
	spec.ServiceAccountName = AccountName(e.Name)
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "gateway", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: ptr.To[int64](tokenSeconds), Path: trial.FileToken}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: authority}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: trial.FileCA}}}},
		},
	}}})
	main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "gateway", MountPath: trial.DirGateway, ReadOnly: true})
}
