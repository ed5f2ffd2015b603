package serve

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

func TestFirstRevision(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 2))
	c.expect("starting 0 a 0/0")
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid)
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonStarting)
	name := c.name(digestA)
	if got := *c.set(name).Spec.Replicas; got != 2 {
		t.Errorf("it begins with %d replicas, not with scale.min", got)
	}
	c.pods(name, pending, up)
	c.expect("stable 100 a 1/2")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonServing)
	if got := c.svc().Status; got.URL != "https://gateway:8443/lab/v2/models/svc" || got.Replicas != 2 || got.ObservedGeneration != 1 || !got.Revisions[0].WasReady {
		t.Errorf("status is %+v", got)
	}
	if !c.told("is stable") {
		t.Error("no event tells that the revision is stable")
	}
}

// TestASleepingServiceIsReady: with min 0 it is started once, and then the gateway lets it
// sleep and wakes it.
func TestASleepingServiceIsReady(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 0))
	name := c.name(digestA)
	if got := *c.set(name).Spec.Replicas; got != 1 {
		t.Fatalf("it begins with %d replicas, so that nobody knows whether it starts", got)
	}
	c.pods(name, up)
	c.scale(name, 0)
	c.pods(name)
	c.expect("stable 100 a 0/0")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonAsleep)

	// What replaces it is seen to start, too.
	c.publish(digestB)
	c.expect("starting 0 b 0/0", "stable 100 a 0/0")
	c.pods(c.name(digestB), up)
	c.expect("stable 100 b 1/1", "leaving 0 a 0/0")
	c.wait(5 * time.Second)
	c.expect("stable 100 b 1/1")
}

func TestRollout(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	old := c.name(digestA)
	c.scale(old, 3)
	c.pods(old, up)
	c.publish(digestB)
	next := c.name(digestB)
	c.expect("starting 0 b 0/0", "stable 100 a 3/3")
	if got := *c.set(next).Spec.Replicas; got != 3 {
		t.Fatalf("the new revision begins with %d replicas; the old one has 3", got)
	}
	// One of three is not enough to do what three do, as long as the others may come.
	c.pods(next, up, pending)
	c.expect("starting 0 b 1/3", "stable 100 a 3/3")
	c.wait(30 * time.Second)
	c.expect("starting 0 b 1/3", "stable 100 a 3/3")
	c.pods(next, up)
	c.expect("stable 100 b 3/3", "leaving 0 a 3/3")
	// The old one has time to answer: what an answer may take, since nobody drains it.
	c.wait(24 * time.Second)
	if !slices.Contains(c.sets(), old) {
		t.Fatal("the old revision was removed before its requests had time")
	}
	c.wait(2 * time.Second)
	c.expect("stable 100 b 3/3")
	if slices.Contains(c.sets(), old) {
		t.Error("the old revision stays")
	}
}

func TestRolloutDoesNotWaitForEver(t *testing.T) {
	for name, others := range map[string]func(*corev1.PodStatus){"no room": homeless, "late": pending} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.submit(service("digits", 2))
			c.pods(c.name(digestA), up)
			c.publish(digestB)
			c.pods(c.name(digestB), up, others)
			if name == "late" {
				c.expect("starting 0 b 1/2", "stable 100 a 2/2")
				c.wait(time.Minute)
			}
			c.expect("stable 100 b 1/2", "leaving 0 a 2/2")
		})
	}
}

// TestDrainedByTheGateway: what the gateway has scaled to none needs no more time than it
// takes to hear of it.
func TestDrainedByTheGateway(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	old := c.name(digestA)
	c.pods(old, up)
	c.publish(digestB)
	c.pods(c.name(digestB), up)
	c.scale(old, 0)
	if !slices.Contains(c.sets(), old) {
		t.Fatal("it was removed before everybody could hear of it")
	}
	c.wait(5 * time.Second)
	if slices.Contains(c.sets(), old) {
		t.Error("it stays")
	}
}

func TestTheOldRevisionServesWhileTheNewOneFails(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  func(*corev1.PodStatus)
		says []string
	}{
		"crash":     {crashed(1, "Error", "line one\nmodel.onnx: not an ONNX file\n"), []string{"ended with exit code 1", "line one | model.onnx: not an ONNX file", "polder service logs svc"}},
		"memory":    {crashed(137, "OOMKilled", ""), []string{"ran out of memory, of which it has 1Gi", "spec.resources.memory"}},
		"signal":    {crashed(139, "Error", ""), []string{"killed by signal 11"}},
		"no file":   {crashed(128, "StartError", "exec: no such file"), []string{"spec.command"}},
		"no image":  {waits("ErrImagePull", "runtimes/onnx-cpu: not found"), []string{"runtimes/onnx-cpu", `of runtime "onnx" (spec.runtime) cannot be pulled`}},
		"no model":  {waits("ImagePullBackOff", "registry.polder.internal/models/lab/digits@sha256:f"+digestB[8:]+": not found"), []string{"(spec.model) cannot be pulled"}},
		"no room":   {homeless, []string{"no room for a replica, which wants 500m CPU and 1.0 GiB", "Insufficient memory"}},
		"no config": {waits("CreateContainerConfigError", "secret is missing"), []string{"secret is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.submit(service("digits", 1))
			c.pods(c.name(digestA), up)
			c.publish(digestB)
			broken := c.name(digestB)
			c.pods(broken, tt.pod)
			for range 3 {
				c.wait(10 * time.Minute)
			}
			c.expect("starting 0 b 0/1", "stable 100 a 1/1")
			c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonServing, append(tt.says, broken+" does not start")...)
			if !c.told("RevisionFailing") {
				t.Error("no event tells of it")
			}
			// Taken back, the broken one goes at once, and nothing of the old one changes.
			c.publish(digestA)
			c.expect("stable 100 a 1/1")
			if slices.Contains(c.sets(), broken) {
				t.Error("the broken revision stays")
			}
			c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonServing)
		})
	}
}

// TestSilence: a program that runs and never answers is told of after a while.
func TestSilence(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	silent := func(s *corev1.PodStatus) {
		s.Phase = corev1.PodRunning
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: Container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch)}}}}
	}
	c.pods(c.name(digestA), silent)
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonStarting)
	c.wait(10 * time.Second)
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonFailing, "/v2/health/ready at port 8080")
}

// TestEmulated: what is planned on a machine that does not exist says so.
func TestEmulated(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "planned", Labels: map[string]string{v1alpha1.LabelEmulated: "h100"}}}
	c := newCluster(t, node)
	c.submit(service("digits", 1))
	name := c.name(digestA)
	c.pods(name, pending)
	var p corev1.Pod
	c.must(c.client.Get(t.Context(), client.ObjectKey{Namespace: "lab", Name: name + "-0"}, &p))
	p.Spec.NodeName = "planned"
	c.must(c.client.Update(t.Context(), &p))
	c.look()
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonFailing, "node planned, which is emulated", "nothing runs")
}

func TestRollback(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	old := c.name(digestA)
	c.pods(old, up)
	c.publish(digestB)
	c.pods(c.name(digestB), up)
	c.expect("stable 100 b 1/1", "leaving 0 a 1/1")
	// The old one is still there, and takes over at once.
	c.publish(digestA)
	c.expect("leaving 0 b 1/1", "stable 100 a 1/1")
	c.wait(time.Minute)
	c.expect("stable 100 a 1/1")
	if got := c.sets(); len(got) != 1 || got[0] != old {
		t.Errorf("there is %q", got)
	}
	// Long after, it is made anew, by its name.
	c.publish(digestB)
	c.pods(c.name(digestB), up)
	c.wait(time.Minute)
	c.publish(digestA)
	c.expect("starting 0 a 0/0", "stable 100 b 1/1")
	if got := c.name(digestA); got != old {
		t.Errorf("the same revision is called %s now, and was called %s", got, old)
	}
}

// TestRollbackToWhatIsDrained: what the gateway has scaled to none is made anew, and the
// other goes on until it is ready.
func TestRollbackToWhatIsDrained(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 2))
	old := c.name(digestA)
	c.pods(old, up)
	c.publish(digestB)
	c.pods(c.name(digestB), up)
	c.scale(old, 0)
	c.pods(old)
	c.expect("stable 100 b 2/2", "leaving 0 a 0/0")
	c.publish(digestA)
	c.expect("starting 0 a 0/0", "stable 100 b 2/2")
	if got := *c.set(old).Spec.Replicas; got != 2 {
		t.Fatalf("it is made anew with %d replicas", got)
	}
	c.pods(old, up)
	c.expect("stable 100 a 2/2", "leaving 0 b 2/2")
}

func TestAliasIsFollowed(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits@production", 1))
	c.expect()
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonUnknownAlias, "no version of Model digits is called production", "polder model promote")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonStarting, "promote")
	c.promote("production", digestB)
	c.expect("starting 0 b 0/0")
	c.pods(c.name(digestB), up)
	volume := c.set(c.name(digestB)).Spec.Template.Spec.Volumes[1]
	if volume.Image == nil || volume.Image.Reference != "registry.polder.internal/models/lab/digits@sha256:f"+digestB[8:] {
		t.Errorf("the model's volume is %+v", volume)
	}
	c.publish(digestC) // another version is nothing to the alias
	c.expect("stable 100 b 1/1")
	c.promote("production", digestC)
	c.expect("starting 0 c 0/0", "stable 100 b 1/1")
}

func TestWhatIsNotThere(t *testing.T) {
	empty := model("empty", "")
	empty.Spec.Reference = ""
	for _, tt := range []struct {
		name   string
		edit   func(*v1alpha1.InferenceServiceSpec)
		reason string
		says   []string
	}{
		{"model", func(s *v1alpha1.InferenceServiceSpec) { s.Model = "digitz" }, ReasonUnknownModel, []string{"spec.model", `"digitz"`, "known are digits, empty"}},
		{"runtime", func(s *v1alpha1.InferenceServiceSpec) { s.Runtime = "onyx" }, ReasonUnknownRuntime, []string{"spec.runtime", "known are onnx"}},
		{"artifact", func(s *v1alpha1.InferenceServiceSpec) { s.Model = "empty" }, ReasonNoArtifact, []string{"Model empty has no artifact", "polder model push"}},
		{"canary", func(s *v1alpha1.InferenceServiceSpec) {
			s.Canary = &v1alpha1.Canary{Model: "digits@next", Percent: 5}
		}, ReasonUnknownAlias, []string{"spec.canary.model"}},
		{"accelerator", func(s *v1alpha1.InferenceServiceSpec) { s.Accelerators.Count = 1 }, ReasonNoVariant, []string{`runtime "onnx" has no variant for accelerators`}},
		{"env", func(s *v1alpha1.InferenceServiceSpec) {
			s.Env = []corev1.EnvVar{{Name: "PORT"}, {Name: "POLDER_X"}}
		}, ReasonInvalidSpec, []string{"spec.env[0].name PORT", "spec.env[1].name POLDER_X"}},
		{"image", func(s *v1alpha1.InferenceServiceSpec) { s.Runtime, s.Image = "", "A B" }, ReasonInvalidSpec, []string{"spec.image", "images/NAMESPACE/NAME"}},
		{"image without software", func(s *v1alpha1.InferenceServiceSpec) {
			s.Runtime, s.Image, s.Accelerators.Count = "", "images/lab/x", 1
		}, ReasonInvalidSpec, []string{"spec.accelerators.software is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, empty.DeepCopy())
			c.submit(service("digits", 1))
			c.pods(c.name(digestA), up)
			c.change(tt.edit)
			c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, tt.reason, tt.says...)
			// What was there goes on, and when the spec can be had again all is well.
			c.expect("stable 100 a 1/1")
			c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonServing)
			if again := c.look(); again != 5*time.Second {
				t.Errorf("it looks again after %v", again)
			}
			c.change(func(s *v1alpha1.InferenceServiceSpec) { *s = service("digits", 1).Spec })
			c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid)
			c.expect("stable 100 a 1/1")
		})
	}
}

// TestTheModelGoes: what serves a model that is removed goes on.
func TestTheModelGoes(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	c.must(c.client.Delete(t.Context(), model("digits", digestA)))
	c.look()
	c.expect("stable 100 a 1/1")
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonUnknownModel, "there are none")
	// A person removes the ReplicaSet, too: it cannot come back, and that is said.
	c.must(c.client.Delete(t.Context(), c.set(c.name(digestA))))
	c.look()
	c.expect("stable 100 a 0/0")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonFailing, "its ReplicaSet was removed")
}

func TestARemovedReplicaSetComesBack(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 2))
	c.pods(c.name(digestA), up)
	c.must(c.client.Delete(t.Context(), c.set(c.name(digestA))))
	c.look()
	if got := c.sets(); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
	c.expect("stable 100 a 0/0")
}

func TestCanary(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 4))
	a := c.name(digestA)
	c.pods(a, up)
	c.change(func(s *v1alpha1.InferenceServiceSpec) {
		s.Canary = &v1alpha1.Canary{Model: "digits@" + digestB, Percent: 30}
	})
	b := c.name(digestB)
	c.expect("starting 0 b 0/0", "stable 100 a 4/4")
	if got := *c.set(b).Spec.Replicas; got != 2 {
		t.Errorf("30 %% of 4 replicas are %d", got)
	}
	c.pods(b, up)
	c.expect("canary 30 b 2/2", "stable 70 a 4/4")
	c.change(func(s *v1alpha1.InferenceServiceSpec) { s.Canary.Percent = 50 })
	c.expect("canary 50 b 2/2", "stable 50 a 4/4")

	// In trouble it gets nothing, and the other everything.
	c.pods(b, crashed(1, "Error", "panic"))
	c.expect("canary 0 b 0/2", "stable 100 a 4/4")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonServing, "canary "+b, "panic")
	c.pods(b, up)
	c.expect("canary 50 b 2/2", "stable 50 a 4/4")
	// Asleep it keeps its part: it is woken.
	c.scale(b, 0)
	c.pods(b)
	c.expect("canary 50 b 0/0", "stable 50 a 4/4")

	// It becomes what is served.
	c.change(func(s *v1alpha1.InferenceServiceSpec) { s.Model, s.Canary = s.Canary.Model, nil })
	c.expect("stable 100 b 0/0", "leaving 0 a 4/4")
	c.wait(time.Minute)
	c.expect("stable 100 b 0/0")
}

func TestCanaryIsTakenAway(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	c.change(func(s *v1alpha1.InferenceServiceSpec) {
		s.Canary = &v1alpha1.Canary{Model: "digits@" + digestB, Percent: 10}
	})
	c.pods(c.name(digestB), up)
	c.change(func(s *v1alpha1.InferenceServiceSpec) { s.Canary = nil })
	c.expect("leaving 0 b 1/1", "stable 100 a 1/1")
	c.wait(time.Minute)
	c.expect("stable 100 a 1/1")
}

// TestCanaryCannotBeHad: one that was there goes on while what it is called is gone.
func TestCanaryCannotBeHad(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	c.promote("next", digestB)
	c.change(func(s *v1alpha1.InferenceServiceSpec) {
		s.Canary = &v1alpha1.Canary{Model: "digits@next", Percent: 10}
	})
	c.pods(c.name(digestB), up)
	c.expect("canary 10 b 1/1", "stable 90 a 1/1")
	c.promote("other", digestC)
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonUnknownAlias)
	c.expect("canary 10 b 1/1", "stable 90 a 1/1")
}

func TestCanaryIsTheSame(t *testing.T) {
	c := newCluster(t)
	svc := service("digits", 1)
	svc.Spec.Canary = &v1alpha1.Canary{Model: "digits@" + digestA, Percent: 10}
	c.submit(svc)
	c.pods(c.name(digestA), up)
	c.expect("stable 100 a 1/1")
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid, "there is no canary")
}

// TestSwap: the canary becomes what is served, and what was served the canary.
func TestSwap(t *testing.T) {
	c := newCluster(t)
	svc := service("digits@"+digestA, 1)
	svc.Spec.Canary = &v1alpha1.Canary{Model: "digits@" + digestB, Percent: 10}
	c.submit(svc)
	c.expect("starting 0 a 0/0", "starting 0 b 0/0")
	c.pods(c.name(digestB), up)
	c.expect("starting 0 a 0/0", "canary 0 b 1/1") // alone it gets nothing
	c.pods(c.name(digestA), up)
	c.expect("stable 90 a 1/1", "canary 10 b 1/1")
	c.change(func(s *v1alpha1.InferenceServiceSpec) { s.Model, s.Canary.Model = s.Canary.Model, s.Model })
	c.expect("canary 10 a 1/1", "stable 90 b 1/1")
}

// TestSuperseded: a change while another is rolled out.
func TestSuperseded(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	c.publish(digestB)
	b := c.name(digestB)
	c.publish(digestC)
	c.expect("starting 0 c 0/0", "stable 100 a 1/1")
	if slices.Contains(c.sets(), b) {
		t.Error("what was never ready stays")
	}
	c.pods(c.name(digestC), up)
	c.expect("stable 100 c 1/1", "leaving 0 a 1/1")
}

// TestScaleIsTheGateways: whatever happens, nothing writes the replicas of a ReplicaSet
// that is there.
func TestScaleIsTheGateways(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	name := c.name(digestA)
	c.pods(name, up)
	c.scale(name, 3)
	c.change(func(s *v1alpha1.InferenceServiceSpec) { s.Scale.Max, s.Scale.Concurrency = 2, 1 })
	c.wait(time.Hour)
	if got := *c.set(name).Spec.Replicas; got != 3 {
		t.Errorf("the ReplicaSet has %d replicas, and the gateway wrote 3", got)
	}
	if got := c.sets(); len(got) != 1 {
		t.Errorf("another scale is another revision: %q", got)
	}
}

func TestTheNameIsTaken(t *testing.T) {
	probe := newCluster(t)
	probe.submit(service("digits", 1))
	c := newCluster(t, taken(probe.name(digestA)))
	c.submit(service("digits", 1))
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonNameTaken, "belongs to something else", "name the service differently")
	before := c.svc().ResourceVersion
	c.wait(5 * time.Second)
	if c.svc().ResourceVersion != before {
		t.Error("what is said already is written again")
	}
	c.must(c.client.Delete(t.Context(), taken(probe.name(digestA))))
	c.wait(5 * time.Second)
	c.wait(5 * time.Second)
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid)
}

func TestTheClusterRefuses(t *testing.T) {
	c := newCluster(t)
	c.refuse = quotaSays
	c.submit(service("digits", 1))
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonRefused, "exceeded quota: small")
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonStarting)
	c.refuse = nil
	c.wait(5 * time.Second)
	c.wait(5 * time.Second)
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid)
}

// TestACorruptModel: what is served goes on, and when the model can be read it is served.
func TestACorruptModel(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	c.broken = errors.New("model.onnx: its digest is another")
	c.publish(digestB)
	c.expect("starting 0 b 0/0", "stable 100 a 1/1")
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonNoArtifact, "model digits, "+digestB, "its digest is another")
	before := c.svc().ResourceVersion
	c.wait(5 * time.Second)
	if c.svc().ResourceVersion != before {
		t.Error("what is said already is written again")
	}
	c.broken = nil
	c.wait(5 * time.Second)
	c.wait(5 * time.Second)
	c.condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonValid)
	c.pods(c.name(digestB), up)
	c.expect("stable 100 b 1/1", "leaving 0 a 1/1")
}

// TestPodsThatCannotBeMade: upstream says why in events alone.
func TestPodsThatCannotBeMade(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	set := c.set(c.name(digestA))
	c.must(c.client.Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "e"}, InvolvedObject: corev1.ObjectReference{UID: set.UID},
		Type: corev1.EventTypeWarning, Message: "pods is forbidden: exceeded quota",
	}))
	c.wait(5 * time.Second)
	c.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonFailing, "its pods cannot be made", "exceeded quota")
}

// TestGone: the gauges go with the service.
func TestGone(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	c.pods(c.name(digestA), up)
	if got := series(t, c); got != 9 {
		t.Errorf("a service has %d series", got)
	}
	c.must(c.client.Delete(t.Context(), c.svc()))
	_, err := c.r.reconcile(t.Context(), request())
	c.must(err)
	if got := series(t, c); got != 0 {
		t.Errorf("%d series are left", got)
	}
}

func series(t *testing.T, c *cluster) int {
	families, err := c.gauges.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "polder_service_") {
			t.Errorf("gauge %s", f.GetName())
		}
		n += len(f.GetMetric())
	}
	return n
}

// TestAStaleLookRemovesNothing: what the status has got back meanwhile is not removed.
func TestAStaleLookRemovesNothing(t *testing.T) {
	c := newCluster(t)
	c.submit(service("digits", 1))
	name := c.name(digestA)
	c.pods(name, up)
	w, err := c.r.read(t.Context(), c.svc())
	c.must(err)
	c.must(c.r.act(t.Context(), w, &plan{remove: []client.Object{c.set(name)}}))
	if got := c.sets(); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
}
