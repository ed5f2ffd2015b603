package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/sched/census"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// paperCloud is a cloud of two nodes with two devices each, on which jobs one and two
// have one device of each node, and job big waits for both of one. The test plays its
// controllers.
type paperCloud struct {
	world census.World
	looks int
	asks  []*v1alpha1.Move
	// turn changes the world whenever somebody looks at a job.
	turn func(*paperCloud, *v1alpha1.TrainJob)
	// before is done to the world before each look at all of it, with their number.
	before func(*paperCloud, int)
}

func newPaperCloud() *paperCloud {
	c := &paperCloud{world: census.World{Now: noon}}
	for _, n := range []string{"a", "b"} {
		c.world.Nodes = append(c.world.Nodes, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}, Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("99")},
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}})
		var all []device.Device
		for i := range 2 {
			all = append(all, device.Device{Name: fmt.Sprintf("gpu-%d", i), UUID: fmt.Sprint(n, i), Kind: device.GPU, Vendor: "nvidia", Product: "H100", Form: device.Whole, Software: "cuda", Memory: 80 << 30})
		}
		c.world.Slices = append(c.world.Slices, resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: n}, Spec: resourcev1.ResourceSliceSpec{
			Driver: profile.Domain, NodeName: &n, Devices: profile.Pool(all, true)[0].Devices, Pool: resourcev1.ResourcePool{Name: n, ResourceSliceCount: 1}}})
	}
	c.job("one", "a", "gpu-0")
	c.job("two", "b", "gpu-1").Status.Progress.Time = &metav1.Time{Time: noon.Add(-time.Hour)}
	big := c.job("big", "", "")
	big.Spec.Accelerators.Count, big.Status.State = 2, v1alpha1.StatePending
	return c
}

func (c *paperCloud) job(name, node, dev string) *v1alpha1.TrainJob {
	c.world.Jobs = append(c.world.Jobs, v1alpha1.TrainJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: v1alpha1.TrainJobSpec{Workers: 1, Accelerators: v1alpha1.Accelerators{Count: 1}},
		Status: v1alpha1.TrainJobStatus{State: v1alpha1.StateRunning, Ready: 1, Software: "cuda", Progress: &v1alpha1.Progress{Epoch: 7, Time: &metav1.Time{Time: noon.Add(-time.Minute)}}},
	})
	if node != "" {
		c.worker(name, node, dev)
	}
	return &c.world.Jobs[len(c.world.Jobs)-1]
}

// worker puts the job's pod on a node, in place of any that it has.
func (c *paperCloud) worker(job, node, dev string) {
	pod := job + "-0"
	for i := range c.world.Pods {
		if c.world.Pods[i].Name == pod {
			c.world.Pods = append(c.world.Pods[:i:i], c.world.Pods[i+1:]...)
			c.world.Claims = append(c.world.Claims[:i:i], c.world.Claims[i+1:]...)
			break
		}
	}
	c.world.Pods = append(c.world.Pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: pod, UID: types.UID(pod), Labels: map[string]string{v1alpha1.LabelTrainJob: job}},
		Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
	claim := resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: pod}}
	claim.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: pod, UID: types.UID(pod)}}
	claim.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{{Driver: profile.Domain, Pool: node, Device: dev}}}}
	c.world.Claims = append(c.world.Claims, claim)
}

func (c *paperCloud) World(context.Context) (census.World, error) {
	c.looks++
	if c.before != nil {
		c.before(c, c.looks)
	}
	return c.world, nil
}

func (c *paperCloud) find(name string) *v1alpha1.TrainJob {
	for i := range c.world.Jobs {
		if c.world.Jobs[i].Name == name {
			return &c.world.Jobs[i]
		}
	}
	return nil
}

func (c *paperCloud) Job(_ context.Context, _, name string) (*v1alpha1.TrainJob, error) {
	j := c.find(name)
	if j == nil {
		return nil, nil
	}
	if c.turn != nil {
		c.turn(c, j)
	}
	return j.DeepCopy(), nil
}

func (c *paperCloud) Ask(_ context.Context, j *v1alpha1.TrainJob, m *v1alpha1.Move) error {
	c.asks = append(c.asks, m)
	c.find(j.Name).Spec.Move = m
	return nil
}

// becomes has a move take its states one after the other, one with each look at the job.
func becomes(states ...v1alpha1.MoveState) func(*paperCloud, *v1alpha1.TrainJob) {
	return func(c *paperCloud, j *v1alpha1.TrainJob) {
		m := j.Spec.Move
		if m == nil || len(states) == 0 {
			return
		}
		s := &v1alpha1.MoveStatus{Asked: m.Asked, Nodes: m.Nodes, State: states[0], Message: "as the test says"}
		states = states[1:]
		if s.State == v1alpha1.MovePlacing {
			j.Status.Restarts++
			j.Status.State = v1alpha1.StateRestarting
		}
		if s.State == v1alpha1.MoveMoved {
			j.Status.State = v1alpha1.StateRunning
			c.worker(j.Name, m.Nodes[0], "gpu-0")
		}
		s.Restarts = j.Status.Restarts
		j.Status.Move = s
	}
}

// defrags a paper cloud, and returns what is told.
func (c *paperCloud) defragger() (*defragger, *bytes.Buffer) {
	var told bytes.Buffer
	clock := noon
	d := &defragger{
		cloud: c, fixed: map[string]string{}, every: time.Microsecond,
		flags: defragFlags{movesMax: 4, gainMin: 0.1, timeout: time.Hour, save: 30 * time.Second, restarts: 30 * time.Second},
		now:   func() time.Time { clock = clock.Add(time.Second); return clock },
		tell:  progress{say: func(f string, a ...any) { fmt.Fprintf(&told, f+"\n", a...) }, now: func(string) {}},
	}
	return d, &told
}

const planText = `2 of 4 devices are idle, 1 of them of no use for what runs and waits here.

STEP  JOB      FROM  TO  DEVICES  GAIN  COST
1     lab/one  a     b   1        1     90 device-seconds

NODE  NOW  THEN
a     █░   ░░
b     ░█   ██

After 1 move: 0 of no use; there is room for jobs on one node: 1 of 2 devices (0 before).
`

func TestAPlanIsShown(t *testing.T) {
	d, _ := newPaperCloud().defragger()
	p, err := d.propose(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text, j, y bytes.Buffer
	if err := errors.Join(p.show(&text, ""), p.show(&j, "json"), p.show(&y, "yaml")); err != nil {
		t.Fatal(err)
	}
	var lines []string // without the spaces behind columns
	for l := range strings.SplitSeq(text.String(), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	if diff := cmp.Diff(planText, strings.Join(lines, "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var got struct {
		Before struct{ UselessDevices float64 }
		Moves  []struct {
			Job               string
			From, To          []string
			CostDeviceSeconds float64
		}
	}
	if err := json.Unmarshal(j.Bytes(), &got); err != nil || len(got.Moves) != 1 || got.Moves[0].Job != "lab/one" || got.Moves[0].To[0] != "b" || got.Moves[0].CostDeviceSeconds != 90 || got.Before.UselessDevices <= 0 {
		t.Errorf("%v, %+v\n%s", err, got, j.String())
	}
	if !strings.Contains(y.String(), "costDeviceSeconds: 90\n") {
		t.Errorf("yaml is\n%s", y.String())
	}
}

func TestNothingToMove(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*paperCloud, *defragger)
		says   []string
	}{
		"no devices": {func(c *paperCloud, _ *defragger) { c.world.Slices, c.world.Claims = nil, nil }, []string{"publishes an accelerator"}},
		"no jobs":    {func(c *paperCloud, _ *defragger) { c.world.Jobs, c.world.Pods, c.world.Claims = nil, nil, nil }, []string{"--for N"}},
		"no gain":    {func(c *paperCloud, _ *defragger) { c.world.Jobs = c.world.Jobs[:2] }, []string{"No move would gain"}},
		"all stay": {func(c *paperCloud, _ *defragger) {
			for i := range c.world.Jobs {
				c.world.Jobs[i].Status.Progress = nil
			}
		}, []string{"lab/one stays: it has reported no epoch", "lab/two stays"}},
		"another namespace": {func(_ *paperCloud, d *defragger) { d.namespace = "other" }, []string{"lab/one stays: it is in another namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newPaperCloud()
			d, _ := c.defragger()
			tc.change(c, d)
			p, err := d.propose(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var w bytes.Buffer
			if err := p.show(&w, ""); err != nil || len(p.Moves) > 0 {
				t.Errorf("%v, moves %+v", err, p.Moves)
			}
			for _, s := range tc.says {
				if !strings.Contains(w.String(), s) {
					t.Errorf("%q does not say %q", w.String(), s)
				}
			}
		})
	}
}

// TestRoomThatIsNamed is made for jobs that are not there.
func TestRoomThatIsNamed(t *testing.T) {
	c := newPaperCloud()
	c.world.Jobs = c.world.Jobs[:2]
	d, _ := c.defragger()
	d.flags.room = 2
	p, err := d.propose(t.Context())
	if err != nil || len(p.Moves) != 1 || p.Before.Useless != 2 || p.After.Useless != 0 {
		t.Errorf("%v, %+v", err, p)
	}
}

func TestApply(t *testing.T) {
	c := newPaperCloud()
	c.turn = becomes(v1alpha1.MoveSaving, v1alpha1.MovePlacing, v1alpha1.MoveMoved)
	d, told := c.defragger()
	var out bytes.Buffer
	if err := d.applyAndShow(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	if len(c.asks) != 1 || c.asks[0].Restarts != 0 || !cmp.Equal(c.asks[0].Nodes, []string{"b"}) || *c.asks[0].CheckpointSeconds != 30 {
		t.Errorf("asked for %+v", c.asks)
	}
	for _, s := range []string{"Moving job lab/one from a to b", "Job lab/one runs on b, after epoch 7."} {
		if !strings.Contains(told.String(), s) {
			t.Errorf("%q does not say %q", told.String(), s)
		}
	}
	if want := "1 move made; idle devices of no use: 0, 1 before.\n"; !strings.HasSuffix(out.String(), want) || !strings.Contains(out.String(), "STEP  JOB") {
		t.Errorf("%q, want the plan, and %q", out.String(), want)
	}

	// A second run finds nothing to do.
	again, _ := c.defragger()
	a, err := again.apply(t.Context())
	if err != nil || len(a.Done) > 0 || len(c.asks) != 1 {
		t.Errorf("%v, %+v", err, a)
	}
}

// TestWorkersAreMovedTogether: all are asked for at once, on all nodes that they are on
// afterwards.
func TestWorkersAreMovedTogether(t *testing.T) {
	c := newPaperCloud()
	c.world.Jobs, c.world.Pods, c.world.Claims = nil, nil, nil
	c.job("pair", "a", "gpu-0")
	c.worker("second", "b", "gpu-0")
	c.world.Pods[1].Labels[v1alpha1.LabelTrainJob] = "pair"
	c.find("pair").Spec.Workers = 2
	d, _ := c.defragger()
	d.flags.room = 2
	p, err := d.propose(t.Context())
	if err != nil || len(p.Moves) != 1 {
		t.Fatalf("%v, %+v", err, p)
	}
	m := p.Moves[0]
	if m.Devices != 2 || m.Cost != 180 || len(m.moves) != 1 || len(m.nodes) != 1 || m.nodes[0] != m.To[0] || m.still(p.census) != "" {
		t.Errorf("%+v, and now %q", m, m.still(p.census))
	}
}

// TestAStepThatNoLongerHolds is planned anew, and not made.
func TestAStepThatNoLongerHolds(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*paperCloud)
		says   string
	}{
		"the place is taken": {func(c *paperCloud) { c.job("quick", "b", "gpu-0") }, "node b has no room"},
		"the job has ended":  {func(c *paperCloud) { c.find("one").Status.State = v1alpha1.StateSucceeded }, "no devices any more"},
		"it was restarted":   {func(c *paperCloud) { c.find("one").Status.Restarts = 1 }, "started again"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newPaperCloud()
			c.turn = becomes(v1alpha1.MoveMoved)
			c.before = func(c *paperCloud, n int) {
				if n == 3 { // the first is for earlier moves, the second for the plan
					tc.change(c)
				}
			}
			d, told := c.defragger()
			if _, err := d.apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(told.String(), tc.says) || !strings.Contains(told.String(), "Planning anew") {
				t.Errorf("told %q, want %q", told.String(), tc.says)
			}
			if name == "the place is taken" && len(c.asks) > 0 {
				t.Errorf("asked for %+v", c.asks)
			}
		})
	}
}

// TestAMoveThatGoesWrong stops the run, or is left out of it.
func TestAMoveThatGoesWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		turn func(*paperCloud, *v1alpha1.TrainJob)
		err  string
		told string
	}{
		"its place was taken": {becomes(v1alpha1.MoveSaving, v1alpha1.MovePlacing, v1alpha1.MoveElsewhere), "lab/one did not get its place: as the test says; stopped here", ""},
		"it is refused":       {becomes(v1alpha1.MoveRefused), "", "Job lab/one is not moved: as the test says."},
		"nobody answers":      {nil, "the cloud has not answered within 30s that job lab/one is to be moved; it was not stopped yet, and the move is taken back", ""},
		"it never runs again": {becomes(v1alpha1.MoveSaving, v1alpha1.MovePlacing), "did not run again within 1h0m0s (--timeout); the cloud completes the move alone", ""},
		"it ends":             {func(_ *paperCloud, j *v1alpha1.TrainJob) { j.Status.State = v1alpha1.StateSucceeded }, "", "it has ended (Succeeded)"},
		"a worker dies": {func(c *paperCloud, j *v1alpha1.TrainJob) {
			becomes(v1alpha1.MoveMoved)(c, j)
			j.Status.Restarts, j.Status.State, j.Status.Message = 5, v1alpha1.StateRestarting, "a worker died\nlines"
			if j.Status.Move != nil {
				j.Status.Move.Restarts = 4
			}
		}, "was moved, and then a worker of it died: a worker died", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newPaperCloud()
			c.turn = tc.turn
			d, told := c.defragger()
			if name == "it is refused" {
				d.flags.movesMax = 1
			}
			var out bytes.Buffer
			err := d.applyAndShow(t.Context(), &out, "json")
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
			if !strings.Contains(told.String(), tc.told) {
				t.Errorf("told %q, want %q", told.String(), tc.told)
			}
			var a struct {
				Stopped string
				Done    []result
			}
			if e := json.Unmarshal(out.Bytes(), &a); e != nil || err != nil && a.Stopped != err.Error() || len(a.Done) == 0 {
				t.Errorf("%v: %s", e, out.String())
			}
		})
	}
}

// TestInterrupted leaves nothing half made.
func TestInterrupted(t *testing.T) {
	for state, says := range map[v1alpha1.MoveState]string{
		v1alpha1.MoveSaving:  "it was not stopped yet, and the move is taken back",
		v1alpha1.MovePlacing: "the cloud completes the move alone",
	} {
		c := newPaperCloud()
		ctx, stop := context.WithCancel(t.Context())
		step := becomes(state)
		c.turn = func(c *paperCloud, j *v1alpha1.TrainJob) { step(c, j); stop() }
		d, _ := c.defragger()
		if _, err := d.apply(ctx); err == nil || !strings.Contains(err.Error(), "interrupted while job lab/one was being moved; "+says) {
			t.Errorf("%s: %v", state, err)
		}
		if taken := c.find("one").Spec.Move == nil; taken != (state == v1alpha1.MoveSaving) {
			t.Errorf("%s: taken back is %v", state, taken)
		}
	}
}

// TestAnEarlierMoveIsWaitedFor, such as that of a run that was killed.
func TestAnEarlierMoveIsWaitedFor(t *testing.T) {
	c := newPaperCloud()
	j := c.find("one")
	j.Spec.Move = &v1alpha1.Move{Asked: metav1.NewTime(noon), Nodes: []string{"b"}}
	c.turn = becomes(v1alpha1.MovePlacing, v1alpha1.MoveMoved)
	d, told := c.defragger()
	a, err := d.apply(t.Context())
	if err != nil || len(a.Done) > 0 || len(c.asks) > 0 {
		t.Errorf("%v, %+v, asked %+v", err, a, c.asks)
	}
	if !strings.Contains(told.String(), "Job lab/one is being moved already, to b; waiting") || !strings.Contains(told.String(), "nothing is moved") {
		t.Errorf("told %q", told.String())
	}
}
