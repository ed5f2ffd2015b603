package serve

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// Reasons of the condition Accepted.
const (
	ReasonValid          = "Valid"
	ReasonInvalidSpec    = "InvalidSpec"
	ReasonUnknownModel   = "UnknownModel"
	ReasonUnknownAlias   = "UnknownAlias"
	ReasonNoArtifact     = "NoArtifact"
	ReasonUnknownRuntime = "UnknownRuntime"
	ReasonNoVariant      = "NoVariant"
	ReasonNameTaken      = "NameTaken"
	ReasonRefused        = "Refused"
)

// target is a revision that is asked for.
type target struct {
	name  string
	model *v1alpha1.ModelReference // nil: none
}

// refusal says why something cannot be served, and what to do about it.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.message }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// resolved finds out what the spec means now.
func resolved(w *world, p *plan, cfg *Config) {
	var err, also error
	p.main, err = wanted(w, p, "spec.model", w.svc.Spec.Model)
	if w.svc.Spec.Canary != nil {
		p.canary, also = wanted(w, p, "spec.canary.model", w.svc.Spec.Canary.Model)
		p.keep = also != nil
	}
	if err == nil {
		err = also
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, no.reason, no.message)
		p.look(cfg.Wait)
	case err != nil:
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonInvalidSpec, err.Error())
	case p.canary != nil && p.canary.name == p.main.name:
		p.canary = nil
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid, fmt.Sprintf("spec.canary.model %s is the version that spec.model means too, so there is no canary", w.svc.Spec.Canary.Model))
	case refusedBefore(w, p):
		p.look(cfg.Wait)
	default:
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid, "")
	}
}

// refusedBefore reports whether the cluster has refused what this spec asks for, and it
// has not come about since: that stays said until it has.
func refusedBefore(w *world, p *plan) bool {
	c := apimeta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionAccepted)
	if c == nil || c.Status != metav1.ConditionFalse || c.ObservedGeneration != w.svc.Generation || c.Reason != ReasonNameTaken && c.Reason != ReasonRefused && c.Reason != ReasonNoArtifact {
		return false
	}
	for _, t := range []*target{p.main, p.canary} {
		if t != nil && w.set(t.name) == nil {
			return true
		}
	}
	return false
}

// wanted is the revision that serves a model, which is named by field, if it is there or
// can be made.
func wanted(w *world, p *plan, field, model string) (*target, error) {
	t, err := targetOf(w, field, model)
	if err != nil || w.set(t.name) != nil {
		return t, err
	}
	if _, err := choiceOf(w, initial(w, p, t)); err != nil {
		return nil, refuse(ReasonNoVariant, "%s", err.Error())
	}
	return t, nil
}

// targetOf is the revision that serves a model, which is named by field.
func targetOf(w *world, field, model string) (*target, error) {
	if err := invalid(w.svc); err != nil {
		return nil, refuse(ReasonInvalidSpec, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	s := &w.svc.Spec
	what := served{
		Image: s.Image, Command: s.Command, Env: s.Env, Protocol: protocol(w.svc), Port: port(w.svc), ReadyPath: readyPath(w.svc),
		Resources: s.Resources, Accelerators: s.Accelerators, Batch: s.Batch, Timeout: timeout(w.svc),
	}
	if s.Image == "" {
		if w.runtime == nil {
			return nil, refuse(ReasonUnknownRuntime, "spec.runtime %q is not a Runtime of this cloud; %s", s.Runtime, known(w.runtimes))
		}
		what.Variants = workload.Fitting(w.runtime, s.Accelerators)
	}
	t := &target{}
	if model != "" {
		var err error
		if t.model, err = modelOf(w, field, model); err != nil {
			return nil, err
		}
		what.Model = t.model.Name + "@" + t.model.Digest
	}
	var err error
	if t.name, err = revisionName(w.svc.Name, &what); err != nil {
		return nil, err
	}
	return t, nil
}

// modelOf is the version that NAME, NAME@ALIAS or NAME@DIGEST means.
func modelOf(w *world, field, text string) (*v1alpha1.ModelReference, error) {
	name, version, _ := strings.Cut(text, "@")
	m := w.models[name]
	if m == nil {
		return nil, refuse(ReasonUnknownModel, "%s: there is no Model %q in namespace %s; %s", field, name, w.svc.Namespace, known(w.names))
	}
	digest := version
	switch {
	case version == "":
		digest = m.Spec.Digest
	case !strings.HasPrefix(version, "sha256:"):
		i := slices.IndexFunc(m.Status.Aliases, func(a v1alpha1.ModelAliasStatus) bool { return a.Name == version })
		if i < 0 {
			return nil, refuse(ReasonUnknownAlias, "%s: no version of Model %s is called %s; give it one with `polder model promote`, or name a version by its digest", field, name, version)
		}
		digest = m.Status.Aliases[i].Digest
	}
	reference := referenceTo(m, digest)
	if digest == "" || reference == "" {
		return nil, refuse(ReasonNoArtifact, "%s: Model %s has no artifact; publish one with a job or with `polder model push`", field, name)
	}
	return &v1alpha1.ModelReference{Name: name, Digest: digest, Reference: reference}, nil
}

// referenceTo is how a version of a model is pulled: as it is written of it, or from where
// the latest version lies.
func referenceTo(m *v1alpha1.Model, digest string) string {
	if digest == m.Spec.Digest {
		return m.Spec.Reference
	}
	for _, v := range m.Status.Versions {
		if v.Digest == digest && v.Reference != "" {
			return v.Reference
		}
	}
	repository, _, _ := strings.Cut(m.Spec.Reference, "@")
	if repository == "" {
		return ""
	}
	return repository + "@" + digest
}

// choiceOf picks what n replicas run, and how they get their devices.
func choiceOf(w *world, n int32) (workload.Choice, error) {
	rt := w.runtime
	want := w.svc.Spec.Accelerators
	if w.svc.Spec.Image != "" {
		rt = runtimeOf(w.svc)
	}
	if rt == nil {
		return workload.Choice{}, fmt.Errorf("there is no Runtime %q", w.svc.Spec.Runtime)
	}
	return workload.Choose(rt, want, n, w.nodes, &w.supply)
}

// runtimeOf is what a service's own image is: the same for every software that its
// accelerators may have.
func runtimeOf(svc *v1alpha1.InferenceService) *v1alpha1.Runtime {
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "of spec.image"}}
	software := svc.Spec.Accelerators.Software
	if svc.Spec.Accelerators.Count == 0 {
		software = []string{workload.SoftwareCPU}
	}
	for _, s := range software {
		rt.Spec.Variants = append(rt.Spec.Variants, v1alpha1.RuntimeVariant{Software: s, Image: svc.Spec.Image})
	}
	return rt
}

// known lists what there is of something.
func known(names []string) string {
	const namesMax = 20
	if len(names) == 0 {
		return "there are none"
	}
	names = slices.Sorted(slices.Values(names))
	if len(names) > namesMax {
		return fmt.Sprintf("known are %s and %d more", strings.Join(names[:namesMax], ", "), len(names)-namesMax)
	}
	return "known are " + strings.Join(names, ", ")
}

// reservedEnv begins the names of variables that the cloud sets; so is reservedPort.
const (
	reservedEnv  = "POLDER_"
	reservedPort = "PORT"
)

// invalid says what is wrong with a service that no later change of the cluster can put
// right, in sentences naming the field; nil when nothing is. It checks what the kind's
// own rules in the API server cannot express.
func invalid(svc *v1alpha1.InferenceService) error {
	var errs []error
	no := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	s := &svc.Spec
	if len(validation.IsDNS1123Label(svc.Name)) > 0 {
		no("metadata.name %q cannot name pods: use only lower-case letters, digits and '-'", svc.Name)
	}
	if s.Image != "" && !workload.IsReference(s.Image) {
		no("spec.image %q is not an image reference: write it as images/NAMESPACE/NAME@sha256:DIGEST, or HOST/NAME@sha256:DIGEST for one of elsewhere", s.Image)
	}
	for i, e := range s.Env {
		if e.Name == reservedPort || strings.HasPrefix(e.Name, reservedEnv) {
			no("spec.env[%d].name %s is set by the cloud: choose another name", i, e.Name)
		}
	}
	if s.Resources.CPU.Sign() < 0 {
		no("spec.resources.cpu is negative: give an amount above 0")
	}
	if s.Resources.Memory.Sign() < 0 {
		no("spec.resources.memory is negative: give an amount above 0")
	}
	if s.Accelerators.Count > 0 {
		if err := claim.Validate(claim.Of(s.Accelerators)); err != nil {
			no("spec.%w", err)
		}
		if s.Image != "" && len(s.Accelerators.Software) == 0 {
			no("spec.accelerators.software is missing: say which software spec.image is built for, such as cuda")
		}
	}
	return errors.Join(errs...)
}
