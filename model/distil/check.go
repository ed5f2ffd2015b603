package distil

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// Error is what a person has to put right in a distillation.
type Error struct{ Field, Message string }

func (e *Error) Error() string { return e.Field + ": " + e.Message }

func refuse(field, format string, args ...any) error {
	return &Error{Field: field, Message: fmt.Sprintf(format, args...)}
}

// recipesOf lists, by method, the recipes that a student can be made by.
var recipesOf = map[v1alpha1.Method][]string{
	v1alpha1.MethodLogits:    {"logits"},
	v1alpha1.MethodSequence:  {"sequence"},
	v1alpha1.MethodFinetune:  {"finetune", "teacher"},
	v1alpha1.MethodLora:      {"lora"},
	v1alpha1.MethodReinforce: {"reinforce"},
}

// ours are parameters that a distillation sets itself.
var ours = []string{"labels", "key"}

// Check says what is wrong with a distillation in itself, whatever the cloud holds. The
// rules that the API server keeps are not repeated.
func Check(d *v1alpha1.Distillation) error {
	s := &d.Spec
	m := method(d)
	var err error
	if r := s.Student.Recipe; r != "" && !slices.Contains(recipesOf[m], r) {
		err = errors.Join(err, refuse("spec.student.recipe", "%q is not there for method %s; there is %s, or give code of your own", r, m, strings.Join(recipesOf[m], ", ")))
	}
	if s.Student.Code != nil && len(s.Student.Command) == 0 {
		err = errors.Join(err, refuse("spec.student.command", "it is missing; write what to run of the code, such as [python3, train.py]"))
	}
	if s.Student.Recipe != "" && len(s.Student.Command) > 0 {
		err = errors.Join(err, refuse("spec.student.command", "a recipe has its own command; leave it out, or give code"))
	}
	if t := s.Teacher; t != nil {
		switch {
		case !Taught(d):
			err = errors.Join(err, refuse("spec.teacher", "method %s learns without one; leave it out, or use logits or sequence", m))
		case t.Endpoint != nil && m == v1alpha1.MethodLogits:
			err = errors.Join(err, refuse("spec.teacher.endpoint", "an endpoint gives text and no logits; use method sequence, or a model as teacher"))
		}
	}
	if s.Held != nil && m == v1alpha1.MethodSequence {
		err = errors.Join(err, refuse("spec.held", "method sequence holds back a part of the answers itself; leave it out"))
	}
	if s.Student.From == "" && (m == v1alpha1.MethodLora || m == v1alpha1.MethodFinetune && s.Student.Recipe == "finetune") {
		err = errors.Join(err, refuse("spec.student.from", "method %s begins from a model; name it here", m))
	}
	err = errors.Join(err, checkRewards(d))
	for k := range s.Student.Parameters {
		if slices.Contains(ours, k) || strings.HasPrefix(k, "data_") || strings.HasPrefix(k, "held_") {
			err = errors.Join(err, refuse("spec.student.parameters."+k, "the distillation sets it itself, from its other fields; take it out"))
		}
	}
	if _, e := Hours(s.Budget); e != nil {
		err = errors.Join(err, e)
	}
	return err
}

// Taught reports whether a teacher answers first.
func Taught(d *v1alpha1.Distillation) bool {
	m := method(d)
	return m == v1alpha1.MethodLogits || m == v1alpha1.MethodSequence
}

func method(d *v1alpha1.Distillation) v1alpha1.Method {
	if d.Spec.Method == "" {
		return v1alpha1.MethodLogits
	}
	return d.Spec.Method
}

// OutputName is the Model that a student is to become.
func OutputName(d *v1alpha1.Distillation) string {
	if d.Spec.Output.Model != "" {
		return d.Spec.Output.Model
	}
	return d.Name
}

// CandidateName is the Model that a student is until it has been judged.
func CandidateName(d *v1alpha1.Distillation) string { return d.Name + "-candidate" }

// JobName names what a stage is done by. The uid is part of it, so that what an earlier
// distillation of the same name left is not mistaken for its own.
func JobName(d *v1alpha1.Distillation, stage string) string {
	const uid = 4
	short := map[string]string{StageTeacher: "-t", StageStudent: "-s", StageEvaluation: "-e"}[stage]
	return d.Name + short + strings.ReplaceAll(string(d.UID), "-", "")[:min(uid, len(d.UID))]
}
