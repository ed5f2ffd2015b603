package distillation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/distil"
)

// act does what was decided. Every act may be repeated.
func (r *Reconciler) act(ctx context.Context, w *world, p *plan) error {
	switch p.do {
	case stop:
		return r.stop(ctx, w)
	case ask:
		if err := r.mountable(ctx, w.found.Teacher); err != nil {
			return err
		}
		return r.create(ctx, w, distil.TeacherJob(w.d, &w.found))
	case teach:
		if err := r.mountable(ctx, w.found.Answers, w.found.From); err != nil {
			return err
		}
		return r.create(ctx, w, distil.StudentJob(w.d, &w.found))
	case judge:
		m := w.student.Status.Model
		student := &distil.Source{Name: m.Name, Digest: m.Digest, Reference: m.Reference}
		if err := r.mountable(ctx, student); err != nil {
			return err
		}
		return r.create(ctx, w, distil.Judgement(w.d, &w.found, student, w.figures()))
	case enroll:
		return r.enroll(ctx, w)
	}
	return nil
}

// mountable gives sources their images.
func (r *Reconciler) mountable(ctx context.Context, sources ...*distil.Source) error {
	for _, s := range sources {
		if s == nil {
			continue
		}
		var err error
		if s.Image, err = r.deps.Mounter.Volume(ctx, s.Reference); err != nil {
			return fmt.Errorf("making the files of model %s mountable: %w", s.Name, err)
		}
	}
	return nil
}

// create makes an object of the distillation's, unless it has ended or been cancelled
// since the cache heard of it.
func (r *Reconciler) create(ctx context.Context, w *world, o client.Object) error {
	var live v1alpha1.Distillation
	if err := r.deps.Live.Get(ctx, client.ObjectKeyFromObject(w.d), &live); err != nil {
		return client.IgnoreNotFound(err)
	}
	if live.UID != w.d.UID || live.DeletionTimestamp != nil || live.Status.State.Done() || live.Spec.Cancel {
		return nil
	}
	if err := r.deps.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
	}
	return nil
}

// stop ends what runs: jobs are cancelled, and an evaluation that has not ended goes.
func (r *Reconciler) stop(ctx context.Context, w *world) error {
	for _, j := range []*v1alpha1.TrainJob{w.teacher, w.student} {
		if j == nil || j.Status.State.Done() || j.Spec.Cancel {
			continue
		}
		next := j.DeepCopy()
		next.Spec.Cancel = true
		if err := r.deps.Client.Patch(ctx, next, client.MergeFrom(j)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("cancelling job %s: %w", j.Name, err)
		}
	}
	if e := w.evaluation; e != nil && !e.Status.State.Done() {
		if err := r.deps.Client.Delete(ctx, e, client.Preconditions{UID: &e.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("ending evaluation %s: %w", e.Name, err)
		}
	}
	return nil
}

// enroll gives the student the name of the output: its artifact, with what refers to it,
// and then the Model. Aliases and gates stay as persons wrote them.
func (r *Reconciler) enroll(ctx context.Context, w *world) error {
	name := distil.OutputName(w.d)
	own := "models/" + w.d.Namespace + "/"
	if !strings.HasPrefix(w.candidate.Spec.Reference, own) { // we may write everywhere, its owner may not
		return apierrors.NewBadRequest(fmt.Sprintf("model %s lies at %s, which is not of its namespace", w.candidate.Name, w.candidate.Spec.Reference))
	}
	reference, err := r.deps.Registrar.Register(ctx, w.candidate.Spec.Reference, own+name)
	if err != nil {
		return fmt.Errorf("registering the student as %s: %w", name, err)
	}
	m := &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.d.Namespace, Name: name, Labels: maps.Clone(w.candidate.Labels)},
		Spec:       *w.candidate.Spec.DeepCopy(),
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	m.Labels[v1alpha1.LabelDistillation] = w.d.Name
	m.Spec.Reference, m.Spec.Aliases, m.Spec.Gates = reference, nil, nil
	err = r.deps.Client.Create(ctx, m.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return fmt.Errorf("creating model %s: %w", name, err)
		}
		return nil
	}
	var have v1alpha1.Model
	if err := r.deps.Live.Get(ctx, client.ObjectKeyFromObject(m), &have); err != nil {
		return fmt.Errorf("reading model %s: %w", name, err)
	}
	if have.DeletionTimestamp != nil {
		return fmt.Errorf("creating model %s: the one of this name is being removed; it is made when that is gone", name)
	}
	m.Spec.Classification, m.Spec.Aliases, m.Spec.Gates = have.Spec.Classification, have.Spec.Aliases, have.Spec.Gates // a person's words
	if apiequality.Semantic.DeepEqual(have.Spec, m.Spec) {
		return nil
	}
	recorded := slices.ContainsFunc(have.Status.Versions, func(v v1alpha1.ModelVersion) bool { return v.Digest == have.Spec.Digest })
	if have.Spec.Digest != m.Spec.Digest && !recorded {
		return fmt.Errorf("updating model %s: its version %s is not recorded in status.versions yet, and is not replaced before", name, have.Spec.Digest)
	}
	have.Spec = m.Spec
	if have.Labels == nil {
		have.Labels = map[string]string{}
	}
	maps.Copy(have.Labels, m.Labels)
	if err := r.deps.Client.Update(ctx, &have); err != nil {
		return fmt.Errorf("updating model %s: %w", name, err)
	}
	return nil
}
