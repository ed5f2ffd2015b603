package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"polder.dev/polder/api/v1alpha1"
)

// envOf reads a variable of an attempt's workers.
func envOf(j *batchv1.Job, name string) string {
	value := ""
	for _, e := range j.Spec.Template.Spec.Containers[0].Env {
		if e.Name == name {
			value = e.Value
		}
	}
	return value
}

func TestSuccess(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.expect("digits", v1alpha1.StatePending)
	c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Valid")
	c.condition("digits", ConditionGang, metav1.ConditionTrue, "PodGroup")

	group, ok := get(c, "digits-0", &schedulingv1beta1.PodGroup{})
	if !ok || group.Spec.SchedulingPolicy.Gang.MinCount != 2 {
		t.Fatalf("gang = %+v, want one of 2", group.Spec)
	}
	service, ok := get(c, "train-digits", &corev1.Service{})
	if !ok || !service.Spec.PublishNotReadyAddresses || service.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Fatalf("service = %+v, want a headless one that publishes at once", service.Spec)
	}
	j, _ := get(c, "digits-0", &batchv1.Job{})
	if got := envOf(j, "MASTER_ADDR"); got != "digits-0-0.train-digits.lab.svc" {
		t.Errorf("MASTER_ADDR = %s", got)
	}

	c.runAll("digits", "digits-0")
	got := c.expect("digits", v1alpha1.StateRunning)
	if got.Status.Ready != 2 || got.Status.StartTime == nil || !strings.HasSuffix(got.Status.Image, digestB) {
		t.Errorf("status = %+v, want 2 ready, a start time and the image by digest", got.Status)
	}
	c.write("metrics/metrics.jsonl", `{"event":"start","epochs":2}`+"\n"+`{"event":"epoch","epoch":1,"loss":0.5,"metrics":{"val":0.9}}`+"\n")
	c.wait("digits", time.Second)
	if p := c.job("digits").Status.Progress; p == nil || p.Epoch != 1 || p.Loss != "0.5" || p.Metrics["val"] != "0.9" {
		t.Errorf("progress = %+v", p)
	}
	c.write("metrics/metrics.jsonl", `{"event":"epoch","epoch":2,"loss":0.25}`+"\n"+`{"event":"end","metrics":{"test_accuracy":0.97}}`+"\n")
	c.write("output/model.pt", "weights")
	c.write("output/model.json", `{"framework":"pytorch","frameworkVersion":"2.0","metrics":{"f1":NaN}}`)
	c.succeed("digits-0")
	c.look("digits")

	got = c.expect("digits", v1alpha1.StateSucceeded, digestC)
	c.condition("digits", v1alpha1.ConditionComplete, metav1.ConditionTrue, "Published")
	if got.Status.Progress.Epoch != 2 {
		t.Errorf("progress = %+v, want the last epoch", got.Status.Progress)
	}
	model, ok := get(c, "digits", &v1alpha1.Model{})
	if !ok {
		t.Fatal("there is no model")
	}
	want := v1alpha1.ModelSpec{
		Reference: "models/lab/digits@" + digestC, Digest: digestC, SizeBytes: 42, Framework: "pytorch 2.0",
		Metrics: map[string]string{"val": "0.9", "test_accuracy": "0.97", "loss": "0.25", "f1": "NaN"},
		Lineage: v1alpha1.Lineage{
			Job: "digits", JobUID: string(got.UID), Runtime: "pytorch", RuntimeDigest: digestB, CodeDigest: digestA,
			Parameters: map[string]string{"lr": "0.1"}, Workers: 2,
		},
	}
	if diff := cmp.Diff(want, model.Spec); diff != "" {
		t.Errorf("model (-want +got):\n%s", diff)
	}

	// Pods and volume are kept for an hour, and then they go.
	c.wait("digits", 59*time.Minute)
	if _, ok := get(c, "train-digits", &corev1.PersistentVolumeClaim{}); !ok || len(c.attempts()) != 1 {
		t.Error("the volume or the pods went before keepSeconds")
	}
	c.wait("digits", time.Minute)
	_, volume := get(c, "train-digits", &corev1.PersistentVolumeClaim{})
	_, svc := get(c, "train-digits", &corev1.Service{})
	_, pg := get(c, "digits-0", &schedulingv1beta1.PodGroup{})
	if volume || svc || pg || len(c.attempts()) != 0 {
		t.Errorf("after keepSeconds: volume %v, service %v, gang %v, jobs %v", volume, svc, pg, c.attempts())
	}
	if _, ok := get(c, "digits", &v1alpha1.Model{}); !ok {
		t.Error("the model went with the job's pods")
	}
}

// crash makes a worker of an attempt die, with the other still running.
func (c *cluster) crash(name, attempt string) {
	c.t.Helper()
	c.set(attempt+"-1", c.ends(1, "Error", "Traceback:\nValueError: broken"))
	c.look(name)
}

func TestCrashAndRetry(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	c.crash("digits", "digits-0")
	got := c.expect("digits", v1alpha1.StateRestarting, "worker 1 of 2 ended with exit code 1", "ValueError: broken", "1 of 3")
	if got.Status.Restarts != 1 || got.Status.Ready != 0 {
		t.Errorf("restarts = %d, ready = %d; want 1, 0", got.Status.Restarts, got.Status.Ready)
	}
	if !c.told("Restarting") {
		t.Error("no event tells of the restart")
	}

	// The other worker still writes to the volume: nothing may start, ever so late.
	for range 5 {
		c.wait("digits", time.Minute)
		if slices.Contains(c.attempts(), "digits-1") {
			t.Fatal("a second attempt began while a worker of the first was there")
		}
	}
	c.reap()
	c.look("digits")
	if diff := cmp.Diff([]string{"digits-1"}, c.attempts()); diff != "" {
		t.Fatalf("attempts (-want +got):\n%s", diff)
	}
	j, _ := get(c, "digits-1", &batchv1.Job{})
	if got := envOf(j, "MASTER_ADDR"); got != "digits-1-0.train-digits.lab.svc" {
		t.Errorf("MASTER_ADDR = %s, want the present attempt's", got)
	}
	if got := j.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, "@"+digestB) {
		t.Errorf("image = %s, want the one that ran before", got)
	}
	if _, ok := get(c, "digits-0", &schedulingv1beta1.PodGroup{}); ok {
		t.Error("the first attempt's gang is left")
	}
	c.runAll("digits", "digits-1")
	c.expect("digits", v1alpha1.StateRunning)
	c.write("metrics/metrics.jsonl", `{"event":"start","resumed_from":3}`+"\n")
	c.wait("digits", time.Second)
	if p := c.job("digits").Status.Progress; p == nil || p.ResumedFrom != 3 {
		t.Errorf("progress = %+v, want it resumed from 3", p)
	}
	c.write("output/model.safetensors", "w")
	c.succeed("digits-1")
	c.look("digits")
	c.expect("digits", v1alpha1.StateSucceeded)
	if got := c.publisher.calls[0].Lineage.Restarts; got != 1 {
		t.Errorf("lineage says %d restarts, want 1", got)
	}
}

func TestPauseBetweenAttempts(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	for attempt, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		name := fmt.Sprintf("digits-%d", attempt)
		c.runAll("digits", name)
		c.crash("digits", name)
		c.reap()
		if got := c.look("digits"); got != want {
			t.Errorf("the pause after attempt %d is %s, want %s", attempt, got, want)
		}
		c.wait("digits", want)
	}
}

func TestRetriesUsedUp(t *testing.T) {
	job := digits(2)
	job.Spec.Retries, job.Spec.KeepSeconds = ptr.To[int32](1), ptr.To[int64](60)
	c := newCluster(t)
	c.submit(job)
	c.runAll("digits", "digits-0")
	c.crash("digits", "digits-0")
	c.reap()
	c.wait("digits", time.Minute)
	c.runAll("digits", "digits-1")
	c.set("digits-1-1", c.ends(137, "OOMKilled", "Killed"))
	c.look("digits")
	got := c.expect("digits", v1alpha1.StateFailed, "worker 1 of 2 ran out of memory", "its limit is 1Gi", "raise spec.resources.memory", "spec.retries (1) are used up", "Killed")
	c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "WorkerDied")
	if got.Status.CompletionTime == nil {
		t.Error("no completion time")
	}
	c.wait("digits", 30*time.Second)
	if len(c.pods()) != 2 {
		t.Errorf("%d pods are left for their logs, want 2", len(c.pods()))
	}
	c.wait("digits", 30*time.Second)
	c.reap()
	if len(c.pods()) != 0 || len(c.attempts()) != 0 {
		t.Errorf("after keepSeconds: %d pods, jobs %v", len(c.pods()), c.attempts())
	}
	if c.look("digits") != 0 {
		t.Error("a job that is over and cleaned up is looked at again")
	}
}

func TestDeadline(t *testing.T) {
	job := digits(1)
	job.Spec.DeadlineSeconds = 100
	c := newCluster(t)
	c.submit(job)
	c.runAll("digits", "digits-0")
	c.wait("digits", 99*time.Second)
	c.expect("digits", v1alpha1.StateRunning)
	c.wait("digits", time.Second)
	c.expect("digits", v1alpha1.StateFailed, "spec.deadlineSeconds (100)")
	c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "DeadlineExceeded")
	c.reap()
	if len(c.attempts()) != 0 || len(c.pods()) != 0 {
		t.Errorf("workers are left: %v, %d pods", c.attempts(), len(c.pods()))
	}
	if _, ok := get(c, "train-digits", &corev1.PersistentVolumeClaim{}); !ok {
		t.Error("the volume went before keepSeconds")
	}
}

func TestCancel(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	job := c.job("digits")
	job.Spec.Cancel = true
	c.must(c.client.Update(t.Context(), job))
	c.look("digits")
	c.expect("digits", v1alpha1.StateCancelled)
	c.reap()
	if len(c.attempts()) != 0 || len(c.pods()) != 0 {
		t.Errorf("workers are left: %v, %d pods", c.attempts(), len(c.pods()))
	}
}

func TestUnknownRuntime(t *testing.T) {
	job := digits(2)
	job.Spec.Runtime = "jax"
	c := newCluster(t)
	c.submit(job)
	c.expect("digits", v1alpha1.StatePending, `spec.runtime "jax" is not a Runtime of this cloud; known are pytorch`)
	c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionFalse, "UnknownRuntime")
	_, volume := get(c, "train-digits", &corev1.PersistentVolumeClaim{})
	if volume || len(c.attempts()) != 0 {
		t.Errorf("something was created: volume %v, jobs %v", volume, c.attempts())
	}
	jax := pytorch()
	jax.Name = "jax"
	c.must(c.client.Create(t.Context(), jax))
	if reqs := c.r.jobsOfRuntime(t.Context(), jax); len(reqs) != 1 {
		t.Errorf("a new runtime wakes %d jobs, want 1", len(reqs))
	}
	c.look("digits")
	c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Valid")
	if diff := cmp.Diff([]string{"digits-0"}, c.attempts()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestInvalidSpecCreatesNothing(t *testing.T) {
	job := digits(1)
	job.Spec.Env = []corev1.EnvVar{{Name: "RANK", Value: "7"}}
	job.Spec.Parameters = map[string]string{"l-r": "1", "l_r": "2"}
	c := newCluster(t)
	c.submit(job)
	c.expect("digits", v1alpha1.StateFailed, "spec.env[0].name RANK is set by the cloud", `spec.parameters "l-r" and "l_r" are both passed as POLDER_PARAM_L_R`)
	c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionFalse, "InvalidSpec")
	if _, ok := get(c, "train-digits", &corev1.PersistentVolumeClaim{}); ok || len(c.attempts()) != 0 {
		t.Error("something was created")
	}
}

func TestRefusedByTheServer(t *testing.T) {
	c := newCluster(t)
	c.refuse = func(o client.Object) error {
		if _, ok := o.(*batchv1.Job); ok {
			return apierrors.NewInvalid(schema.GroupKind{Group: "batch", Kind: "Job"}, o.GetName(), nil)
		}
		return nil
	}
	c.submit(digits(1))
	c.expect("digits", v1alpha1.StateFailed, "the cluster refuses what the spec asks for")
	c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "InvalidSpec")
}

func TestUnschedulable(t *testing.T) {
	c := newCluster(t)
	job := digits(16)
	c.submit(job)
	c.schedule("digits-0")
	c.set("digits-0-3", func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient cpu."}}
	})
	c.look("digits")
	c.expect("digits", v1alpha1.StatePending, "it wants 16 workers of 500m CPU, 1.0 GiB each (8 CPU, 16.0 GiB in all)",
		"the cluster's usable nodes (1) hold 4 CPU, 8.0 GiB in all", "Scheduler: 0/1 nodes are available: 1 Insufficient cpu")
	c.condition("digits", v1alpha1.ConditionRunning, metav1.ConditionFalse, "Unschedulable")
	// Of a gang, most only say that the others are missing.
	c.set("digits-0-1", func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason: corev1.PodReasonUnschedulable, Message: "minCount (16) cannot be satisfied"}}
	})
	c.look("digits")
	c.expect("digits", v1alpha1.StatePending, "Scheduler: 0/1 nodes are available")
	if !c.told("Unschedulable") {
		t.Error("no event tells why it waits")
	}
	// What a sandbox's class adds is asked for, too.
	p, _ := get(c, "digits-0-0", &corev1.Pod{})
	p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	c.must(c.client.Update(t.Context(), p))
	c.look("digits")
	c.expect("digits", v1alpha1.StatePending, "it wants 16 workers of 750m CPU, 1.5 GiB each (12 CPU, 24.0 GiB in all)")
}

func TestPodsCannotBeCreated(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(1))
	j, _ := get(c, "digits-0", &batchv1.Job{})
	c.must(c.client.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "lab", Name: "e"},
		InvolvedObject: corev1.ObjectReference{UID: j.UID}, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "exceeded quota: team",
	}))
	c.wait("digits", 10*time.Second)
	c.expect("digits", v1alpha1.StatePending, "pods cannot be created: exceeded quota: team")
}

func TestImageNotFound(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(1))
	c.schedule("digits-0")
	c.set("digits-0-0", func(s *corev1.PodStatus) {
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: Container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "ErrImagePull", Message: `failed to resolve "registry.polder.internal/code/lab/digits@` + digestA + `": not found`}}}}
	})
	c.look("digits")
	c.expect("digits", v1alpha1.StatePending, "(spec.code.image) cannot be pulled", "not found")
	c.wait("digits", time.Minute)
	c.expect("digits", v1alpha1.StateFailed, "(spec.code.image) cannot be pulled")
	c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "ImageNotFound")
	if len(c.attempts()) != 0 {
		t.Errorf("jobs are left: %v", c.attempts())
	}
}

func TestWithoutGangs(t *testing.T) {
	c := newCluster(t, withoutGangs)
	c.submit(digits(2))
	c.condition("digits", ConditionGang, metav1.ConditionFalse, "NoPodGroups")
	j, ok := get(c, "digits-0", &batchv1.Job{})
	if !ok || j.Spec.Template.Spec.SchedulingGroup != nil {
		t.Errorf("job there: %v, gang %v; want a job without a gang", ok, j.Spec.Template.Spec.SchedulingGroup)
	}
}

// TestTopology: the levels of a job are labels of its group. A cluster that cannot keep
// workers together does not pretend to.
func TestTopology(t *testing.T) {
	near := digits(2)
	near.Spec.Topology = v1alpha1.Topology{Required: "rack", Preferred: []string{"host", "example.com/row"}}
	c := newCluster(t)
	c.submit(near.DeepCopy())
	g, ok := get(c, "digits-0", &schedulingv1beta1.PodGroup{})
	if !ok || g.Spec.SchedulingConstraints == nil || g.Spec.SchedulingConstraints.Topology[0].Key != "polder.dev/rack" ||
		g.Annotations[v1alpha1.AnnotationPreferredTopology] != "kubernetes.io/hostname,example.com/row" {
		t.Errorf("group there: %v, %+v", ok, g)
	}

	c = newCluster(t, withoutGangs)
	c.submit(near.DeepCopy())
	c.expect("digits", v1alpha1.StateFailed, "spec.topology.required: this cluster serves no PodGroups")

	c = newCluster(t)
	c.refuse = func(o client.Object) error {
		if g, ok := o.(*schedulingv1beta1.PodGroup); ok {
			g.Spec.SchedulingConstraints = nil // as an API server does whose gate is off
		}
		return nil
	}
	c.submit(near)
	c.expect("digits", v1alpha1.StateFailed, "TopologyAwareWorkloadScheduling is off")
}

func TestPublishFailsThenWorks(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(1))
	c.runAll("digits", "digits-0")
	c.write("output/model.onnx", "w")
	c.publisher.fail = errors.New("registry is down")
	c.succeed("digits-0")
	c.look("digits")
	c.expect("digits", v1alpha1.StatePublishing, "registry is down")
	c.wait("digits", 10*time.Second)
	if n := len(c.publisher.calls); n != 2 {
		t.Errorf("published %d times in 10 s, want 2", n)
	}
	c.publisher.fail = nil
	// Killed between push and Model: the artifact is there, the Model is not.
	lost := true
	c.refuse = func(o client.Object) error {
		if _, ok := o.(*v1alpha1.Model); ok && lost {
			lost = false
			return errors.New("connection lost")
		}
		return nil
	}
	c.wait("digits", 10*time.Second)
	c.expect("digits", v1alpha1.StatePublishing, "connection lost")
	c.restart()
	c.look("digits")
	c.expect("digits", v1alpha1.StateSucceeded)
}

// TestModelOfAnEarlierJobIsReplaced, once the version that is there is recorded, and
// without what persons say of aliases and gates.
func TestModelOfAnEarlierJobIsReplaced(t *testing.T) {
	said := v1alpha1.ModelSpec{
		Classification: "internal",
		Aliases:        []v1alpha1.ModelAlias{{Name: "production", Digest: digestA}},
		Gates:          []v1alpha1.ModelGate{{Alias: "production", Evaluation: true}},
	}
	old := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "ocr"}, Spec: said}
	old.Spec.Digest, old.Spec.Reference, old.Spec.Licence = digestA, "x", "MIT"
	c := newCluster(t, with(old))
	job := digits(1)
	job.Spec.Output.Model = "ocr"
	job.Annotations = map[string]string{v1alpha1.AnnotationParents: `{"teacher":"` + digestB + `"}`}
	c.submit(job)
	c.runAll("digits", "digits-0")
	c.write("output/model.pt", "w")
	c.succeed("digits-0")
	c.look("digits")
	c.expect("digits", v1alpha1.StatePublishing, "is not recorded")
	m, _ := get(c, "ocr", &v1alpha1.Model{})
	if m.Spec.Digest != digestA {
		t.Fatalf("a version that nobody recorded was replaced by %s", m.Spec.Digest)
	}
	m.Status.Versions = []v1alpha1.ModelVersion{{Digest: digestA, Reference: "x"}}
	if err := c.client.Status().Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.wait("digits", 10*time.Second)
	c.look("digits")
	c.expect("digits", v1alpha1.StateSucceeded)
	m, _ = get(c, "ocr", &v1alpha1.Model{})
	if m.Spec.Digest != digestC || m.Spec.Licence == "MIT" {
		t.Errorf("model %s with licence %s, want %s", m.Spec.Digest, m.Spec.Licence, digestC)
	}
	got := v1alpha1.ModelSpec{Classification: m.Spec.Classification, Aliases: m.Spec.Aliases, Gates: m.Spec.Gates}
	if d := cmp.Diff(said, got); d != "" {
		t.Errorf("what persons said (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"teacher": digestB}, m.Spec.Lineage.Parents); d != "" {
		t.Errorf("parents (-want +got):\n%s", d)
	}
}

func TestParents(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", `{"teacher":"` + digestA + `","from":"` + digestB + `"}`: "",
		`teacher`: "no object of digests", `["` + digestA + `"]`: "no object of digests", `{"teacher":1}`: "no object of digests",
		`{"teacher":"ocr"}`: `"teacher": "ocr" is no parent`, `{"Teacher!":"` + digestA + `"}`: "is no parent",
	} {
		job := digits(1)
		job.Annotations = map[string]string{v1alpha1.AnnotationParents: text}
		err := invalid(job)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestEmptyOutput(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"no file":        {"output/.", "the output directory is empty"},
		"papers only":    {"output/README.md", "none with weights"},
		"empty weights":  {"output/sub/model.pt", "none with weights"},
		"no directory":   {"metrics/x", "left no output directory"},
		"a link outside": {"link", "the output directory is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.submit(digits(1))
			c.runAll("digits", "digits-0")
			switch tt.file {
			case "output/.":
				c.must(os.Mkdir(filepath.Join(c.volume, "output"), 0o755))
			case "link":
				c.must(os.Mkdir(filepath.Join(c.volume, "output"), 0o755))
				c.must(os.Symlink("/etc/passwd", filepath.Join(c.volume, "output", "model.pt")))
			case "output/README.md":
				c.write(tt.file, "text")
			default:
				c.write(tt.file, "")
			}
			c.succeed("digits-0")
			c.look("digits")
			c.expect("digits", v1alpha1.StateFailed, tt.want)
			c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "EmptyOutput")
			if len(c.publisher.calls) != 0 {
				t.Error("it was published")
			}
		})
	}
}

func TestVolumeLost(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	claim, _ := get(c, "train-digits", &corev1.PersistentVolumeClaim{})
	c.must(c.client.Delete(t.Context(), claim))
	c.crash("digits", "digits-0")
	c.reap()
	c.wait("digits", time.Minute)
	c.expect("digits", v1alpha1.StateFailed, "checkpoints is gone")
	c.condition("digits", v1alpha1.ConditionFailed, metav1.ConditionTrue, "VolumeLost")
}

func TestNamesTaken(t *testing.T) {
	mine := metav1.ObjectMeta{Namespace: "lab"}
	claim, service, job := mine, mine, mine
	claim.Name, service.Name, job.Name = "train-digits", "train-digits", "digits-0"
	for name, o := range map[string]client.Object{
		"volume claim": &corev1.PersistentVolumeClaim{ObjectMeta: claim},
		"service":      &corev1.Service{ObjectMeta: service},
		"job":          &batchv1.Job{ObjectMeta: job},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, with(o.DeepCopyObject().(client.Object)))
			c.submit(digits(1))
			c.expect("digits", v1alpha1.StatePending, name+" "+o.GetName()+" belongs to something else")
			c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionFalse, "NameTaken")
			c.must(c.client.Delete(t.Context(), o))
			c.look("digits")
			c.condition("digits", v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Valid")
			if diff := cmp.Diff([]string{"digits-0"}, c.attempts()); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForgetfulController runs a story of two crashes with a controller that is
// restarted before every single look.
func TestForgetfulController(t *testing.T) {
	c := newCluster(t)
	c.always = true
	c.submit(digits(2))
	for attempt := range 2 {
		name := fmt.Sprintf("digits-%d", attempt)
		c.runAll("digits", name)
		c.finish(name, batchv1.JobFailureTarget)
		c.crash("digits", name)
		c.reap()
		c.wait("digits", time.Minute)
	}
	c.runAll("digits", "digits-2")
	c.write("output/model.pt", "w")
	c.write("metrics/metrics.jsonl", `{"event":"epoch","epoch":9}`+"\n")
	c.succeed("digits-2")
	c.look("digits")
	if got := c.expect("digits", v1alpha1.StateSucceeded); got.Status.Restarts != 2 || got.Status.Progress.Epoch != 9 {
		t.Errorf("status = %+v, want 2 restarts and epoch 9", got.Status)
	}
	if n := len(c.publisher.calls); n != 1 {
		t.Errorf("published %d times, want once", n)
	}
}

func TestDeletedWorkerCounts(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	p, _ := get(c, "digits-0-1", &corev1.Pod{})
	p.Finalizers = nil
	c.must(c.client.Update(t.Context(), p))
	c.must(c.client.Delete(t.Context(), p))
	c.finish("digits-0", batchv1.JobFailureTarget)
	c.look("digits")
	c.expect("digits", v1alpha1.StateRestarting, "worker 1 of 2 was removed before it ended")
}

// TestOutdatedStatus shows the controller a status from before the present
// attempt, as a cache that lags does: it must not touch the present workers.
func TestOutdatedStatus(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	old := c.job("digits")
	c.crash("digits", "digits-0")
	c.reap()
	c.wait("digits", time.Minute)
	c.runAll("digits", "digits-1")
	for range 3 {
		if _, err := c.r.Reconcile(t.Context(), old.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range c.pods() {
		if p.DeletionTimestamp != nil {
			t.Errorf("pod %s was told to end", p.Name)
		}
	}
	if diff := cmp.Diff([]string{"digits-1"}, c.attempts()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	c.look("digits")
	c.expect("digits", v1alpha1.StateRunning)
}

// TestStatusBeforeTheAttempt begins an attempt from a status that has been
// overtaken while nothing of the newer attempt is there to tell.
func TestStatusBeforeTheAttempt(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(1))
	c.runAll("digits", "digits-0")
	old := c.job("digits")
	c.set("digits-0-0", c.ends(1, "Error", ""))
	c.look("digits")
	c.reap()
	for _, name := range c.attempts() {
		j, _ := get(c, name, &batchv1.Job{})
		c.must(c.client.Delete(t.Context(), j))
	}
	if _, err := c.r.Reconcile(t.Context(), old.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if len(c.attempts()) != 0 {
		t.Errorf("attempt %v began, and it is not its turn", c.attempts())
	}
}

// TestUnseenWorker begins an attempt while the API server knows a worker of the
// one before that the cache does not show.
func TestUnseenWorker(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	c.crash("digits", "digits-0")
	blind := true
	c.r.client = interceptor.NewClient(c.client, interceptor.Funcs{
		List: func(ctx context.Context, from client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, pods := list.(*corev1.PodList); pods && blind {
				return nil
			}
			return from.List(ctx, list, opts...)
		},
	})
	for range 3 {
		c.wait("digits", time.Minute)
		if slices.Contains(c.attempts(), "digits-1") {
			t.Fatal("an attempt began beside a worker of the one before")
		}
	}
	blind = false
	c.reap()
	c.look("digits")
	if diff := cmp.Diff([]string{"digits-1"}, c.attempts()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// TestUnseenJob sees the present workers before the Job that they belong to:
// they must not pass for another's.
func TestUnseenJob(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	c.r.client = interceptor.NewClient(c.client, interceptor.Funcs{
		List: func(ctx context.Context, from client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, jobs := list.(*batchv1.JobList); jobs {
				return nil
			}
			return from.List(ctx, list, opts...)
		},
	})
	c.wait("digits", time.Minute)
	c.expect("digits", v1alpha1.StateRunning)
	for _, p := range c.pods() {
		if p.DeletionTimestamp != nil {
			t.Errorf("pod %s was told to end", p.Name)
		}
	}
}

func TestGaugesGoWithTheJob(t *testing.T) {
	c := newCluster(t)
	c.submit(digits(1))
	c.runAll("digits", "digits-0")
	c.write("metrics/metrics.jsonl", `{"event":"epoch","epoch":4,"loss":-Infinity,"metrics":{"a":1}}`+"\n")
	c.wait("digits", time.Second)
	if n := series(c.r.gauges); n != 3 {
		t.Errorf("%d series of a running job, want 3", n)
	}
	c.r.forget(client.ObjectKeyFromObject(c.job("digits")))
	if n := series(c.r.gauges); n != 0 {
		t.Errorf("%d series of a deleted job, want none", n)
	}
}
