package distil

import (
	"strconv"

	"polder.dev/polder/api/v1alpha1"
)

// Guess is what a stage may use, by an earlier run.
type Guess struct {
	// Hours of accelerators.
	Hours float64
	// Of is the earlier distillation.
	Of string
}

// Estimate guesses what a stage of d will use by the latest of past that did the same: the
// same method, and the same teacher or the same recipe. Of what nobody has run yet nothing
// is known, and nothing is made up.
func Estimate(d *v1alpha1.Distillation, stage string, past []v1alpha1.Distillation) (Guess, bool) {
	var best *v1alpha1.Distillation
	var hours float64
	for i := range past {
		p := &past[i]
		if method(p) != method(d) || !alike(p, d, stage) || best != nil && !best.CreationTimestamp.Before(&p.CreationTimestamp) {
			continue
		}
		for _, s := range p.Status.Stages {
			h, err := strconv.ParseFloat(s.AcceleratorHours, 64)
			if s.Name == stage && s.State == v1alpha1.StateSucceeded && s.Job != "" && err == nil {
				best, hours = p, h
			}
		}
	}
	if best == nil {
		return Guess{}, false
	}
	return Guess{Hours: hours, Of: best.Name}, true
}

func alike(a, b *v1alpha1.Distillation, stage string) bool {
	if stage != StageTeacher {
		return a.Spec.Student.Recipe == b.Spec.Student.Recipe
	}
	x, y := a.Spec.Teacher, b.Spec.Teacher
	if x == nil || y == nil || (x.Endpoint == nil) != (y.Endpoint == nil) {
		return false
	}
	if x.Endpoint != nil {
		return x.Endpoint.URL == y.Endpoint.URL && x.Endpoint.Model == y.Endpoint.Model
	}
	return x.Model == y.Model
}

// Stages of a distillation, in order.
func Stages(d *v1alpha1.Distillation) []string {
	switch {
	case Taught(d):
		return []string{StageTeacher, StageStudent, StageEvaluation}
	case !Judged(d):
		return []string{StageStudent}
	}
	return []string{StageStudent, StageEvaluation}
}
