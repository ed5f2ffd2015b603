package train

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// TestPodIsRestricted holds the worker to Pod Security's restricted profile and
// to the contract of docs/formats/training.md.
func TestPodIsRestricted(t *testing.T) {
	job := digits(2)
	job.Spec.Data = []v1alpha1.DataSource{{Name: "mnist", Image: "data/mnist@" + digestB}}
	job.Spec.Env = []corev1.EnvVar{{Name: "MINE", Value: "1"}}
	job.Spec.Parameters = map[string]string{"batch-size": "$(RANK)"}
	v := v1alpha1.RuntimeVariant{Software: "cpu", Env: []corev1.EnvVar{{Name: "MINE", Value: "0"}}}
	spec := podTemplate(job, workload.Choice{Variant: v}, "image", 4, true).Spec
	c := spec.Containers[0]

	if s := spec.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser != 65532 || *s.FSGroup != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context = %+v", s)
	}
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("container security context = %+v", s)
	}
	if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks || spec.RuntimeClassName != nil || spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("pod = %+v", spec)
	}
	if spec.Subdomain != "train-digits" || *spec.SchedulingGroup.PodGroupName != "digits-4" || c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("pod = %+v", spec)
	}
	env := make(map[string]string)
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = e.ValueFrom.FieldRef.FieldPath
		}
	}
	want := map[string]string{
		"HOME": "/tmp", "MINE": "1", "OMP_NUM_THREADS": "1", "POLDER_PARAM_BATCH_SIZE": "$$(RANK)",
		"RANK": "metadata.annotations['batch.kubernetes.io/job-completion-index']", "WORLD_SIZE": "2",
		"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "digits-4-0.train-digits.lab.svc", "MASTER_PORT": "29500",
		"POLDER_JOB": "digits", "POLDER_NAMESPACE": "lab", "POLDER_ATTEMPT": "4", "POLDER_CODE_DIR": "/polder/code",
		"POLDER_DATA_DIR": "/polder/data", "POLDER_CHECKPOINT_DIR": "/polder/checkpoints", "POLDER_OUTPUT_DIR": "/polder/output",
		"POLDER_METRICS_FILE": "/polder/metrics/metrics.jsonl",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	mounted := make(map[string]string)
	for _, m := range c.VolumeMounts {
		for _, vol := range spec.Volumes {
			if vol.Name != m.Name {
				continue
			}
			switch {
			case vol.Image != nil && m.ReadOnly:
				mounted[m.MountPath] = vol.Image.Reference
			case vol.PersistentVolumeClaim != nil:
				mounted[m.MountPath] = vol.PersistentVolumeClaim.ClaimName + "/" + m.SubPath
			case vol.EmptyDir != nil:
				mounted[m.MountPath] = "empty"
			}
		}
	}
	wantMounts := map[string]string{
		"/polder/code": "registry.polder.internal/code/lab/digits@" + digestA, "/polder/data/mnist": "registry.polder.internal/data/mnist@" + digestB,
		"/polder/checkpoints": "train-digits/checkpoints", "/polder/output": "train-digits/output", "/polder/metrics": "train-digits/metrics", "/tmp": "empty",
	}
	if diff := cmp.Diff(wantMounts, mounted); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

func TestAcceleratorsAreResources(t *testing.T) {
	job := digits(1)
	job.Spec.Accelerators.Count = 2
	got := resources(job, workload.Choice{Variant: v1alpha1.RuntimeVariant{Software: "cuda"}})
	if q := got.Limits["nvidia.com/gpu"]; q.Value() != 2 {
		t.Errorf("limits = %v, want 2 nvidia.com/gpu", got.Limits)
	}
}

// TestProcessorTimeIsAShare: a worker is sure of its cores, may use idle ones, and
// is told to compute with as many threads.
func TestProcessorTimeIsAShare(t *testing.T) {
	for cpu, threads := range map[string]string{"": "1", "250m": "1", "1": "1", "1500m": "2", "8": "8"} {
		job := digits(1)
		job.Spec.Resources = v1alpha1.WorkerResources{}
		if cpu != "" {
			job.Spec.Resources.CPU = resource.MustParse(cpu)
		}
		c := podTemplate(job, workload.Choice{}, "image", 0, false).Spec.Containers[0]
		if _, limited := c.Resources.Limits[corev1.ResourceCPU]; limited || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("cpu %q: %+v, want processor time requested, and only memory limited", cpu, c.Resources)
		}
		if i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "OMP_NUM_THREADS" }); i < 0 || c.Env[i].Value != threads {
			t.Errorf("cpu %q: environment %v, want %s threads", cpu, c.Env, threads)
		}
	}
}

func TestFirstDeath(t *testing.T) {
	at := metav1.NewTime(epoch)
	after := metav1.NewTime(epoch.Add(time.Second))
	dead := func(rank string, code int32, reason string, when metav1.Time) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{indexAnnotation: rank}},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: Container,
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: when}}}}},
		}
	}
	toldAt := func(p corev1.Pod, when metav1.Time) corev1.Pod { p.DeletionTimestamp = &when; return p }
	told := func(p corev1.Pod) corev1.Pod { return toldAt(p, at) }
	evicted := dead("1", 137, "Error", at)
	evicted.Status.Reason, evicted.Status.Message = "Evicted", "The node was low on resource: memory."
	failed := &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}}}
	running := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{indexAnnotation: "0"}}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	tests := []struct {
		name string
		job  *batchv1.Job
		pods []corev1.Pod
		want string // "" when nobody died
	}{
		{"nobody", nil, []corev1.Pod{running}, ""},
		{"the earlier one", nil, []corev1.Pod{dead("0", 1, "Error", after), dead("1", 2, "Error", at)}, "worker 1 of 2 ended with exit code 2"},
		{"not the one that was told to end", nil, []corev1.Pod{told(dead("0", 137, "Error", at)), dead("1", 1, "Error", after)}, "worker 1 of 2 ended with exit code 1"},
		{"killed", nil, []corev1.Pod{dead("0", 137, "Error", at)}, "worker 0 of 2 was killed by signal 9 (exit code 137)"},
		{"out of memory", nil, []corev1.Pod{dead("0", 137, "OOMKilled", at)}, "worker 0 of 2 ran out of memory (exit code 137; its limit is 1Gi): raise spec.resources.memory"},
		{"no such command", nil, []corev1.Pod{dead("0", 128, "StartError", at)}, "worker 0 of 2 could not be started (exit code 128): check that spec.command exists in the code or in the runtime"},
		{"evicted", nil, []corev1.Pod{evicted}, "worker 1 of 2 was stopped by the node (Evicted)"},
		{"deleted", failed, []corev1.Pod{told(dead("0", 137, "Error", at))}, "worker 1 of 2 was removed before it ended (its pod was deleted or evicted)"},
		{"both told, one before the other", failed, []corev1.Pod{told(dead("0", 137, "Error", at)), toldAt(dead("1", 137, "Error", at), metav1.NewTime(epoch.Add(-time.Second)))}, "worker 1 of 2 was removed before it ended (its pod was deleted or evicted)"},
		{"all gone", failed, nil, "worker 0 of 2 was removed before it ended (its pod was deleted or evicted)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, died := firstDeath(digits(2), tt.job, tt.pods)
			got := ""
			if died {
				got = d.sentence(2)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	long := strings.Repeat("line\n", 100) + "the end"
	if got := (death{message: long}).lines(); strings.Count(got, "\n") != lastLines-1 || !strings.HasSuffix(got, "the end") {
		t.Errorf("lines = %q", got)
	}
	if got := (death{message: strings.Repeat("x", 5000)}).lines(); len(got) > lastBytesMax {
		t.Errorf("%d bytes kept", len(got))
	}
}

func TestInvalid(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.TrainJob)
		want   string
	}{
		"fine":        {func(*v1alpha1.TrainJob) {}, ""},
		"dotted name": {func(j *v1alpha1.TrainJob) { j.Name = "a.b" }, "metadata.name"},
		"code":        {func(j *v1alpha1.TrainJob) { j.Spec.Code.Image = "Not An Image" }, "spec.code.image"},
		"data":        {func(j *v1alpha1.TrainJob) { j.Spec.Data = []v1alpha1.DataSource{{Name: "a", Image: "::"}} }, "spec.data[0].image"},
		"contract":    {func(j *v1alpha1.TrainJob) { j.Spec.Env = []corev1.EnvVar{{Name: "POLDER_JOB"}} }, "spec.env[0].name POLDER_JOB"},
		"negative":    {func(j *v1alpha1.TrainJob) { j.Spec.Resources.CPU = resource.MustParse("-1") }, "spec.resources.cpu"},
		"device memory": {func(j *v1alpha1.TrainJob) {
			j.Spec.Accelerators = v1alpha1.Accelerators{Count: 1, Memory: ptr.To(resource.MustParse("60Gi")), SameFabric: true}
		}, ""},
		"device kind": {func(j *v1alpha1.TrainJob) {
			j.Spec.Accelerators = v1alpha1.Accelerators{Count: 1, Kinds: []string{"gpus"}}
		}, `spec.accelerators.kinds[0]: "gpus" is no kind`},
		"no accelerator": {func(j *v1alpha1.TrainJob) { j.Spec.Accelerators = v1alpha1.Accelerators{Precision: "bf16"} }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := digits(1)
			tt.change(job)
			err := invalid(job)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("invalid = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var tl tail
	look := func() int64 {
		t.Helper()
		if _, err := tl.read(root, tailBytesMax); err != nil {
			t.Fatal(err)
		}
		return tl.log.Summary().Epoch
	}
	file := filepath.Join(dir, "metrics", "metrics.jsonl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := look(); got != 0 {
		t.Errorf("epoch of no file = %d", got)
	}
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	one := `{"event":"epoch","epoch":1}` + "\n"
	write(one + `{"event":"epoch","ep`)
	if got := look(); got != 1 {
		t.Errorf("epoch = %d, want 1: the torn line waits", got)
	}
	write(one + `{"event":"epoch","epoch":2}` + "\n")
	if got := look(); got != 2 {
		t.Errorf("epoch = %d, want 2", got)
	}
	write(one)
	if got := look(); got != 1 {
		t.Errorf("epoch = %d, want 1: the file was cut", got)
	}
	if more, err := new(tail).read(root, 3); !more || err != nil {
		t.Errorf("a look of 3 bytes: more = %v, %v; want true", more, err)
	}
}

// TestHostileMetricsFile puts things in the metrics file's place that must not
// be waited for, followed or read.
func TestHostileMetricsFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"event":"epoch","epoch":9}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(string) error{
		"pipe":      func(file string) error { return syscall.Mkfifo(file, 0o644) },
		"directory": func(file string) error { return os.Mkdir(file, 0o755) },
		"link":      func(file string) error { return os.Symlink(secret, file) },
		"relative": func(file string) error {
			return os.Symlink("../../"+filepath.Base(filepath.Dir(secret))+"/secret", file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "metrics"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := put(filepath.Join(dir, "metrics", "metrics.jsonl")); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			var tl tail
			if _, err := tl.read(root, tailBytesMax); err == nil || tl.log.Summary().Lines != 0 {
				t.Errorf("read = %v, summary %+v; want an error and nothing read", err, tl.log.Summary())
			}
		})
	}
}

func TestRBACIsForTheControllers(t *testing.T) {
	role, binding, ok := strings.Cut(string(RBAC), "\n---\n")
	var r rbacv1.ClusterRole
	var b rbacv1.ClusterRoleBinding
	if err := errors.Join(yaml.UnmarshalStrict([]byte(role), &r), yaml.UnmarshalStrict([]byte(binding), &b)); err != nil || !ok {
		t.Fatal(err)
	}
	if len(r.Rules) == 0 || b.RoleRef.Name != r.Name || b.Subjects[0].Name != "polder:controllers" {
		t.Errorf("binding = %+v of role %s", b, r.Name)
	}
}
