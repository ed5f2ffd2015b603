package evaluation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/workload"
)

// Container is the name of the container that judges, in the evaluation's pod.
const Container = "evaluate"

// Before it one copies the data from the object store, and of an evaluation with a program
// one has the models answer, and one is the program.
const (
	containerData    = "data"
	containerAnswer  = "answer"
	containerProgram = "program"
)

// Where the pod finds things; docs/howto/evaluation.md promises none of it.
const (
	dirModels  = "/polder/models"
	dirData    = "/polder/data"
	dirTrained = "/polder/trained"
	program    = "/usr/libexec/polder/polder-onnx" // of the runtime
)

const (
	// uid of the pod's processes, and their group.
	uid = 65532
	// exitWrong is how the program ends when trying again would not help.
	exitWrong = 2
	// triesMax is how often a pod that dies is started again.
	triesMax = 3

	labelManager = "app.kubernetes.io/managed-by"
	managedBy    = "polder"
)

// JobName is the name of an evaluation's Job.
func JobName(evaluation string) string { return "evaluate-" + evaluation }

func owned(e *v1alpha1.Evaluation, o metav1.Object) bool { return metav1.IsControlledBy(o, e) }

// begin makes the Job of an evaluation that was accepted.
func (c *Controller) begin(ctx context.Context, l *look) error {
	variant, judge, _, why, err := c.runtimes(ctx, l.e)
	if err != nil || why != "" {
		l.hold(why, c.cfg.Wait)
		return err
	}
	sets, why, err := c.data(ctx, l.e)
	if err != nil || why != "" {
		l.hold(why, c.cfg.Wait)
		return err
	}
	sandbox, err := c.sandbox(ctx, l.e, variant)
	if err != nil {
		return err
	}
	entrants, images, err := c.entrants(ctx, l)
	if err != nil || entrants == nil {
		return err
	}
	plan, err := planOf(l.e, entrants, sandbox)
	if err != nil {
		l.fail(ReasonInvalidSpec, err.Error())
		return nil
	}
	l.status.DataDigest = ""
	if set := sets["data"]; set != nil {
		l.status.DataDigest = set.Status.Digest
	}
	l.status.Message = "the pod that judges is being started"
	l.create = c.jobOf(l.e, plan, variant, judge, images, sets)
	l.again = c.cfg.Progress
	return nil
}

// entrants are what the pod is told of each model, and the images that models are mounted
// from; there are none where one is missing.
func (c *Controller) entrants(ctx context.Context, l *look) ([]trial.Entrant, []string, error) {
	var out []trial.Entrant
	images := make([]string, len(l.status.Models))
	for i, m := range l.status.Models {
		spec := &l.e.Spec.Models[i]
		if remote(spec) {
			s, err := c.service(ctx, l.e, spec)
			if err != nil {
				return nil, nil, err
			}
			if why := cmp.Or(s.why, s.wrong); why != "" {
				l.hold(why, c.cfg.Wait)
				return nil, nil, nil
			}
			e, err := c.entrant(l.e, spec, s)
			if err != nil {
				l.fail(ReasonInvalidSpec, fmt.Sprintf("spec.models[%d].%v", i, err))
				return nil, nil, nil
			}
			out = append(out, e)
			continue
		}
		var err error
		images[i], err = c.deps.Mounter.Volume(ctx, m.Model.Reference)
		if errors.Is(err, registry.ErrNotFound) {
			l.fail(ReasonNoArtifact, fmt.Sprintf("spec.models[%d].model: the registry has no %s", i, m.Model.Reference))
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("making a volume of model %s: %w", m.Model.Reference, err)
		}
		out = append(out, trial.Entrant{Name: m.Name, Dir: path.Join(dirModels, m.Name), Reference: m.Model.Reference, Digest: m.Model.Digest})
	}
	return out, images, nil
}

// tokensDefault is what the API server fills in where spec.generation is there.
const tokensDefault = 256

// planOf is what the pod is told.
func planOf(e *v1alpha1.Evaluation, entrants []trial.Entrant, sandbox string) (string, error) {
	p := trial.Plan{
		Task: task(e), Seed: e.Spec.Seed, Data: tableOf(&e.Spec.Data, dirData), Models: entrants,
		Threads: int(workload.Threads(e.Spec.Resources)), Sandbox: sandbox, Program: e.Spec.Program != nil,
	}
	if p.Task == eval.TaskGeneration {
		g := ptr.Deref(e.Spec.Generation, v1alpha1.EvaluationGeneration{})
		p.System, p.TokensMax = g.System, cmp.Or(g.MaxTokens, tokensDefault)
	}
	if e.Spec.Trained != nil {
		p.Trained = ptr.To(tableOf(e.Spec.Trained, dirTrained))
	}
	var err error
	if p.Requirements, err = requirements(e); err != nil {
		return "", err
	}
	if e.Spec.CostPerHour != "" {
		if p.CostPerHour, err = strconv.ParseFloat(e.Spec.CostPerHour, 64); err != nil {
			return "", fmt.Errorf("spec.costPerHour: %q is no number", e.Spec.CostPerHour)
		}
	}
	return p.Encode()
}

func tableOf(d *v1alpha1.EvaluationData, dir string) trial.Data {
	out := trial.Data{Dir: dir, File: d.File, Label: d.Label, Slices: d.Slices}
	if d.Rows != nil {
		out.From, out.To = d.Rows.From, d.Rows.To
	}
	return out
}

// jobOf is the Job whose pod judges. It is started again when it dies, unless it says that
// this is of no use.
func (c *Controller) jobOf(e *v1alpha1.Evaluation, plan string, v, judge v1alpha1.RuntimeVariant, images []string, sets map[string]*v1alpha1.Dataset) *batchv1.Job {
	labels := map[string]string{v1alpha1.LabelEvaluation: e.Name, labelManager: managedBy}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: JobName(e.Name), Namespace: e.Namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, v1alpha1.GroupVersion.WithKind("Evaluation"))},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](triesMax),
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{exitWrong}}},
				{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
					{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}},
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: c.podOf(e, plan, v, judge, images, sets)},
		},
	}
}

func (c *Controller) podOf(e *v1alpha1.Evaluation, plan string, v, judge v1alpha1.RuntimeVariant, images []string, sets map[string]*v1alpha1.Dataset) corev1.PodSpec {
	spec := corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](uid), RunAsGroup: ptr.To[int64](uid), FSGroup: ptr.To[int64](uid),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	if v.Sandbox != "" {
		spec.RuntimeClassName = ptr.To(v.Sandbox)
	}
	threads := strconv.FormatInt(workload.Threads(e.Spec.Resources), 10)
	main := corev1.Container{
		Name: Container, Image: workload.Reference(v.Image, v.Digest), Command: []string{program, "evaluate"},
		Env: append(append([]corev1.EnvVar{{Name: "HOME", Value: "/tmp"}, {Name: "OMP_NUM_THREADS", Value: threads}}, v.Env...),
			corev1.EnvVar{Name: trial.PlanVariable, Value: escaped(plan)}),
		Resources:                workload.Resources(e.Spec.Resources, 0, workload.Choice{Variant: v}),
		VolumeMounts:             []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          confined(),
	}
	for i, m := range e.Spec.Models {
		if images[i] == "" {
			continue
		}
		name := "model-" + strconv.Itoa(i)
		spec.Volumes = append(spec.Volumes, imageVolume(name, images[i]))
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path.Join(dirModels, m.Name), ReadOnly: true})
	}
	c.withData(&spec, &main, e, sets)
	if asks(e) {
		withGateway(&spec, &main, e, c.cfg.Gateway)
	}
	spec.Containers = []corev1.Container{main}
	if e.Spec.Program != nil {
		withProgram(&spec, e, judge)
	}
	return spec
}

// withProgram splits the pod's work: the models answer before the program, which judges
// what they said, and only then comes the verdict. The program sees answers and its code,
// and nothing else of the pod.
func withProgram(spec *corev1.PodSpec, e *v1alpha1.Evaluation, v v1alpha1.RuntimeVariant) {
	const code = "/polder/code"
	for _, name := range []string{"state", "answers", "scores"} {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("4Gi"))}}})
	}
	spec.Volumes = append(spec.Volumes, imageVolume("code", e.Spec.Program.Code.Image),
		corev1.Volume{Name: "program-tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	at := func(name, dir string, only bool) corev1.VolumeMount {
		return corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: only}
	}
	judge := &spec.Containers[0]
	answer := *judge.DeepCopy()
	answer.Name = containerAnswer
	answer.Env = append(answer.Env, corev1.EnvVar{Name: trial.StageVariable, Value: trial.StageAnswer})
	answer.VolumeMounts = append(answer.VolumeMounts, at("state", trial.DirState, false), at("answers", trial.DirAnswers, false))
	judge.Env = append(judge.Env, corev1.EnvVar{Name: trial.StageVariable, Value: trial.StageJudge})
	judge.VolumeMounts = []corev1.VolumeMount{at("tmp", "/tmp", false), at("state", trial.DirState, true), at("scores", trial.DirScores, true)}
	redirect := fmt.Sprintf(`exec "$@" <%s >%s`, path.Join(trial.DirAnswers, trial.FileAnswers), path.Join(trial.DirScores, trial.FileScores))
	spec.InitContainers = append(spec.InitContainers, answer, corev1.Container{
		Name: containerProgram, Image: workload.Reference(v.Image, v.Digest), WorkingDir: code,
		Command:                  append([]string{"/bin/sh", "-c", redirect, "sh"}, e.Spec.Program.Command...),
		Env:                      append([]corev1.EnvVar{{Name: "HOME", Value: "/tmp"}}, v.Env...),
		Resources:                judge.Resources,
		VolumeMounts:             []corev1.VolumeMount{at("program-tmp", "/tmp", false), at("code", code, true), at("answers", trial.DirAnswers, true), at("scores", trial.DirScores, false)},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          confined(),
	})
}

// withData adds the tables: as an image, or copied from the store before the pod judges.
func (c *Controller) withData(spec *corev1.PodSpec, main *corev1.Container, e *v1alpha1.Evaluation, sets map[string]*v1alpha1.Dataset) {
	var copied []dataset.Source
	var mounts []corev1.VolumeMount
	for _, t := range []struct {
		name, dir string
		data      *v1alpha1.EvaluationData
	}{{"data", dirData, &e.Spec.Data}, {"trained", dirTrained, e.Spec.Trained}} {
		if t.data == nil {
			continue
		}
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: t.name, MountPath: t.dir, ReadOnly: true})
		if t.data.Image != "" {
			spec.Volumes = append(spec.Volumes, imageVolume(t.name, t.data.Image))
			continue
		}
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: t.name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		mounts = append(mounts, corev1.VolumeMount{Name: t.name, MountPath: t.dir})
		if b := t.data.Bucket; b != nil {
			copied = append(copied, dataset.Source{Dir: t.dir, Bucket: b.Name, Prefix: b.Prefix})
		} else {
			copied = append(copied, workload.SourceOf(sets[t.name], t.dir))
		}
	}
	if len(copied) == 0 {
		return
	}
	spec.Volumes = append(spec.Volumes, workload.StoreVolume())
	spec.InitContainers = append(spec.InitContainers, corev1.Container{
		Name: containerData, Image: c.cfg.CopyImage, Command: []string{"/fetch", "data"},
		Env:                      append(workload.StoreEnv(), corev1.EnvVar{Name: "HOME", Value: "/tmp"}, workload.SourcesEnv(copied)),
		VolumeMounts:             append(mounts, workload.StoreMount(), corev1.VolumeMount{Name: "tmp", MountPath: "/tmp"}),
		Resources:                workload.CopierResources(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          confined(),
	})
}

func confined() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true), RunAsNonRoot: ptr.To(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func imageVolume(name, ref string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: workload.Reference(ref, ""), PullPolicy: corev1.PullIfNotPresent},
	}}
}

// memory that the pod may use, for sentences.
func memory(e *v1alpha1.Evaluation) string {
	limits := workload.Resources(e.Spec.Resources, 0, workload.Choice{}).Limits
	return cmp.Or(limits.Memory().String(), "its limit")
}
