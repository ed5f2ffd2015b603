package train

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// asks plays a person who has the job moved.
func (c *cluster) asks(nodes ...string) {
	c.t.Helper()
	job := c.job("digits")
	c.askFor(&v1alpha1.Move{Asked: metav1.NewTime(c.clock.Now()), Restarts: job.Status.Restarts, Nodes: nodes, PlaceSeconds: ptr.To[int64](40)})
}

func (c *cluster) askFor(m *v1alpha1.Move) {
	c.t.Helper()
	job := c.job("digits")
	old := job.DeepCopy()
	job.Spec.Move = m
	c.must(c.client.Patch(c.t.Context(), job, client.MergeFrom(old)))
	c.look("digits")
}

// moved checks how far the move is.
func (c *cluster) moved(state v1alpha1.MoveState, texts ...string) *v1alpha1.TrainJob {
	c.t.Helper()
	j := c.job("digits")
	m := j.Status.Move
	if m == nil || m.State != state {
		c.t.Fatalf("the move is %+v, want %s", m, state)
	}
	for _, text := range texts {
		if !strings.Contains(m.Message, text) {
			c.t.Errorf("message %q does not say %q", m.Message, text)
		}
	}
	return j
}

// place plays the scheduler.
func (c *cluster) place(attempt, node string) {
	c.t.Helper()
	for _, p := range c.pods() {
		if strings.HasPrefix(p.Name, attempt+"-") {
			p.Spec.NodeName = node
			c.must(c.client.Update(c.t.Context(), &p))
		}
	}
}

// allowed are the nodes that an attempt's workers are kept to.
func (c *cluster) allowed(attempt string) []string {
	c.t.Helper()
	j, ok := get(c, attempt, &batchv1.Job{})
	if !ok {
		c.t.Fatalf("there is no Job %s, only %v", attempt, c.attempts())
	}
	a := j.Spec.Template.Spec.Affinity
	if a == nil {
		return nil
	}
	var out []string
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		out = append(out, term.MatchFields[0].Values...)
	}
	return out
}

// running has a job run on node one, and a node two beside it.
func running(t *testing.T, workers int32) *cluster {
	c := newCluster(t, with(node("two", "4", "8Gi")))
	job := digits(workers)
	job.Spec.Retries = new(int32)
	c.submit(job)
	c.runAll("digits", "digits-0")
	c.place("digits-0", "one")
	return c
}

func TestAMove(t *testing.T) {
	c := running(t, 2)
	c.asks("two")
	c.moved(v1alpha1.MoveSaving)
	c.expect("digits", v1alpha1.StateRunning)
	for _, p := range c.pods() {
		if p.DeletionTimestamp != nil {
			t.Fatalf("worker %s was ended before its checkpoint", p.Name)
		}
	}
	c.clock.SetTime(c.clock.Now().Add(2 * time.Second))
	c.write("metrics/metrics.jsonl", `{"event":"epoch","epoch":1,"epochs":9,"time":"`+c.clock.Now().Format(time.RFC3339)+`"}`+"\n")
	c.look("digits")
	c.moved(v1alpha1.MovePlacing, "to two")
	c.expect("digits", v1alpha1.StateRestarting, "moved to two")
	c.condition("digits", v1alpha1.ConditionRunning, metav1.ConditionFalse, reasonMoved)
	for _, p := range c.pods() {
		if g := p.DeletionGracePeriodSeconds; p.DeletionTimestamp == nil || g != nil && *g == hurrySeconds {
			t.Errorf("worker %s is not told to end, with time to save its work: %v, %v", p.Name, p.DeletionTimestamp, g)
		}
	}
	if n := c.attempts(); slices.Contains(n, "digits-1") {
		t.Fatalf("attempts %v: two at a time", n)
	}
	c.reap()
	c.look("digits") // without a pause: nothing failed
	if got := c.allowed("digits-1"); !slices.Equal(got, []string{"two"}) {
		t.Fatalf("the workers may go to %v", got)
	}
	c.runAll("digits", "digits-1")
	c.moved(v1alpha1.MovePlacing)
	c.place("digits-1", "two")
	c.look("digits")
	j := c.moved(v1alpha1.MoveMoved, "on two")
	if c.expect("digits", v1alpha1.StateRunning); j.Status.Restarts != 1 || j.Status.Moves != 1 || !c.told("Moved") {
		t.Errorf("restarts %d, moves %d, or no event", j.Status.Restarts, j.Status.Moves)
	}

	// What was asked is done once, and used up no retries; but there are none.
	c.wait("digits", time.Hour)
	c.expect("digits", v1alpha1.StateRunning)
	c.crash("digits", "digits-1")
	c.expect("digits", v1alpha1.StateFailed, "ended with exit code 1")
}

// TestAMoveWithoutACheckpoint ends the workers when the time for it is over.
func TestAMoveWithoutACheckpoint(t *testing.T) {
	c := running(t, 1)
	c.asks("two")
	c.wait("digits", checkpointPatience-time.Second)
	c.moved(v1alpha1.MoveSaving)
	c.wait("digits", time.Second)
	c.moved(v1alpha1.MovePlacing)
}

// TestAPlaceThatIsTaken: the job is not left waiting for it.
func TestAPlaceThatIsTaken(t *testing.T) {
	c := running(t, 1)
	c.asks("two")
	c.wait("digits", checkpointPatience)
	c.reap()
	c.look("digits")
	c.schedule("digits-1")
	c.set("digits-1-0", func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/2 nodes are available: no room."}}
	})
	c.wait("digits", 39*time.Second)
	c.moved(v1alpha1.MovePlacing)
	c.wait("digits", time.Second)
	c.moved(v1alpha1.MoveElsewhere, "no room on two", "0/2 nodes are available")
	c.reap()
	c.look("digits")
	if got := c.allowed("digits-2"); got != nil {
		t.Fatalf("the workers are still kept to %v", got)
	}
	c.runAll("digits", "digits-2")
	if j := c.expect("digits", v1alpha1.StateRunning); j.Status.Restarts != 2 || j.Status.Moves != 2 {
		t.Errorf("restarts %d, moves %d; neither start is a retry", j.Status.Restarts, j.Status.Moves)
	}
}

// TestAPlaceThatGoesAway before the workers are started.
func TestAPlaceThatGoesAway(t *testing.T) {
	c := running(t, 1)
	c.asks("two")
	c.wait("digits", checkpointPatience)
	c.must(c.client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "two"}}))
	c.reap()
	c.look("digits")
	c.moved(v1alpha1.MoveElsewhere, "there is no such node")
	if got := c.allowed("digits-1"); got != nil {
		t.Errorf("the workers are kept to %v", got)
	}
}

func TestMovesThatAreRefused(t *testing.T) {
	at := func(c *cluster) metav1.Time { return metav1.NewTime(c.clock.Now()) }
	for name, tc := range map[string]struct {
		move func(*cluster) *v1alpha1.Move
		says string
	}{
		"of an attempt before": {func(c *cluster) *v1alpha1.Move {
			return &v1alpha1.Move{Asked: at(c), Restarts: 3, Nodes: []string{"two"}}
		}, "started again since"},
		"to nowhere": {func(c *cluster) *v1alpha1.Move { return &v1alpha1.Move{Asked: at(c), Nodes: []string{"nowhere"}} }, "no such node"},
		"to a cordoned node": {func(c *cluster) *v1alpha1.Move {
			var n corev1.Node
			c.must(c.client.Get(t.Context(), client.ObjectKey{Name: "two"}, &n))
			n.Spec.Unschedulable = true
			c.must(c.client.Update(t.Context(), &n))
			return &v1alpha1.Move{Asked: at(c), Nodes: []string{"two"}}
		}, "cordoned"},
	} {
		t.Run(name, func(t *testing.T) {
			c := running(t, 1)
			c.askFor(tc.move(c))
			c.moved(v1alpha1.MoveRefused, "left where it is", tc.says)
			if j := c.expect("digits", v1alpha1.StateRunning); j.Status.Restarts != 0 {
				t.Error("the job was stopped")
			}
			c.clock.SetTime(c.clock.Now().Add(time.Second))
			if name != "to a cordoned node" {
				c.asks("two")
				c.moved(v1alpha1.MoveSaving)
			}
		})
	}
}

// TestAMoveThatIsTakenBack, and one of a job that does not run.
func TestAMoveThatIsTakenBack(t *testing.T) {
	c := running(t, 1)
	c.asks("two")
	c.askFor(nil)
	c.moved(v1alpha1.MoveRefused, "taken back")
	c.wait("digits", time.Hour)
	c.expect("digits", v1alpha1.StateRunning)

	d := newCluster(t, with(node("two", "4", "8Gi")))
	d.submit(digits(1))
	d.asks("two")
	d.moved(v1alpha1.MoveRefused, "it does not run")
	if got := d.allowed("digits-0"); got != nil {
		t.Errorf("the workers are kept to %v", got)
	}
}

// TestAWorkerDiesWhileSaving: then the job is started again as ever.
func TestAWorkerDiesWhileSaving(t *testing.T) {
	c := newCluster(t, with(node("two", "4", "8Gi")))
	c.submit(digits(2))
	c.runAll("digits", "digits-0")
	c.asks("two")
	c.crash("digits", "digits-0")
	c.moved(v1alpha1.MoveRefused, "started again since")
	c.reap()
	c.wait("digits", time.Minute)
	if got := c.allowed("digits-1"); got != nil {
		t.Errorf("the workers are kept to %v", got)
	}
}

// TestAMoveByManyControllers: one that is killed between any two looks goes on.
func TestAMoveByManyControllers(t *testing.T) {
	c := running(t, 1)
	c.always = true
	c.asks("two")
	c.wait("digits", checkpointPatience)
	c.reap()
	c.look("digits")
	c.runAll("digits", "digits-1")
	c.place("digits-1", "two")
	c.look("digits")
	if j := c.moved(v1alpha1.MoveMoved); j.Status.Restarts != 1 {
		t.Errorf("%d restarts", j.Status.Restarts)
	}
}

// TestAJobThatWaitsTooLong for its queue after it was ended goes anywhere.
func TestAJobThatWaitsTooLong(t *testing.T) {
	c := newCluster(t, with(node("two", "4", "8Gi")))
	job := digits(1)
	job.Spec.Queue = "vision"
	c.submit(job)
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	c.runAll("digits", "digits-0")
	c.asks("two")
	c.wait("digits", checkpointPatience)
	c.moved(v1alpha1.MovePlacing)
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Reason: reasonPreempted, Message: "others want it"})
	c.reap()
	c.wait("digits", moveStale+time.Second)
	c.moved(v1alpha1.MoveElsewhere, "others' now")
	c.decides("digits", v1alpha1.JobQueue{Name: "vision", Admitted: true, Reason: "Admitted"})
	if got := c.allowed("digits-1"); got != nil {
		t.Errorf("the workers are kept to %v", got)
	}
}

// TestAMoveToNamedDevices: the claims of the attempt that is placed there take no others,
// and those of the next any.
func TestAMoveToNamedDevices(t *testing.T) {
	c := newCluster(t, with(gpus("one")...))
	job := digits(1)
	job.Spec.Runtime = "cuda"
	job.Spec.Accelerators = v1alpha1.Accelerators{Count: 1, Kinds: []string{"gpu"}, Software: []string{"cuda"}}
	c.submit(job)
	c.runAll("digits", "digits-0")
	c.place("digits-0", "one")
	if got := c.named("digits-0"); len(got) > 0 {
		t.Errorf("at first its devices are named: %v", got)
	}
	c.askFor(&v1alpha1.Move{Asked: metav1.NewTime(c.clock.Now()), Nodes: []string{"one"}, Devices: []string{"u/half/1"}, CheckpointSeconds: ptr.To[int64](0), PlaceSeconds: ptr.To[int64](40)})
	if m := c.moved(v1alpha1.MovePlacing).Status.Move; !slices.Equal(m.Devices, []string{"u/half/1"}) {
		t.Errorf("the move is to %v", m.Devices)
	}
	c.reap()
	c.look("digits")
	if got := c.named("digits-1"); len(got) != 1 || !strings.Contains(got[0], `uuid in ["u/half/1"]`) {
		t.Fatalf("the claims of the move are kept to %v", got)
	}
	c.schedule("digits-1")
	c.wait("digits", time.Minute) // there is no room
	c.moved(v1alpha1.MoveElsewhere)
	c.reap()
	c.look("digits")
	if got := c.named("digits-2"); len(got) > 0 {
		t.Errorf("the next attempt is kept to %v", got)
	}
}

// gpus are two on a node, and a runtime for them.
func gpus(name string) []client.Object {
	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceSliceSpec{
		Driver: profile.Domain, NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: 1}}}
	for _, o := range published(name, 2, device.Device{Kind: device.GPU, Vendor: "nvidia", Product: "T4", Software: "cuda", Memory: 16e9}) {
		slice.Spec.Devices = append(slice.Spec.Devices, *o.Device)
	}
	rt := pytorch()
	rt.Name, rt.Spec.Variants[0].Software = "cuda", "cuda"
	return []client.Object{slice, rt}
}

// TestNamedDevicesTakeClaims: whoever has none is left where it is.
func TestNamedDevicesTakeClaims(t *testing.T) {
	c := running(t, 1)
	c.askFor(&v1alpha1.Move{Asked: metav1.NewTime(c.clock.Now()), Nodes: []string{"one"}, Devices: []string{"u"}})
	c.moved(v1alpha1.MoveRefused, "spec.move.devices", "without claims")
	c.expect("digits", v1alpha1.StateRunning)
}

// named are the selectors of an attempt's claims that name devices.
func (c *cluster) named(attempt string) []string {
	c.t.Helper()
	template, ok := get(c, attempt, &resourcev1.ResourceClaimTemplate{})
	if !ok {
		c.t.Fatalf("attempt %s has no template for claims", attempt)
	}
	var out []string
	for _, r := range template.Spec.Spec.Devices.Requests {
		for _, s := range r.Exactly.Selectors {
			if strings.Contains(s.CEL.Expression, ".uuid in ") {
				out = append(out, s.CEL.Expression)
			}
		}
	}
	return out
}
