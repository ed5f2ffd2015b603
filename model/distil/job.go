package distil

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// deadlineSeconds of a stage's job: the budget ends it sooner.
const deadlineSeconds = 30 * 24 * 3600

// askingParameters of the student are for the stage in which the teacher answers.
var askingParameters = map[v1alpha1.Method][]string{
	v1alpha1.MethodLogits:   {"made", "times", "block", "seed"},
	v1alpha1.MethodSequence: {"samples", "system", "max_tokens", "ask_temperature", "at_once", "tries", "seed"},
}

// asking are the parameters of the teacher's stage.
func asking(d *v1alpha1.Distillation) map[string]string {
	out := map[string]string{}
	for _, k := range askingParameters[method(d)] {
		if v, ok := d.Spec.Student.Parameters[k]; ok {
			out[k] = v
		}
	}
	return out
}

// TeacherJob is the job in which the teacher answers. Its output, the answers, becomes
// the Model AnswersName.
func TeacherJob(d *v1alpha1.Distillation, f *Found) *v1alpha1.TrainJob {
	key := Key(d, f)
	t := d.Spec.Teacher
	j := job(d, StageTeacher)
	j.Spec.Code.Image = f.Code
	j.Spec.Parameters = asking(d)
	j.Spec.Parameters["key"] = key
	j.Spec.Resources, j.Spec.Accelerators, j.Spec.Workers = t.Resources, t.Accelerators, 1
	j.Spec.Output = v1alpha1.Output{Model: AnswersName(key)}
	j.Labels[LabelKind] = KindAnswers
	table(j, SourceData, &d.Spec.Data)
	switch {
	case t.Endpoint != nil:
		j.Spec.Command = []string{"python3", "ask.py"}
		j.Spec.Parameters["url"], j.Spec.Parameters["model"] = t.Endpoint.URL, t.Endpoint.Model
		if n := t.Endpoint.RequestTimeoutSeconds; n > 0 {
			j.Spec.Parameters["timeout"] = strconv.Itoa(int(n))
		}
		if strings.HasPrefix(t.Endpoint.URL, "https:") { // services of this cloud show certificates of its own authority
			yes := true
			j.Spec.Env = append(j.Spec.Env, corev1.EnvVar{Name: "TEACHER_CA", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Key: "ca.crt", Optional: &yes,
			}}})
		}
		if t.Endpoint.Key != nil {
			j.Spec.Env = append(j.Spec.Env, corev1.EnvVar{Name: "TEACHER_KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: t.Endpoint.Key}})
		}
	default:
		j.Spec.Command = []string{"python3", "answer.py"}
		if method(d) == v1alpha1.MethodSequence {
			j.Spec.Command = []string{"python3", "ask.py"}
		}
		mount(j, SourceTeacher, f.Teacher)
	}
	if b := d.Spec.CacheBucket; b != nil {
		j.Spec.Checkpoints.Bucket = &v1alpha1.BucketSource{Name: b.Name, Prefix: path.Join(b.Prefix, key) + "/"}
	}
	parents(j, map[string]*Source{SourceTeacher: f.Teacher})
	return j
}

// StudentJob is the job in which the student learns. Its output becomes CandidateName.
func StudentJob(d *v1alpha1.Distillation, f *Found) *v1alpha1.TrainJob {
	s := &d.Spec.Student
	j := job(d, StageStudent)
	j.Spec.Code.Image, j.Spec.Command = f.Code, []string{"python3", s.Recipe + ".py"}
	if s.Code != nil {
		j.Spec.Code, j.Spec.Command = *s.Code, s.Command
	}
	j.Spec.Parameters = maps.Clone(s.Parameters)
	if j.Spec.Parameters == nil {
		j.Spec.Parameters = map[string]string{}
	}
	j.Spec.Parameters["labels"] = strconv.FormatInt(labels(d), 10)
	j.Spec.Resources, j.Spec.Accelerators, j.Spec.Workers = s.Resources, s.Accelerators, max(s.Workers, 1)
	j.Spec.Output = v1alpha1.Output{Model: CandidateName(d), Licence: d.Spec.Output.Licence}
	table(j, SourceData, &d.Spec.Data)
	if d.Spec.Held != nil {
		table(j, SourceHeld, d.Spec.Held)
	}
	mount(j, SourceAnswers, f.Answers)
	mount(j, SourceFrom, f.From)
	parents(j, map[string]*Source{SourceTeacher: f.Teacher, SourceAnswers: f.Answers, SourceFrom: f.From})
	return j
}

// labels that the student may see. Methods without a teacher learn from labels, so none
// means all of them there.
func labels(d *v1alpha1.Distillation) int64 {
	n := int64(0)
	if d.Spec.Labels != nil {
		n = *d.Spec.Labels
	}
	if n == 0 && !Taught(d) {
		return -1
	}
	return n
}

// Judgement is the evaluation of the student, of which metrics are known, beside the teacher
// where that is a model.
func Judgement(d *v1alpha1.Distillation, f *Found, student *Source, metrics map[string]string) *v1alpha1.Evaluation {
	e := &v1alpha1.Evaluation{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Evaluation"},
		ObjectMeta: meta(d, StageEvaluation),
	}
	e.Spec.Task = task(d, metrics)
	e.Spec.Models = []v1alpha1.EvaluatedModel{{Name: StageStudent, Model: student.Name + "@" + student.Digest}}
	if f.Teacher != nil && method(d) == v1alpha1.MethodLogits {
		e.Spec.Models = append(e.Spec.Models, v1alpha1.EvaluatedModel{Name: SourceTeacher, Model: f.Teacher.Name + "@" + f.Teacher.Digest})
	}
	e.Spec.Requirements = slices.DeleteFunc(slices.Clone(d.Spec.Requirements), ofReward)
	if h := d.Spec.Held; h != nil {
		e.Spec.Data = *h.DeepCopy()
		e.Spec.Trained = d.Spec.Data.DeepCopy()
		e.Spec.Trained.Slices = nil
	} else {
		e.Spec.Data = v1alpha1.EvaluationData{Image: student.Image, File: HeldFile, Label: HeldLabel}
	}
	return e
}

// task that the student is for. One that goes on learning, or has it from its teacher, need
// not be told: its figures tell.
func task(d *v1alpha1.Distillation, metrics map[string]string) v1alpha1.Task {
	if t := d.Spec.Student.Parameters["task"]; t != "" && method(d) != v1alpha1.MethodSequence {
		return v1alpha1.Task(t)
	}
	if _, wrong := figure(metrics, "test_mae"); wrong {
		return v1alpha1.TaskRegression
	}
	return v1alpha1.TaskClassification
}

func meta(d *v1alpha1.Distillation, stage string) metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace: d.Namespace, Name: JobName(d, stage), Labels: map[string]string{v1alpha1.LabelDistillation: d.Name},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "Distillation", Name: d.Name, UID: d.UID, Controller: &yes, BlockOwnerDeletion: &yes,
		}},
	}
}

func job(d *v1alpha1.Distillation, stage string) *v1alpha1.TrainJob {
	return &v1alpha1.TrainJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TrainJob"},
		ObjectMeta: meta(d, stage),
		Spec:       v1alpha1.TrainJobSpec{Runtime: or(d.Spec.Student.Runtime, "pytorch-cpu"), DeadlineSeconds: deadlineSeconds},
	}
}

// table gives a job a table, and tells the recipe where in it what is.
func table(j *v1alpha1.TrainJob, name string, t *v1alpha1.EvaluationData) {
	j.Spec.Data = append(j.Spec.Data, v1alpha1.DataSource{Name: name, Image: t.Image, Dataset: t.Dataset, Bucket: t.Bucket})
	set := func(what, value string) {
		if value != "" {
			j.Spec.Parameters[name+"_"+what] = value
		}
	}
	set("file", t.File)
	set("label", t.Label)
	set("slices", strings.Join(t.Slices, ","))
	if r := t.Rows; r != nil {
		set("from", fmt.Sprint(r.From))
		set("to", fmt.Sprint(r.To))
	}
}

// mount gives a job the files of a model.
func mount(j *v1alpha1.TrainJob, name string, s *Source) {
	if s != nil {
		j.Spec.Data = append(j.Spec.Data, v1alpha1.DataSource{Name: name, Image: s.Image})
	}
}

// parents writes down what a job's model is made of.
func parents(j *v1alpha1.TrainJob, of map[string]*Source) {
	digests := map[string]string{}
	for name, s := range of {
		if s != nil {
			digests[name] = s.Digest
		}
	}
	if len(digests) == 0 {
		return
	}
	b, err := json.Marshal(digests)
	if err != nil {
		panic(fmt.Sprintf("distil: digests cannot be written: %v", err))
	}
	j.Annotations = map[string]string{v1alpha1.AnnotationParents: string(b)}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
