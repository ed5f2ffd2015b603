package route

import (
	"fmt"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
)

// Seed that thresholds are learned with: always the same, so that anybody gets the same
// numbers from the same report.
const Seed = 1

// About finds the result of an evaluation that is about a service: about the service
// itself, about the version that it serves, or, which is not the same, about another
// version of its model; nil if there is none.
func About(e *v1alpha1.Evaluation, svc *v1alpha1.InferenceService) (result *v1alpha1.EvaluatedResult, same bool) {
	var digest, name string
	for _, r := range svc.Status.Revisions {
		if r.Role == v1alpha1.RevisionStable && r.Model != nil {
			digest, name = r.Model.Digest, r.Model.Name
		}
	}
	if n, err := model.ParseName(svc.Spec.Model); name == "" && err == nil {
		name = n.Model
	}
	var served, other *v1alpha1.EvaluatedResult
	for i := range e.Status.Models {
		r := &e.Status.Models[i]
		switch {
		case r.Service == svc.Name:
			return r, judged(r, digest)
		case r.Model == nil:
		case digest != "" && r.Model.Digest == digest:
			served = r
		case name != "" && r.Model.Name == name && other == nil:
			other = r
		}
	}
	if served != nil {
		return served, true
	}
	return other, false
}

// judged reports whether a service that was judged itself serves still what it did then, as
// far as that was told.
func judged(r *v1alpha1.EvaluatedResult, digest string) bool {
	told := false
	for _, o := range r.By {
		if o.Digest != "" && o.Digest == digest {
			return true
		}
		told = told || o.Digest != ""
	}
	return !told || digest == ""
}

// Pair are an evaluation's results for the targets of a cascade.
type Pair struct {
	Specialist, General *v1alpha1.EvaluatedResult
	// Changed services serve another version than was judged.
	Changed []string
}

// PairOf finds the results for a cascade's two services, which may be nil when they are
// not there. The error is a sentence for people.
func PairOf(e *v1alpha1.Evaluation, c *v1alpha1.Cascade, specialist, general *v1alpha1.InferenceService) (*Pair, error) {
	out := &Pair{}
	for _, side := range []struct {
		target string
		svc    *v1alpha1.InferenceService
		to     **v1alpha1.EvaluatedResult
	}{{c.Specialist, specialist, &out.Specialist}, {c.General, general, &out.General}} {
		if side.svc == nil {
			return nil, fmt.Errorf("target %s has no service, so it is not known which model of evaluation %s is its own", side.target, e.Name)
		}
		found, same := About(e, side.svc)
		if found == nil {
			return nil, fmt.Errorf("evaluation %s has judged neither service %s of target %s nor the model that it serves", e.Name, side.svc.Name, side.target)
		}
		if !same {
			out.Changed = append(out.Changed, "service "+side.svc.Name)
		}
		*side.to = found
	}
	if out.Specialist == out.General {
		return nil, fmt.Errorf("both targets are the same model in evaluation %s; a cascade needs two", e.Name)
	}
	return out, nil
}

// CostsOf are those of the targets of a cascade of r.
func (r *Route) CostsOf(c *Cascade) Costs {
	of := func(target int) float64 { return float64(r.Targets[target].Cost) / 1e6 } // billionths of one, in units of a thousand
	return Costs{Specialist: of(c.Specialist), General: of(c.General)}
}
