package evaluation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/workload"
)

// Reasons of the condition Accepted, and of Failed.
const (
	ReasonValid          = "Valid"
	ReasonInvalidSpec    = "InvalidSpec"
	ReasonUnknownModel   = "UnknownModel"
	ReasonUnknownRuntime = "UnknownRuntime"
	ReasonNoVariant      = "NoVariant"
	ReasonNoData         = "NoData"
	ReasonNoArtifact     = "NoArtifact"
	ReasonNoService      = "NoService"
	ReasonNotReady       = "ServiceNotReady"
)

const (
	// messageBytesMax of a status' message, and noteBytesMax of an event's note, of which
	// the API server takes 1024.
	messageBytesMax = 4096
	noteBytesMax    = 1000
)

// accept checks the spec and pins what it names.
func (c *Controller) accept(ctx context.Context, l *look) error {
	if err := c.invalid(l.e); err != nil {
		l.set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonInvalidSpec, err.Error())
		l.fail(ReasonInvalidSpec, err.Error())
		return nil
	}
	models := make([]v1alpha1.EvaluatedResult, 0, len(l.e.Spec.Models))
	for i := range l.e.Spec.Models {
		found, ok, err := c.entry(ctx, l, i)
		if err != nil || !ok {
			return err
		}
		models = append(models, found)
	}
	_, _, reason, why, err := c.runtimes(ctx, l.e)
	if err == nil && why == "" {
		reason = ReasonNoData
		_, why, err = c.data(ctx, l.e)
	}
	if err != nil {
		return err
	}
	if why != "" {
		l.wait(reason, why, c.cfg.Wait)
		return nil
	}
	l.status.Models = models
	l.status.State, l.status.Message = v1alpha1.StatePending, ""
	l.set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid, "")
	l.status.StartTime = &metav1.Time{Time: l.now}
	l.again = 1 // the Job comes next
	return nil
}

// entry finds what an entry of the spec names. ok is false where it cannot be judged, or
// not yet.
func (c *Controller) entry(ctx context.Context, l *look, i int) (found v1alpha1.EvaluatedResult, ok bool, err error) {
	m := &l.e.Spec.Models[i]
	if !remote(m) {
		found, why, err := c.model(ctx, l.e.Namespace, *m)
		if err == nil && why != "" {
			l.wait(ReasonUnknownModel, fmt.Sprintf("spec.models[%d].model: %s", i, why), c.cfg.Wait)
		}
		return found, why == "", err
	}
	field := "service"
	if m.Route != "" {
		field = "route"
	}
	found = v1alpha1.EvaluatedResult{Name: m.Name, Service: m.Service, Route: m.Route}
	s, err := c.service(ctx, l.e, m)
	switch {
	case err != nil:
		return found, false, err
	case s.wrong != "":
		message := fmt.Sprintf("spec.models[%d].%s: %s", i, field, s.wrong)
		l.set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonInvalidSpec, message)
		l.fail(ReasonInvalidSpec, message)
	case s.why != "":
		l.wait(s.reason, fmt.Sprintf("spec.models[%d].%s: %s", i, field, s.why), c.cfg.Wait)
	}
	return found, s.why == "" && s.wrong == "", nil
}

// invalid says what is wrong with a spec, whatever the cloud has.
func (c *Controller) invalid(e *v1alpha1.Evaluation) error {
	var names []string
	t := task(e)
	for i := range e.Spec.Models {
		m := &e.Spec.Models[i]
		switch {
		case remote(m) && c.cfg.Gateway == "":
			return fmt.Errorf("spec.models[%d]: this cloud has no gateway to ask services through; name a model", i)
		case !remote(m) && t == eval.TaskGeneration:
			return fmt.Errorf("spec.models[%d].model: models in ONNX write no text; at the task generation name a service or route that speaks OpenAI's API", i)
		}
		names = append(names, m.Name)
	}
	switch {
	case t == eval.TaskGeneration && e.Spec.Trained != nil:
		return errors.New("spec.trained: texts are not looked for in training data; leave it out at the task generation")
	case t != eval.TaskGeneration && e.Spec.Generation != nil:
		return fmt.Errorf("spec.generation: it is for the task generation, and the task is %s", t)
	}
	if p := e.Spec.Program; p != nil && !workload.IsReference(p.Code.Image) {
		return fmt.Errorf("spec.program.code.image %q is not an image reference: write it as code/NAMESPACE/NAME@sha256:DIGEST", p.Code.Image)
	}
	if _, err := requirements(e); err != nil {
		return err
	}
	for i, q := range e.Spec.Requirements {
		r, err := requirement(q)
		if err == nil {
			err = r.Check(t, names, e.Spec.Program != nil)
		}
		if err != nil {
			return fmt.Errorf("spec.requirements[%d].%w", i, err)
		}
	}
	for field, d := range map[string]*v1alpha1.EvaluationData{"spec.data": &e.Spec.Data, "spec.trained": e.Spec.Trained} {
		switch {
		case d == nil:
		case d.Image != "" && !workload.IsReference(d.Image):
			return fmt.Errorf("%s.image %q is not an image reference: write it as data/NAMESPACE/NAME@sha256:DIGEST", field, d.Image)
		case d.Image == "" && c.cfg.CopyImage == "":
			return fmt.Errorf("%s: this cloud has no object store; give an image", field)
		case d.Rows != nil && d.Rows.To != 0 && d.Rows.To <= d.Rows.From:
			return fmt.Errorf("%s.rows: from %d up to %d there are none", field, d.Rows.From, d.Rows.To)
		}
	}
	return nil
}

// task of an evaluation.
func task(e *v1alpha1.Evaluation) string {
	return string(cmp.Or(e.Spec.Task, v1alpha1.TaskClassification))
}

// requirements as model/eval has them.
func requirements(e *v1alpha1.Evaluation) ([]eval.Requirement, error) {
	var out []eval.Requirement
	for i, q := range e.Spec.Requirements {
		r, err := requirement(q)
		if err != nil {
			return nil, fmt.Errorf("spec.requirements[%d].%w", i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func requirement(q v1alpha1.EvaluationRequirement) (eval.Requirement, error) {
	out := eval.Requirement{Metric: q.Metric, NotWorseThan: q.NotWorseThan}
	for _, b := range []struct {
		field, text string
		to          **float64
	}{{"min", q.Min, &out.Min}, {"max", q.Max, &out.Max}} {
		if b.text == "" {
			continue
		}
		v, err := strconv.ParseFloat(b.text, 64)
		if err != nil {
			return out, fmt.Errorf("%s: %q is no number", b.field, b.text)
		}
		*b.to = &v
	}
	return out, nil
}

// model finds the version that an entry names, or says why it is not there.
func (c *Controller) model(ctx context.Context, namespace string, m v1alpha1.EvaluatedModel) (v1alpha1.EvaluatedResult, string, error) {
	out := v1alpha1.EvaluatedResult{Name: m.Name}
	n, err := model.ParseName(m.Model)
	if err != nil {
		return out, err.Error(), nil
	}
	var o v1alpha1.Model
	err = c.deps.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: n.Model}, &o)
	if apierrors.IsNotFound(err) {
		return out, fmt.Sprintf("there is no Model %s in namespace %s; `polder model ls` lists them", n.Model, namespace), nil
	}
	if err != nil {
		return out, "", fmt.Errorf("reading model %s: %w", n.Model, err)
	}
	v, err := n.Find(&o)
	if err != nil {
		return out, err.Error(), nil
	}
	out.Model = &v1alpha1.ModelReference{Name: n.Model, Reference: v.Reference, Digest: v.Digest}
	return out, "", nil
}

// runtimeDefault is what the API server fills in.
const runtimeDefault = "onnx-cpu"

// runtimes finds the variants that judge and that the program runs in, if there is one, or
// says why there are none.
func (c *Controller) runtimes(ctx context.Context, e *v1alpha1.Evaluation) (judge, program v1alpha1.RuntimeVariant, reason, why string, err error) {
	judge, reason, why, err = c.runtime(ctx, "spec.runtime", cmp.Or(e.Spec.Runtime, runtimeDefault))
	if e.Spec.Program != nil && why == "" && err == nil {
		program, reason, why, err = c.runtime(ctx, "spec.program.runtime", e.Spec.Program.Runtime)
	}
	return judge, program, reason, why, err
}

// runtime finds a Runtime's variant without accelerators, or says why there is none.
func (c *Controller) runtime(ctx context.Context, field, name string) (v1alpha1.RuntimeVariant, string, string, error) {
	var rt v1alpha1.Runtime
	err := c.deps.Client.Get(ctx, client.ObjectKey{Name: name}, &rt)
	if apierrors.IsNotFound(err) {
		return v1alpha1.RuntimeVariant{}, ReasonUnknownRuntime, fmt.Sprintf("%s: there is no Runtime %s; an administrator makes it with `polder runtime build %s`", field, name, name), nil
	}
	if err != nil {
		return v1alpha1.RuntimeVariant{}, ReasonUnknownRuntime, "", fmt.Errorf("reading runtime %s: %w", name, err)
	}
	choice, err := workload.Choose(&rt, v1alpha1.Accelerators{}, 1, nil, &workload.Supply{})
	if err != nil {
		return v1alpha1.RuntimeVariant{}, ReasonNoVariant, err.Error(), nil
	}
	return choice.Variant, "", "", nil
}

// data finds the data sets that the spec names, by field, or says why one cannot be read.
func (c *Controller) data(ctx context.Context, e *v1alpha1.Evaluation) (map[string]*v1alpha1.Dataset, string, error) {
	out := map[string]*v1alpha1.Dataset{}
	for _, d := range []struct {
		field string
		data  *v1alpha1.EvaluationData
	}{{"data", &e.Spec.Data}, {"trained", e.Spec.Trained}} {
		if d.data == nil || d.data.Dataset == "" {
			continue
		}
		set := &v1alpha1.Dataset{}
		err := c.deps.Client.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: d.data.Dataset}, set)
		if apierrors.IsNotFound(err) {
			set = nil
		} else if err != nil {
			return nil, "", fmt.Errorf("reading data set %s: %w", d.data.Dataset, err)
		}
		if why := workload.Unfrozen("spec."+d.field+".dataset", e.Namespace, d.data.Dataset, set); why != "" {
			return nil, why, nil
		}
		out[d.field] = set
	}
	return out, "", nil
}

// sandbox that the pod runs in.
func (c *Controller) sandbox(ctx context.Context, e *v1alpha1.Evaluation, v v1alpha1.RuntimeVariant) (string, error) {
	if v.Sandbox != "" || c.cfg.Sandbox == "" {
		return v.Sandbox, nil
	}
	var ns corev1.Namespace
	if err := c.deps.Client.Get(ctx, client.ObjectKey{Name: e.Namespace}, &ns); err != nil {
		return "", fmt.Errorf("reading namespace %s: %w", e.Namespace, err)
	}
	return cmp.Or(ns.Labels[v1alpha1.LabelSandbox], c.cfg.Sandbox), nil
}

// clip keeps text within a number of bytes.
func clip(s string, bytesMax int) string {
	if len(s) > bytesMax {
		s = strings.ToValidUTF8(s[:bytesMax], "") + "..."
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
