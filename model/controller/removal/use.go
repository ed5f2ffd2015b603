package removal

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model"
	"polder.dev/polder/model/registry"
)

// user names work that needs the artifacts of m, now or in its next pod; "" if there is
// none. Services are not asked: admission keeps what they name, until the namespace goes,
// and they with it. What is to go itself does not count.
func (c *Controller) user(ctx context.Context, m *v1alpha1.Model) (string, error) {
	repositories := map[string]bool{}
	for r := range references(m) {
		repositories[repository(r)] = true
	}
	u := &use{c: c, m: m, named: func(image string) bool { return image != "" && repositories[repository(image)] }}
	for _, look := range []func(context.Context) (string, error){u.pod, u.job, u.evaluation, u.distillation} {
		name, err := look(ctx)
		if err != nil {
			return "", fmt.Errorf("looking who uses model %s: %w", m.Name, err)
		}
		if name != "" {
			return name, nil
		}
	}
	return "", nil
}

// use looks for work that uses a Model.
type use struct {
	c     *Controller
	m     *v1alpha1.Model
	named func(image string) bool // whether an image is of the Model
}

func (u *use) pod(ctx context.Context) (string, error) {
	var list corev1.PodList
	if err := u.c.deps.Live.List(ctx, &list, client.InNamespace(u.m.Namespace)); err != nil {
		return "", err
	}
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, image := range images(&p.Spec) {
			if u.named(image) {
				return "pod " + p.Name, nil
			}
		}
	}
	return "", nil
}

// images that a pod runs or mounts.
func images(s *corev1.PodSpec) []string {
	var out []string
	for _, v := range s.Volumes {
		if v.Image != nil {
			out = append(out, v.Image.Reference)
		}
	}
	for _, c := range s.InitContainers {
		out = append(out, c.Image)
	}
	for _, c := range s.Containers {
		out = append(out, c.Image)
	}
	return out
}

func (u *use) job(ctx context.Context) (string, error) {
	var list v1alpha1.TrainJobList
	if err := u.c.deps.Client.List(ctx, &list, client.InNamespace(u.m.Namespace)); err != nil {
		return "", err
	}
	for i := range list.Items {
		j := &list.Items[i]
		if j.DeletionTimestamp != nil || j.Status.State.Done() {
			continue
		}
		for _, d := range j.Spec.Data {
			if u.named(d.Image) {
				return "TrainJob " + j.Name, nil
			}
		}
	}
	return "", nil
}

func (u *use) evaluation(ctx context.Context) (string, error) {
	var list v1alpha1.EvaluationList
	if err := u.c.deps.Client.List(ctx, &list, client.InNamespace(u.m.Namespace)); err != nil {
		return "", err
	}
	for i := range list.Items {
		e := &list.Items[i]
		if e.DeletionTimestamp != nil || e.Status.State.Done() {
			continue
		}
		for _, other := range e.Spec.Models {
			if u.means(other.Model) {
				return "Evaluation " + e.Name, nil
			}
		}
	}
	return "", nil
}

func (u *use) distillation(ctx context.Context) (string, error) {
	var list v1alpha1.DistillationList
	if err := u.c.deps.Client.List(ctx, &list, client.InNamespace(u.m.Namespace)); err != nil {
		return "", err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if d.DeletionTimestamp != nil || d.Status.State.Done() {
			continue
		}
		if t := d.Spec.Teacher; t != nil && u.means(t.Model) || u.means(d.Spec.Student.From) {
			return "Distillation " + d.Name, nil
		}
	}
	return "", nil
}

// means reports whether text, NAME[@ALIAS|@DIGEST], means the Model.
func (u *use) means(text string) bool {
	n, err := model.ParseName(text)
	return err == nil && n.Model == u.m.Name
}

// repository of an image; "" if it is no image of the cloud's registry.
func repository(image string) string {
	ref, err := registry.Parse(image)
	if err != nil {
		return ""
	}
	return ref.Context().RepositoryStr()
}
