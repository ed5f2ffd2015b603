package distil

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// sound is a distillation with nothing wrong with it.
func sound() *v1alpha1.Distillation {
	return &v1alpha1.Distillation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "digits", UID: "12345678-9abc"},
		Spec: v1alpha1.DistillationSpec{
			Method: v1alpha1.MethodLogits, Teacher: &v1alpha1.Teacher{Model: "big"},
			Student: v1alpha1.Student{Recipe: "logits", Parameters: map[string]string{"epochs": "3", "made": "mixup"}},
			Data:    v1alpha1.EvaluationData{Dataset: "train", Rows: &v1alpha1.RowRange{From: 5, To: 50}},
			Held:    &v1alpha1.EvaluationData{Dataset: "test", Label: "digit", Slices: []string{"writer"}},
		},
	}
}

func found() *Found {
	return &Found{
		Teacher: &Source{Name: "big", Digest: digestA, Reference: "models/ns/big@" + digestA, Image: "models/ns/big@" + digestB},
		Code:    "system/recipes@" + digestA, Recipes: "r1", DataDigest: digestA,
	}
}

func TestCheck(t *testing.T) {
	if err := Check(sound()); err != nil {
		t.Fatalf("a sound one is refused: %v", err)
	}
	for name, tc := range map[string]struct {
		change func(s *v1alpha1.DistillationSpec)
		want   string
	}{
		"recipe unknown":    {func(s *v1alpha1.DistillationSpec) { s.Student.Recipe = "magic" }, "spec.student.recipe"},
		"recipe of another": {func(s *v1alpha1.DistillationSpec) { s.Student.Recipe = "lora" }, "spec.student.recipe"},
		"code, no command": {func(s *v1alpha1.DistillationSpec) {
			s.Student.Recipe, s.Student.Code = "", &v1alpha1.Code{Image: "code/ns/x"}
		}, "spec.student.command"},
		"recipe and command": {func(s *v1alpha1.DistillationSpec) { s.Student.Command = []string{"sh"} }, "spec.student.command"},
		"endpoint for logits": {func(s *v1alpha1.DistillationSpec) {
			s.Teacher = &v1alpha1.Teacher{Endpoint: &v1alpha1.Endpoint{URL: "https://x/v1", Model: "m"}}
		}, "spec.teacher.endpoint"},
		"teacher of none": {func(s *v1alpha1.DistillationSpec) { s.Method, s.Student.Recipe = v1alpha1.MethodReinforce, "reinforce" }, "spec.teacher"},
		"lora from nothing": {func(s *v1alpha1.DistillationSpec) {
			s.Method, s.Student.Recipe, s.Teacher = v1alpha1.MethodLora, "lora", nil
		}, "spec.student.from"},
		"parameter of ours":   {func(s *v1alpha1.DistillationSpec) { s.Student.Parameters["data_file"] = "x" }, "spec.student.parameters.data_file"},
		"labels as parameter": {func(s *v1alpha1.DistillationSpec) { s.Student.Parameters["labels"] = "3" }, "spec.student.parameters.labels"},
		"reward of labels": {func(s *v1alpha1.DistillationSpec) {
			s.Requirements = []v1alpha1.EvaluationRequirement{{Metric: "reward", Min: "0.5"}}
		}, "spec.requirements[0].metric"},
		"labels of actions": {func(s *v1alpha1.DistillationSpec) {
			policy(s)
			s.Requirements = append(s.Requirements, v1alpha1.EvaluationRequirement{Metric: "accuracy", Min: "0.5"})
		}, "spec.requirements[1].metric"},
		"reward without a bound": {func(s *v1alpha1.DistillationSpec) { policy(s); s.Requirements[0].Min = "" }, "spec.requirements[0].metric"},
		"held for text":          {func(s *v1alpha1.DistillationSpec) { s.Method, s.Student.Recipe = v1alpha1.MethodSequence, "sequence" }, "spec.held"},
		"budget of nothing":      {func(s *v1alpha1.DistillationSpec) { s.Budget.AcceleratorHours = "0.0" }, "spec.budget.acceleratorHours"},
	} {
		t.Run(name, func(t *testing.T) {
			d := sound()
			tc.change(&d.Spec)
			err := Check(d)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want+":") {
				t.Errorf("%v, want one of %s", err, tc.want)
			}
		})
	}
}

// TestKey: answers are taken again for the same question, and for no other.
func TestKey(t *testing.T) {
	was := Key(sound(), found())
	same := map[string]func(d *v1alpha1.Distillation, f *Found){
		"another student":  func(d *v1alpha1.Distillation, _ *Found) { d.Spec.Student.Parameters["epochs"] = "30" },
		"other held rows":  func(d *v1alpha1.Distillation, _ *Found) { d.Spec.Held = nil },
		"another namesake": func(d *v1alpha1.Distillation, _ *Found) { d.Name, d.UID = "other", "other" },
		"another mount":    func(_ *v1alpha1.Distillation, f *Found) { f.Teacher.Image = "elsewhere" },
	}
	for name, change := range same {
		d, f := sound(), found()
		if change(d, f); Key(d, f) != was {
			t.Errorf("%s changes the key", name)
		}
	}
	other := map[string]func(d *v1alpha1.Distillation, f *Found){
		"another teacher": func(_ *v1alpha1.Distillation, f *Found) { f.Teacher.Digest = digestB },
		"other data":      func(_ *v1alpha1.Distillation, f *Found) { f.DataDigest = digestB },
		"other rows":      func(d *v1alpha1.Distillation, _ *Found) { d.Spec.Data.Rows.To = 60 },
		"other made rows": func(d *v1alpha1.Distillation, _ *Found) { d.Spec.Student.Parameters["made"] = "shift" },
		"other recipes":   func(_ *v1alpha1.Distillation, f *Found) { f.Recipes = "r2" },
	}
	for name, change := range other {
		d, f := sound(), found()
		if change(d, f); Key(d, f) == was {
			t.Errorf("%s does not change the key", name)
		}
	}
	a, b, f := sound(), sound(), found()
	b.UID, f.DataDigest = "other", ""
	if Key(a, f) == Key(b, f) {
		t.Error("answers to data that nobody can tell apart are taken for those of another distillation")
	}
}

func TestJobs(t *testing.T) {
	d, f := sound(), found()
	d.Spec.CacheBucket = &v1alpha1.BucketSource{Name: "cache", Prefix: "p"}
	d.Spec.Teacher.Accelerators = v1alpha1.Accelerators{Count: 1}
	j := TeacherJob(d, f)
	if j.Name != "digits-t1234" || len(j.OwnerReferences) != 1 || j.OwnerReferences[0].UID != d.UID {
		t.Errorf("%s, owned by %v", j.Name, j.OwnerReferences)
	}
	if j.Spec.Parameters["made"] != "mixup" || j.Spec.Parameters["epochs"] != "" || j.Spec.Parameters["data_from"] != "5" || j.Spec.Parameters["data_to"] != "50" {
		t.Errorf("the teacher's parameters are %v", j.Spec.Parameters)
	}
	if len(j.Spec.Data) != 2 || j.Spec.Data[0].Dataset != "train" || j.Spec.Data[1].Image != f.Teacher.Image || j.Spec.Accelerators.Count != 1 {
		t.Errorf("the teacher works on %v", j.Spec.Data)
	}
	if want := "p/" + Key(d, f) + "/"; j.Spec.Checkpoints.Bucket == nil || j.Spec.Checkpoints.Bucket.Prefix != want {
		t.Errorf("answers under way are kept in %v, want %s", j.Spec.Checkpoints.Bucket, want)
	}
	f.Answers = &Source{Name: "answers-x", Digest: digestB, Image: "models/ns/answers-x@" + digestB}
	s := StudentJob(d, f)
	if s.Spec.Output.Model != "digits-candidate" || s.Spec.Accelerators.Count != 0 || s.Spec.Parameters["labels"] != "0" || s.Spec.Parameters["held_slices"] != "writer" {
		t.Errorf("the student is %v, with %v", s.Spec.Output, s.Spec.Parameters)
	}
	if !strings.Contains(s.Annotations[v1alpha1.AnnotationParents], digestA) {
		t.Errorf("its parents are %q", s.Annotations[v1alpha1.AnnotationParents])
	}
	d.Spec.Labels = ptr.To[int64](-1)
	if got := StudentJob(d, f).Spec.Parameters["labels"]; got != "-1" {
		t.Errorf("labels are %s", got)
	}
	e := Judgement(d, f, &Source{Name: "digits-candidate", Digest: digestB, Image: "i"}, nil)
	if len(e.Spec.Models) != 2 || e.Spec.Models[0].Model != "digits-candidate@"+digestB || e.Spec.Data.Dataset != "test" || e.Spec.Trained.Dataset != "train" {
		t.Errorf("it is judged by %+v", e.Spec)
	}
	d.Spec.Held = nil
	if e := Judgement(d, f, &Source{Image: "i"}, nil); e.Spec.Data.Image != "i" || e.Spec.Data.File != HeldFile {
		t.Errorf("without held it is judged on %+v", e.Spec.Data)
	}
}

// TestAModelThatGoesOn: without a teacher it learns from all labels, unless told otherwise.
func TestAModelThatGoesOn(t *testing.T) {
	d := sound()
	d.Spec.Method, d.Spec.Teacher = v1alpha1.MethodLora, nil
	d.Spec.Student = v1alpha1.Student{Recipe: "lora", From: "big@production", Workers: 2}
	if err := Check(d); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(Stages(d), " "); got != "student evaluation" {
		t.Errorf("its stages are %s", got)
	}
	j := StudentJob(d, &Found{From: &Source{Name: "big", Digest: digestA, Image: "i"}, Code: "c"})
	last := j.Spec.Data[len(j.Spec.Data)-1]
	if last.Name != "from" || last.Image != "i" || j.Spec.Parameters["labels"] != "-1" || j.Spec.Workers != 2 || j.Spec.Command[1] != "lora.py" {
		t.Errorf("it runs %v with %v on %+v", j.Spec.Command, j.Spec.Parameters, j.Spec.Data)
	}
	if e := Judgement(d, &Found{}, &Source{}, nil); len(e.Spec.Models) != 1 {
		t.Errorf("it is judged beside %v", e.Spec.Models)
	}
	if e := Judgement(d, &Found{}, &Source{}, map[string]string{"test_mae": "0.5"}); e.Spec.Task != v1alpha1.TaskRegression {
		t.Errorf("a model of numbers is judged as one of %s", e.Spec.Task)
	}
	d.Spec.Student.Parameters = map[string]string{"task": "forecast"}
	if e := Judgement(d, &Found{}, &Source{}, map[string]string{"test_mae": "0.5"}); e.Spec.Task != v1alpha1.TaskForecast {
		t.Errorf("a forecast is judged as %s", e.Spec.Task)
	}
	d.Spec.Labels = ptr.To[int64](50)
	if got := StudentJob(d, &Found{}).Spec.Parameters["labels"]; got != "50" {
		t.Errorf("it may see %s labels", got)
	}
}

// policy makes a distillation one by rewards.
func policy(s *v1alpha1.DistillationSpec) {
	s.Method, s.Teacher = v1alpha1.MethodReinforce, nil
	s.Student = v1alpha1.Student{Recipe: "reinforce", Parameters: map[string]string{"actions": "odd,even", "reward": "judge.py"}}
	s.Requirements = []v1alpha1.EvaluationRequirement{{Metric: "reward", Min: "0.5"}}
}

// TestAPolicy: where actions are no labels, its rewards judge it, else an evaluation does, too.
func TestAPolicy(t *testing.T) {
	d := sound()
	policy(&d.Spec)
	if err := Check(d); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(Stages(d), " "); got != "student" {
		t.Errorf("its stages are %s", got)
	}
	for name, tc := range map[string]struct {
		metrics map[string]string
		verdict string
		unmet   string
	}{
		"rewarded": {map[string]string{"test_reward": "0.75", "test_constant_reward": "0.25", "before_reward": "0.1"},
			"Its actions are rewarded by 0.75 on average; always the same one by 0.25; before it learned they were by 0.1.", ""},
		"too little":   {map[string]string{"test_reward": "0.25"}, "Its actions are rewarded by 0.25 on average.", "reward is 0.25; at least 0.5 is required."},
		"told by none": {nil, "Its program tells no test_reward.", "reward is required, and was not told."},
	} {
		verdict, unmet := Rewarded(d, tc.metrics)
		if verdict != tc.verdict || strings.Join(unmet, " ") != tc.unmet {
			t.Errorf("%s: %q, unmet %q", name, verdict, unmet)
		}
	}
	delete(d.Spec.Student.Parameters, "actions")
	d.Spec.Requirements = append(d.Spec.Requirements, v1alpha1.EvaluationRequirement{Metric: "accuracy", Min: "0.5"})
	if err := Check(d); err != nil {
		t.Fatal(err)
	}
	e := Judgement(d, &Found{}, &Source{}, nil)
	if got := strings.Join(Stages(d), " "); got != "student evaluation" || len(e.Spec.Requirements) != 1 || e.Spec.Requirements[0].Metric != "accuracy" {
		t.Errorf("its stages are %s, and it is required %v", got, e.Spec.Requirements)
	}
	if len(d.Spec.Requirements) != 2 {
		t.Errorf("its own requirements are %v now", d.Spec.Requirements)
	}
}

// TestAnEndpointsKey: it is never written down, and the cloud's own services are believed.
func TestAnEndpointsKey(t *testing.T) {
	d := sound()
	d.Spec.Method, d.Spec.Student.Recipe, d.Spec.Held = v1alpha1.MethodSequence, "sequence", nil
	d.Spec.Teacher = &v1alpha1.Teacher{Endpoint: &v1alpha1.Endpoint{
		URL: "https://x/v1", Model: "m", RequestTimeoutSeconds: 5,
		Key: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"},
	}}
	if err := Check(d); err != nil {
		t.Fatal(err)
	}
	j := TeacherJob(d, &Found{Recipes: "r1", DataDigest: digestA})
	names := map[string]bool{}
	for _, e := range j.Spec.Env {
		names[e.Name] = e.Value == "" && e.ValueFrom != nil
	}
	if !names["TEACHER_KEY"] || !names["TEACHER_CA"] || len(names) != 2 {
		t.Errorf("its variables are %v", j.Spec.Env)
	}
	if p := j.Spec.Parameters; p["url"] != "https://x/v1" || p["timeout"] != "5" || j.Spec.Command[1] != "ask.py" {
		t.Errorf("it runs %v with %v", j.Spec.Command, p)
	}
}

// TestBudget: hours are those of all workers and accelerators, from when they run.
func TestBudget(t *testing.T) {
	at := func(minutes int) *metav1.Time {
		return &metav1.Time{Time: time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute)}
	}
	now := at(60).Time
	for name, tc := range map[string]struct {
		workers, devices int32
		start, end       *metav1.Time
		want             float64
	}{
		"waits":           {4, 2, nil, nil, 0},
		"runs":            {1, 0, at(30), nil, 0.5},
		"has run":         {1, 0, at(0), at(15), 0.25},
		"many":            {2, 4, at(0), at(30), 4},
		"clock went back": {1, 1, at(90), nil, 0},
	} {
		j := &v1alpha1.TrainJob{}
		j.Spec.Workers, j.Spec.Accelerators.Count, j.Status.StartTime, j.Status.CompletionTime = tc.workers, tc.devices, tc.start, tc.end
		if got := JobHours(j, now); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: %v hours, want %v", name, got, tc.want)
		}
	}
	if got := Left(2, 1.5, 2); got != 15*time.Minute {
		t.Errorf("left are %v", got)
	}
	if got := Left(1, 2, 1); got != 0 {
		t.Errorf("left of nothing are %v", got)
	}
	if Left(math.Inf(1), 3, 1) < 1000*time.Hour {
		t.Error("without a bound there is one")
	}
}

func TestLearned(t *testing.T) {
	for name, tc := range map[string]struct {
		metrics map[string]string
		want    string // "" learned
	}{
		"learned":            {map[string]string{"test_accuracy": "0.97", "test_majority_accuracy": "0.1"}, ""},
		"commonest label":    {map[string]string{"test_accuracy": "0.1", "test_majority_accuracy": "0.1"}, "commonest label"},
		"ranks":              {map[string]string{"test_accuracy": "0.9", "test_majority_accuracy": "0.9", "test_auc": "0.8"}, ""},
		"ranks for sure":     {map[string]string{"test_accuracy": "0.9", "test_majority_accuracy": "0.9", "test_auc": "0.8", "test_auc_low": "0.7"}, ""},
		"ranks by chance":    {map[string]string{"test_accuracy": "0.9", "test_majority_accuracy": "0.9", "test_auc": "0.51", "test_auc_low": "0.46"}, "always giving the commonest label"},
		"not a number":       {map[string]string{"loss": "NaN"}, "NaN"},
		"infinite":           {map[string]string{"test_mae": "+Inf"}, "test_mae"},
		"control wins":       {map[string]string{"test_mae": "5.2", "test_mean_mae": "9", "test_seasonal_mae": "5.15"}, "control seasonal"},
		"beats controls":     {map[string]string{"test_mae": "3.4", "test_mean_mae": "9", "test_persistence_mae": "3.5"}, ""},
		"rewarded":           {map[string]string{"test_reward": "0.9", "test_constant_reward": "0.2", "test_accuracy": "0.1", "test_majority_accuracy": "0.5"}, ""},
		"not rewarded":       {map[string]string{"test_reward": "0.2", "test_constant_reward": "0.2"}, "rewarded"},
		"better than before": {map[string]string{"test_accuracy": "0.9", "before_accuracy": "0.8", "test_majority_accuracy": "0.1"}, ""},
		"as it was":          {map[string]string{"test_accuracy": "0.9", "before_accuracy": "0.9", "test_majority_accuracy": "0.1"}, "was in 0.9000 before"},
		"ranks as it did":    {map[string]string{"test_accuracy": "0.9", "before_accuracy": "0.9", "test_majority_accuracy": "0.9", "test_auc": "0.8", "before_auc": "0.8"}, "before"},
		"ranks better":       {map[string]string{"test_accuracy": "0.9", "before_accuracy": "0.9", "test_majority_accuracy": "0.9", "test_auc": "0.8", "before_auc": "0.7"}, ""},
		"wrong as before":    {map[string]string{"test_mae": "3", "before_mae": "3", "test_mean_mae": "9"}, "was by 3 before"},
		"less wrong":         {map[string]string{"test_mae": "3", "before_mae": "4", "test_mean_mae": "9"}, ""},
		"rewarded as before": {map[string]string{"test_reward": "0.5", "before_reward": "0.5", "test_constant_reward": "0.2"}, "were by 0.5 before"},
		"says nothing":       {map[string]string{"loss": "0.1"}, ""},
	} {
		err := Learned(tc.metrics)
		if (err == nil) != (tc.want == "") || err != nil && (!errors.Is(err, ErrNotLearned) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestEstimate: by the latest that did the same, and by nothing else.
func TestEstimate(t *testing.T) {
	run := func(name string, minute int, change func(d *v1alpha1.Distillation)) v1alpha1.Distillation {
		d := sound()
		d.Name, d.CreationTimestamp = name, metav1.NewTime(time.Unix(int64(60*minute), 0))
		for i, s := range []string{StageTeacher, StageStudent} {
			d.Status.Stages = append(d.Status.Stages, v1alpha1.DistillationStage{
				Name: s, Job: name + s, State: v1alpha1.StateSucceeded, AcceleratorHours: Format(float64(minute) + float64(i)/2),
			})
		}
		change(d)
		return *d
	}
	past := []v1alpha1.Distillation{
		run("older", 1, func(*v1alpha1.Distillation) {}),
		run("latest", 3, func(*v1alpha1.Distillation) {}),
		run("cached", 4, func(d *v1alpha1.Distillation) {
			d.Status.Stages[0].Job = ""
			d.Status.Stages[1].State = v1alpha1.StateFailed
		}),
		run("other", 5, func(d *v1alpha1.Distillation) { d.Spec.Teacher.Model = "huge"; d.Spec.Student.Recipe = "mine" }),
	}
	for stage, want := range map[string]Guess{StageTeacher: {3, "latest"}, StageStudent: {3.5, "latest"}} {
		if got, ok := Estimate(sound(), stage, past); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", stage, got, want)
		}
	}
	if got, ok := Estimate(sound(), StageEvaluation, past); ok {
		t.Errorf("of an evaluation that nobody ran %+v is known", got)
	}
}
