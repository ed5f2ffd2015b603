package train

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/workload"
)

func frozen(name, digest string) *v1alpha1.Dataset {
	d := &v1alpha1.Dataset{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.DatasetSpec{Bucket: "data", Prefix: "in/"}}
	d.Status.Digest, d.Status.Manifest = digest, dataset.Key(digest)
	d.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	return d
}

func TestDataOfABucket(t *testing.T) {
	job := digits(2)
	job.Spec.Data = []v1alpha1.DataSource{
		{Name: "mnist", Image: "data/mnist@" + digestB},
		{Name: "raw", Bucket: &v1alpha1.BucketSource{Name: "raw-data", Prefix: "a$b/"}},
		{Name: "set", Dataset: "d"},
	}
	job.Spec.Checkpoints.Bucket = &v1alpha1.BucketSource{Name: "saved", Prefix: "runs/"}
	w := &world{job: job, datasets: map[string]*v1alpha1.Dataset{"d": frozen("d", "sha256:12")}}
	spec := podTemplate(job, workload.Choice{}, "image", 1, false).Spec
	withStore(&spec, w, "system/fetch:1")
	if n := len(spec.InitContainers); n != 2 {
		t.Fatalf("%d containers before the worker", n)
	}
	before, beside := spec.InitContainers[0], spec.InitContainers[1]
	env := func(c corev1.Container, name string) string {
		for _, e := range c.Env {
			if e.Name == name && e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				return e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
			} else if e.Name == name {
				return e.Value
			}
		}
		return ""
	}
	got, err := dataset.DecodeSources(strings.ReplaceAll(env(before, workload.EnvSources), "$$", "$"))
	want := []dataset.Source{
		{Dir: "/polder/data/raw", Bucket: "raw-data", Prefix: "a$b/"},
		{Dir: "/polder/data/set", Bucket: "data", Prefix: "in/", Manifest: ".polder/datasets/12.jsonl", Digest: "sha256:12"},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	if got := env(beside, envCheckpoints); got != "s3://saved/runs/" {
		t.Errorf("checkpoints go to %s", got)
	}
	for _, c := range []corev1.Container{before, beside, spec.Containers[0]} {
		if got := env(c, "AWS_SECRET_ACCESS_KEY"); got != "polder-store-job/secretKey" {
			t.Errorf("%s has its key from %q", c.Name, got)
		}
		if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s may do more than a worker", c.Name)
		}
	}
	if beside.RestartPolicy == nil || *beside.RestartPolicy != corev1.ContainerRestartPolicyAlways || before.RestartPolicy != nil {
		t.Error("data is copied before the worker, checkpoints beside it")
	}
	writable := func(c corev1.Container, path string) bool {
		for _, m := range c.VolumeMounts {
			if m.MountPath == path {
				return !m.ReadOnly
			}
		}
		return false
	}
	if !writable(before, "/polder/data/set") || writable(spec.Containers[0], "/polder/data/set") || writable(before, "/polder/data/mnist") {
		t.Error("data is written before the worker starts, and never by it")
	}
	names := map[string]bool{}
	for _, v := range spec.Volumes {
		if names[v.Name] {
			t.Errorf("volume %s is there twice", v.Name)
		}
		names[v.Name] = true
	}
}

func TestCheckpointPrefix(t *testing.T) {
	job := digits(1)
	job.UID = "u"
	for prefix, want := range map[string]string{"": "lab/digits/u/", "a": "a/", "a/b/": "a/b/"} {
		job.Spec.Checkpoints.Bucket = &v1alpha1.BucketSource{Name: "saved", Prefix: prefix}
		if got := checkpointPrefix(job); got != want {
			t.Errorf("%q gives %q", prefix, got)
		}
	}
}

func TestCopiedFrom(t *testing.T) {
	job := digits(1)
	job.Spec.Data = []v1alpha1.DataSource{{Name: "raw", Bucket: &v1alpha1.BucketSource{Name: "raw-data", Prefix: "x/"}}, {Name: "set", Dataset: "d"}}
	attempt := attemptOf(job, workload.Choice{}, "image", 0, false)
	withStore(&attempt.Spec.Template.Spec, &world{job: job, datasets: map[string]*v1alpha1.Dataset{"d": frozen("d", "sha256:12")}}, "system/fetch:1")
	for dir, want := range map[string]string{"/polder/data/raw": "s3://raw-data/x/", "/polder/data/set": "sha256:12", "/polder/data/other": ""} {
		if got := copiedFrom(attempt, dir); got != want {
			t.Errorf("%s is from %q, want %q", dir, got, want)
		}
	}
}

func TestNoStoreNoKeys(t *testing.T) {
	job := digits(1)
	spec := podTemplate(job, workload.Choice{}, "image", 1, false).Spec
	withStore(&spec, &world{job: job}, "system/fetch:1")
	if len(spec.InitContainers) != 0 || strings.Contains(spec.String(), v1alpha1.StoreJobSecret) {
		t.Error("a job without data in the store has its keys")
	}
}

func TestUnfrozen(t *testing.T) {
	job := digits(1)
	job.Spec.Data = []v1alpha1.DataSource{{Name: "x", Image: "i"}, {Name: "set", Dataset: "d"}}
	waiting := frozen("d", "sha256:1")
	waiting.Status.Conditions[0].Status, waiting.Status.Conditions[0].Message = metav1.ConditionFalse, "there is no bucket data"
	for name, c := range map[string]struct {
		sets map[string]*v1alpha1.Dataset
		want string
	}{
		"none of the name": {nil, "spec.data[1].dataset: there is no Dataset d"},
		"not yet":          {map[string]*v1alpha1.Dataset{"d": waiting}, "there is no bucket data"},
		"frozen":           {map[string]*v1alpha1.Dataset{"d": frozen("d", "sha256:1")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := unfrozen(&world{job: job, datasets: c.sets})
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
