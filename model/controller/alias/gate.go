package alias

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
)

// judge says whether an alias that means has, or nothing yet, may mean what is wanted:
// by which evaluation, if one was asked for, or for which reason it may not.
func judge(m *v1alpha1.Model, want v1alpha1.ModelAlias, has *v1alpha1.ModelAliasStatus, evaluations []v1alpha1.Evaluation) (evaluation, reason string, err error) {
	v := find(m, want.Digest)
	if v == nil {
		return "", ReasonNoVersion, fmt.Errorf("the model has no such version; `polder model versions %s` lists those it has", m.Name)
	}
	i := slices.IndexFunc(m.Spec.Gates, func(g v1alpha1.ModelGate) bool { return g.Alias == want.Name })
	if i < 0 {
		return "", "", nil
	}
	g := m.Spec.Gates[i]
	if len(g.Licences) > 0 && !model.LicenceAllowed(v.Licence, g.Licences) {
		return "", ReasonGate, refuseLicence(v.Licence, g.Licences)
	}
	if !g.Evaluation {
		return "", "", nil
	}
	var present string
	if has != nil {
		present = has.Digest
		if past := slices.IndexFunc(has.History, func(p v1alpha1.ModelAliasPast) bool { return p.Digest == want.Digest }); past >= 0 {
			return has.History[past].Evaluation, "", nil // it is taken back
		}
	}
	if !g.Against {
		present = ""
	}
	name, err := passed(m.Name, want, present, evaluations)
	if err != nil {
		return "", ReasonGate, err
	}
	return name, "", nil
}

func refuseLicence(licence string, allowed []string) error {
	list := strings.Join(allowed, ", ")
	if licence == "" {
		return fmt.Errorf("the gate asks for one of the licences %s, and nothing says which the version has: publish it with one (spec.output.licence of a job, --licence of `polder model push`)", list)
	}
	return fmt.Errorf("the gate lets through the licences %s, and the version has %s", list, licence)
}

// passed returns the latest evaluation that the version has passed, and that compared
// it with present, if that is not empty.
func passed(name string, want v1alpha1.ModelAlias, present string, evaluations []v1alpha1.Evaluation) (string, error) {
	var best *v1alpha1.Evaluation
	near := errors.New("the gate asks for an evaluation that it has passed, and there is none")
	var nearest *v1alpha1.Evaluation
	for i := range evaluations {
		e := &evaluations[i]
		if !isCandidate(e, want) {
			continue
		}
		if why := unfit(e, name, want, present); why != nil {
			if nearest == nil || later(e, nearest) {
				nearest, near = e, why
			}
			continue
		}
		if best == nil || later(e, best) {
			best = e
		}
	}
	if best != nil {
		return best.Name, nil
	}
	if nearest == nil {
		against := ""
		if present != "" {
			against = fmt.Sprintf(" --against %s@%s", name, want.Name)
		}
		return "", fmt.Errorf("%w: `polder evaluate %s@%s%s` makes one", near, name, want.Digest, against)
	}
	return "", near
}

// isCandidate reports whether the evaluation judges, or is to judge, the version.
func isCandidate(e *v1alpha1.Evaluation, want v1alpha1.ModelAlias) bool {
	if len(e.Status.Models) > 0 && e.Status.Models[0].Model != nil {
		return e.Status.Models[0].Model.Digest == want.Digest
	}
	return len(e.Spec.Models) > 0 && strings.HasSuffix(e.Spec.Models[0].Model, "@"+want.Digest)
}

// unfit says why an evaluation of the version opens no gate.
func unfit(e *v1alpha1.Evaluation, name string, want v1alpha1.ModelAlias, present string) error {
	switch {
	case e.Status.State == v1alpha1.StateFailed:
		return fmt.Errorf("evaluation %s of it has failed: %s", e.Name, e.Status.Message)
	case e.Status.State != v1alpha1.StateSucceeded || len(e.Status.Models) == 0:
		return fmt.Errorf("evaluation %s of it has not ended yet; when it has passed, the alias follows", e.Name)
	case !e.Status.Passed:
		return fmt.Errorf("it has not passed evaluation %s: %s", e.Name, strings.Join(e.Status.Unmet, ", "))
	case present == "":
		return nil
	}
	for _, r := range e.Status.Models[1:] {
		if r.Model != nil && r.Model.Digest == present {
			return nil
		}
	}
	return fmt.Errorf("evaluation %s did not compare it with %s, which the alias means now: `polder evaluate %s@%s --against %s@%s` does",
		e.Name, present, name, want.Digest, name, want.Name)
}

// later reports whether a is newer than b.
func later(a, b *v1alpha1.Evaluation) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return b.CreationTimestamp.Before(&a.CreationTimestamp)
	}
	return a.Name > b.Name
}
