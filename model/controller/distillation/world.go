package distillation

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
	"polder.dev/polder/model/distil"
)

// world is what one look sees.
type world struct {
	d   *v1alpha1.Distillation
	now time.Time

	invalid error // the distillation is wrong in itself
	missing string
	found   distil.Found // answers only once they are there

	teacher, student *v1alpha1.TrainJob // nil while there are none
	evaluation       *v1alpha1.Evaluation
	candidate        *v1alpha1.Model // what the student's job made, once it is there
	output           *v1alpha1.Model // what has the output's name now
}

// figures of the student, as its job left them.
func (w *world) figures() map[string]string {
	if w.candidate == nil { // it has the output's name already
		return w.output.Spec.Metrics
	}
	return w.candidate.Spec.Metrics
}

// read looks at everything that matters for d.
func (r *Reconciler) read(ctx context.Context, d *v1alpha1.Distillation) (*world, error) {
	w := &world{d: d, now: r.deps.Clock.Now(), invalid: distil.Check(d), found: distil.Found{Code: r.cfg.Code, Recipes: r.cfg.Recipes}}
	var err error
	if w.teacher, err = lookup(ctx, r, w, distil.JobName(d, distil.StageTeacher), &v1alpha1.TrainJob{}); err != nil {
		return nil, err
	}
	if w.student, err = lookup(ctx, r, w, distil.JobName(d, distil.StageStudent), &v1alpha1.TrainJob{}); err != nil {
		return nil, err
	}
	if w.evaluation, err = lookup(ctx, r, w, distil.JobName(d, distil.StageEvaluation), &v1alpha1.Evaluation{}); err != nil {
		return nil, err
	}
	if w.invalid != nil || d.Status.State.Done() {
		return w, nil
	}
	if err := r.readModels(ctx, w); err != nil {
		return nil, err
	}
	if w.candidate, err = lookup(ctx, r, w, distil.CandidateName(d), &v1alpha1.Model{}); err != nil {
		return nil, err
	}
	w.output, err = lookup(ctx, r, w, distil.OutputName(d), &v1alpha1.Model{})
	return w, err
}

// readModels finds what the distillation names, or says what is not there.
func (r *Reconciler) readModels(ctx context.Context, w *world) error {
	s := &w.d.Spec
	var err error
	if s.Teacher != nil && s.Teacher.Model != "" {
		if pinned := w.d.Status.Teacher; pinned != nil { // an alias may have moved since
			w.found.Teacher = &distil.Source{Name: pinned.Name, Digest: pinned.Digest, Reference: pinned.Reference}
		} else if w.found.Teacher, err = r.model(ctx, w, "spec.teacher.model", s.Teacher.Model); err != nil {
			return err
		}
	}
	if s.Student.From != "" {
		if w.found.From, err = r.model(ctx, w, "spec.student.from", s.Student.From); err != nil {
			return err
		}
	}
	if err := r.data(ctx, w, "spec.data", &s.Data, &w.found.DataDigest); err != nil {
		return err
	}
	if s.Held != nil {
		var unused string
		if err := r.data(ctx, w, "spec.held", s.Held, &unused); err != nil {
			return err
		}
	}
	if w.missing != "" || !distil.Taught(w.d) {
		return nil
	}
	answers, err := lookup(ctx, r, w, distil.AnswersName(distil.Key(w.d, &w.found)), &v1alpha1.Model{})
	if err != nil {
		return err
	}
	if answers != nil {
		w.found.Answers = &distil.Source{Name: answers.Name, Digest: answers.Spec.Digest, Reference: answers.Spec.Reference}
	}
	return nil
}

// model finds NAME, NAME@ALIAS or NAME@DIGEST.
func (r *Reconciler) model(ctx context.Context, w *world, field, text string) (*distil.Source, error) {
	n, err := model.ParseName(text)
	if err != nil {
		w.miss("%s: %v", field, err)
		return nil, nil
	}
	m, err := lookup(ctx, r, w, n.Model, &v1alpha1.Model{})
	if err != nil {
		return nil, err
	}
	if m == nil {
		w.miss("%s: there is no Model %s in namespace %s; train one, or push it with `polder model push`", field, n.Model, w.d.Namespace)
		return nil, nil
	}
	v, err := n.Find(m)
	if err != nil {
		w.miss("%s: %v", field, err)
		return nil, nil
	}
	return &distil.Source{Name: n.Model, Digest: v.Digest, Reference: v.Reference}, nil
}

// data finds a table's digest, where it has one.
func (r *Reconciler) data(ctx context.Context, w *world, field string, t *v1alpha1.EvaluationData, digest *string) error {
	if t.Image != "" {
		if _, d, ok := strings.Cut(t.Image, "@"); ok {
			*digest = d
		}
		return nil
	}
	if t.Dataset == "" {
		return nil
	}
	set, err := lookup(ctx, r, w, t.Dataset, &v1alpha1.Dataset{})
	if err != nil {
		return err
	}
	if set == nil {
		w.miss("%s.dataset: there is no Dataset %s in namespace %s; `polder dataset freeze` makes one", field, t.Dataset, w.d.Namespace)
		return nil
	}
	if !apimeta.IsStatusConditionTrue(set.Status.Conditions, v1alpha1.ConditionReady) {
		w.miss("%s.dataset: Dataset %s is not frozen yet", field, t.Dataset)
	}
	*digest = set.Status.Digest
	return nil
}

func (w *world) miss(format string, args ...any) {
	if w.missing == "" {
		w.missing = fmt.Sprintf(format, args...)
	}
}

// lookup reads an object of the distillation's namespace; nil if there is none. Of what
// distillations own, that of another does not count.
func lookup[T client.Object](ctx context.Context, r *Reconciler, w *world, name string, o T) (T, error) {
	var none T
	err := r.deps.Client.Get(ctx, client.ObjectKey{Namespace: w.d.Namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("reading %T %s: %w", o, name, err)
	}
	if by := metav1.GetControllerOf(o); by != nil && by.UID != w.d.UID {
		return none, nil
	}
	return o, nil
}
