package census

import (
	"fmt"
	"slices"
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
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/defrag"
)

var now = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// lab is a cluster with so many devices on each node, published as our driver does.
type lab struct{ World }

func newLab() *lab { return &lab{World{Now: now}} }

func (l *lab) node(name string, devices int, parts ...device.Partition) *lab {
	l.Nodes = append(l.Nodes, corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("110")},
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	})
	var all []device.Device
	for i := range devices {
		all = append(all, device.Device{
			Name: fmt.Sprintf("gpu-%d", i), UUID: fmt.Sprintf("%s-%d", name, i), Kind: device.GPU, Vendor: "nvidia", Product: "H100", Form: device.Whole,
			Software: "cuda", Memory: 80 << 30, Partitions: parts, Driver: device.Driver{Version: "1"},
		})
	}
	for i, p := range profile.Pool(all, true) {
		l.Slices = append(l.Slices, resourcev1.ResourceSlice{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, i)},
			Spec: resourcev1.ResourceSliceSpec{Driver: profile.Domain, NodeName: &l.Nodes[len(l.Nodes)-1].Name, Devices: p.Devices, SharedCounters: p.Counters,
				Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: int64(len(profile.Pool(all, true)))}},
		})
	}
	return l
}

// worker is a pod of a job, or of none, with devices of a node; "" is no node yet.
func (l *lab) worker(namespace, name, job, node string, devices ...string) *lab {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), Labels: map[string]string{}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("4Gi")}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if job != "" {
		p.Labels[v1alpha1.LabelTrainJob] = job
	}
	l.Pods = append(l.Pods, p)
	c := resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: name, UID: p.UID}}
	c.Status.Allocation = &resourcev1.AllocationResult{}
	for _, d := range devices {
		c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results, resourcev1.DeviceRequestAllocationResult{Driver: profile.Domain, Pool: node, Device: d})
	}
	if len(devices) > 0 {
		l.Claims = append(l.Claims, c)
	}
	return l
}

// job that runs with one worker, and saved its work a minute ago.
func (l *lab) job(namespace, name, node string, devices ...string) *v1alpha1.TrainJob {
	l.Jobs = append(l.Jobs, v1alpha1.TrainJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.TrainJobSpec{Workers: 1, Accelerators: v1alpha1.Accelerators{Count: int32(max(1, len(devices)))}},
		Status: v1alpha1.TrainJobStatus{State: v1alpha1.StateRunning, Software: "cuda",
			Progress: &v1alpha1.Progress{Epoch: 3, Time: &metav1.Time{Time: now.Add(-time.Minute)}}},
	})
	if len(devices) > 0 {
		l.worker(namespace, name+"-0", name, node, devices...)
	}
	return &l.Jobs[len(l.Jobs)-1]
}

func (l *lab) take(c Config) *Census {
	if c.Restart == 0 {
		c.Restart = 30 * time.Second
	}
	return Take(l.World, c)
}

// free says of each node how much of its devices is.
func free(c *Census) string {
	var out []string
	for _, n := range c.Snapshot.Nodes {
		s := n.Name
		for _, d := range n.Devices {
			s += fmt.Sprintf(" %d", d.Free)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestACensus(t *testing.T) {
	l := newLab().node("a", 4).node("b", 4)
	l.job("lab", "one", "a", "gpu-0")
	l.job("lab", "two", "b", "gpu-1", "gpu-2")
	l.job("lab", "waits", "").Status.State = v1alpha1.StatePending
	l.worker("lab", "bare", "", "b", "gpu-3")
	c := l.take(Config{})
	if got := free(c); got != "a 0 1000 1000 1000, b 1000 0 0 0" {
		t.Errorf("free is %s", got)
	}
	if n := c.Snapshot.Nodes[1]; n.Free.CPU != 60000 || n.Free.Memory != 248<<30 || n.Free.Pods != 108 {
		t.Errorf("node b has %+v", n.Free)
	}
	var work []string
	for _, w := range c.Work {
		work = append(work, fmt.Sprintf("%s of %s: %d x %d %v on %s %v, movable %v, cost %g", w.Name, w.Group, w.Request.Count, w.Request.Share, w.Request.Models, w.Decision.Node, w.Decision.Devices, w.Movable, w.Cost))
	}
	want := []string{
		"lab/one-0 of lab/one: 1 x 1000 [H100] on a [0], movable true, cost 90",
		"lab/two-0 of lab/two: 2 x 1000 [H100] on b [1 2], movable true, cost 180",
	}
	if d := cmp.Diff(want, work); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(c.Stays) > 0 || len(c.Running) != 3 || len(c.Waiting) != 1 {
		t.Errorf("stays %v, running %+v, waiting %+v; want none, two jobs and a pod, and one job", c.Stays, c.Running, c.Waiting)
	}
	if err := c.Snapshot.Check(); err != nil {
		t.Error(err)
	}
}

// TestWhatStays says why, of each.
func TestWhatStays(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*lab, *v1alpha1.TrainJob)
		config Config
		says   string
	}{
		"nothing wrong":    {func(*lab, *v1alpha1.TrainJob) {}, Config{}, ""},
		"no checkpoint":    {func(_ *lab, j *v1alpha1.TrainJob) { j.Status.Progress = nil }, Config{}, "no checkpoint"},
		"resumed":          {func(_ *lab, j *v1alpha1.TrainJob) { j.Status.Progress = &v1alpha1.Progress{ResumedFrom: 2} }, Config{}, ""},
		"restarting":       {func(_ *lab, j *v1alpha1.TrainJob) { j.Status.State = v1alpha1.StateRestarting }, Config{}, "does not run"},
		"a worker missing": {func(_ *lab, j *v1alpha1.TrainJob) { j.Spec.Workers = 2 }, Config{}, "not all"},
		"one fabric": {func(_ *lab, j *v1alpha1.TrainJob) {
			j.Spec.Accelerators.Count, j.Spec.Accelerators.SameFabric = 2, true
		}, Config{}, "fabric"},
		"another namespace": {func(*lab, *v1alpha1.TrainJob) {}, Config{Namespace: "other"}, "another namespace"},
		"told":              {func(*lab, *v1alpha1.TrainJob) {}, Config{Fixed: map[string]string{"lab/j": "it was moved already"}}, "moved already"},
		"on its way":        {func(_ *lab, j *v1alpha1.TrainJob) { j.Spec.Move = &v1alpha1.Move{Asked: metav1.NewTime(now)} }, Config{}, "being moved"},
		"moved before": {func(_ *lab, j *v1alpha1.TrainJob) {
			j.Spec.Move = &v1alpha1.Move{Asked: metav1.NewTime(now)}
			j.Status.Move = &v1alpha1.MoveStatus{Asked: metav1.NewTime(now), State: v1alpha1.MoveMoved}
		}, Config{}, ""},
		"a tainted node": {func(l *lab, _ *v1alpha1.TrainJob) {
			l.Nodes[1].Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
		}, Config{}, "own node"},
		"a taint that is tolerated": {func(l *lab, _ *v1alpha1.TrainJob) {
			l.Nodes[1].Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
			l.Pods[0].Spec.Tolerations = []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}}
		}, Config{}, ""},
		"a local volume":  {func(l *lab, _ *v1alpha1.TrainJob) { l.volume("a") }, Config{}, "which no other reaches"},
		"a shared volume": {func(l *lab, _ *v1alpha1.TrainJob) { l.volume("a", "b") }, Config{}, ""},
		"a cordoned node": {func(l *lab, _ *v1alpha1.TrainJob) { l.Nodes[1].Spec.Unschedulable = true }, Config{}, "own node"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab().node("a", 2).node("b", 2)
			tc.change(l, l.job("lab", "j", "a", "gpu-0"))
			c := l.take(tc.config)
			if got := len(c.Moving) > 0; got != (name == "on its way") {
				t.Errorf("jobs that are being moved: %v", c.Moving)
			}
			if why := c.Stays["lab/j"]; tc.says == "" && why != "" || !strings.Contains(why, tc.says) {
				t.Errorf("it stays: %q, want %q", why, tc.says)
			}
			if movable := len(c.Work) > 0 && c.Work[0].Movable; movable != (tc.says == "") {
				t.Errorf("movable is %v", movable)
			}
		})
	}
}

// volume gives job j one that these nodes reach.
func (l *lab) volume(nodes ...string) {
	l.VolumeClaims = []corev1.PersistentVolumeClaim{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "train-j", Labels: map[string]string{v1alpha1.LabelTrainJob: "j"}},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv"},
	}}
	l.Volumes = []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{StorageClassName: "local",
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: nodes}}}}}}}}}
}

// TestPartsAreOneDevice with the whole that they are parts of.
func TestPartsAreOneDevice(t *testing.T) {
	half := device.Partition{Profile: "half", Count: 2, Memory: 40 << 30, Share: 500}
	l := newLab().node("a", 2, half).node("b", 2, half)
	l.job("lab", "whole", "a", "gpu-0")
	l.job("lab", "left", "b", "gpu-0-half-0").Spec.Accelerators.Share = true
	l.job("lab", "right", "b", "gpu-1-half-1").Spec.Accelerators.Share = true
	c := l.take(Config{})
	if got := free(c); got != "a 0 1000, b 500 500" {
		t.Fatalf("free is %s", got)
	}
	p, err := defrag.Make(c.Snapshot, c.Work, defrag.Config{Policy: "fgd", Workload: sched.Typical([]sched.Request{{Count: 1, Share: sched.Whole}})})
	if err != nil {
		t.Fatal(err)
	}
	if p.Before.Fragmented != 1000 || p.After.Fragmented > p.Before.Fragmented {
		t.Errorf("from %+v to %+v", p.Before, p.After)
	}
	for _, w := range c.Work {
		if w.Group != "lab/whole" && (w.Request.Share != 500 || !slices.Equal(w.Request.Models, []string{"H100 half"})) {
			t.Errorf("%+v", w)
		}
	}
}

// TestWhatTakesNoWorkIsNoRoom: devices that are ill or cordoned are not free, and none
// is gained by leaving one.
func TestWhatTakesNoWorkIsNoRoom(t *testing.T) {
	l := newLab().node("a", 2).node("b", 2)
	l.job("lab", "j", "a", "gpu-0")
	l.Slices[0].Spec.Devices[1].Taints = []resourcev1.DeviceTaint{{Key: "ill", Effect: resourcev1.DeviceTaintEffectNoExecute}}
	l.Nodes[1].Spec.Unschedulable = true
	c := l.take(Config{})
	if got := free(c); got != "a 0 0, b 0 0" {
		t.Errorf("free is %s", got)
	}
	if err := c.Snapshot.Check(); err != nil {
		t.Error(err)
	}
}

// TestPartsOfWhatTakesNoWork are no room either, and who has one may go to another.
func TestPartsOfWhatTakesNoWork(t *testing.T) {
	half := device.Partition{Profile: "half", Count: 2, Memory: 40 << 30, Share: 500}
	l := newLab().node("a", 1, half).node("b", 1, half)
	l.job("lab", "stuck", "a", "gpu-0-half-1").Spec.Accelerators.Share = true
	for i := range l.Slices[1].Spec.Devices {
		l.Slices[1].Spec.Devices[i].Taints = []resourcev1.DeviceTaint{{Key: "ill", Effect: resourcev1.DeviceTaintEffectNoSchedule}}
	}
	c := l.take(Config{})
	if got := free(c); got != "a 0, b 1000" || len(c.Work) != 1 || !OutOfUse(c.Snapshot.Nodes[0].Devices[0].Model) {
		t.Fatalf("free is %s, work %+v", got, c.Work)
	}
	b, err := sched.NewBoard(c.Snapshot, sched.Config{Policy: "fgd"})
	if err != nil {
		t.Fatal(err)
	}
	w := c.Work[0]
	if err := b.Release(w.Request, w.Decision); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, no, err := b.Decide(w.Request)
		if err != nil || d == nil || d.Node != "b" {
			t.Fatalf("it would go to %+v: %v %v", d, no, err)
		}
		if err := b.Place(w.Request, *d); err != nil {
			t.Fatal(err)
		}
	}
	if d, _, _ := b.Decide(w.Request); d != nil {
		t.Errorf("a third would go to %+v", d)
	}
}

// TestAPlanOfACensus empties a node of two jobs, for one that waits for all of it.
func TestAPlanOfACensus(t *testing.T) {
	l := newLab().node("a", 2).node("b", 2)
	l.job("lab", "one", "a", "gpu-0")
	l.job("lab", "two", "b", "gpu-1")
	big := l.job("lab", "big", "")
	big.Status.State, big.Spec.Accelerators.Count = v1alpha1.StatePending, 2
	c := l.take(Config{})
	p, err := defrag.Make(c.Snapshot, c.Work, defrag.Config{Policy: "fgd", Workload: c.Workload()})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Moves) != 1 || p.After.Fragmented >= p.Before.Fragmented || p.After.Room[1].Requests != 1 {
		t.Errorf("%+v", p)
	}
}

// TestWhatWaitsIsHalfOfWhatIsExpected, however much runs.
func TestWhatWaitsIsHalfOfWhatIsExpected(t *testing.T) {
	one, two, eight := sched.Request{Count: 1, Share: sched.Whole}, sched.Request{Count: 2, Share: sched.Whole}, sched.Request{Count: 8, Share: sched.Whole}
	c := Census{Running: []sched.Request{one, one, one, two}, Waiting: []sched.Request{eight, two}}
	got := map[int]int64{}
	w := c.Workload()
	for _, k := range w.Kinds {
		got[k.Request.Count] = k.Weight
	}
	if d := cmp.Diff(map[int]int64{1: 6, 2: 2 + 4, 8: 4}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := w.Check(); err != nil {
		t.Error(err)
	}
	if w := (&Census{Running: []sched.Request{one}}).Workload(); len(w.Kinds) != 1 || w.Kinds[0].Weight != 1 {
		t.Errorf("with nothing that waits: %+v", w)
	}
}

// TestProcessorsAreNoRoom, though our driver publishes them.
func TestProcessorsAreNoRoom(t *testing.T) {
	l := newLab().node("a", 1).node("b", 0)
	cpu := device.Device{Name: "cpu-0", UUID: "c", Kind: device.CPU, Vendor: "intel", Product: "Xeon", Form: device.Whole, Software: "cpu", Memory: 8 << 30}
	l.Slices = append(l.Slices, resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{Driver: profile.Domain, NodeName: &l.Nodes[1].Name,
		Devices: profile.Pool([]device.Device{cpu}, false)[0].Devices, Pool: resourcev1.ResourcePool{Name: "b", ResourceSliceCount: 1}}})
	l.job("lab", "j", "b", "cpu-0")
	c := l.take(Config{})
	if got := free(c); got != "a 1000, b" || !strings.Contains(c.Stays["lab/j"], "accelerators") {
		t.Errorf("free is %s, and it stays: %v", got, c.Stays)
	}
}

// TestPartsMayGoToOtherDevicesOfTheirNode, also where a volume keeps the job there; whole
// devices, and those of a driver that does not say which is which, may not.
func TestPartsMayGoToOtherDevicesOfTheirNode(t *testing.T) {
	half := device.Partition{Profile: "half", Count: 2, Memory: 40 << 30, Share: 500}
	parts := func(devices int) *lab {
		l := newLab().node("a", devices, half).node("b", 2, half)
		l.job("lab", "j", "a", "gpu-0-half-1").Spec.Accelerators.Share = true
		l.volume("a")
		return l
	}
	whole := newLab().node("a", 2).node("b", 2)
	whole.job("lab", "j", "a", "gpu-0")
	whole.volume("a")
	foreign := parts(2)
	for i := range foreign.Slices {
		foreign.Slices[i].Spec.Driver = "gpu.example.com"
	}
	for i := range foreign.Claims {
		foreign.Claims[i].Status.Allocation.Devices.Results[0].Driver = "gpu.example.com"
	}
	for name, tc := range map[string]struct {
		lab  *lab
		want bool
	}{"halves": {parts(2), true}, "of the only device": {parts(1), false}, "whole devices": {whole, false}, "another driver's": {foreign, false}} {
		c := tc.lab.take(Config{})
		if len(c.Work) != 1 {
			t.Fatalf("%s: work is %+v, and stays: %v", name, c.Work, c.Stays)
		}
		w := c.Work[0]
		if w.Movable != tc.want || w.Within != tc.want || w.May("b") || (c.Stays["lab/j"] == "") != tc.want {
			t.Errorf("%s: %+v, and stays: %v", name, w, c.Stays)
		}
	}
	l := parts(2)
	l.job("lab", "k", "a", "gpu-1-half-0").Spec.Accelerators.Share = true
	l.VolumeClaims = append(l.VolumeClaims, *l.VolumeClaims[0].DeepCopy())
	l.VolumeClaims[1].Name, l.VolumeClaims[1].Labels = "train-k", map[string]string{v1alpha1.LabelTrainJob: "k"}
	c := l.take(Config{})
	p, err := defrag.Make(c.Snapshot, c.Work, defrag.Config{Policy: "polder", Workload: sched.Typical([]sched.Request{{Count: 1, Share: sched.Whole}})})
	if err != nil || len(p.Moves) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	from, _ := c.UUIDs(p.Moves[0].From)
	to, ok := c.UUIDs(p.Moves[0].To)
	want := map[string]string{"a-0/half/1": "a-1/half/1", "a-1/half/0": "a-0/half/0"}
	if len(from) != 1 || !ok || to[0] != want[from[0]] {
		t.Errorf("from %v to %v; the other half of the other device is free: %v", from, to, want)
	}
}

// fabric has some devices of a node be joined.
func (l *lab) fabric(node, name string, devices ...string) {
	for i := range l.Slices {
		for k := range l.Slices[i].Spec.Devices {
			if d := &l.Slices[i].Spec.Devices[k]; *l.Slices[i].Spec.NodeName == node && slices.Contains(devices, d.Name) {
				d.Attributes[profile.AttrFabricDomain] = resourcev1.DeviceAttribute{StringValue: &name}
			}
		}
	}
}

// TestDevicesOfOneFabricGoToOneFabric: the room on the other node must be of one, too.
func TestDevicesOfOneFabricGoToOneFabric(t *testing.T) {
	for name, tc := range map[string]struct {
		joined []string // on the other node
		want   []int
	}{"in pairs": {[]string{"gpu-2", "gpu-3"}, []int{2, 3}}, "the wrong ones": {[]string{"gpu-1", "gpu-2"}, nil}} {
		l := newLab().node("a", 4).node("b", 4)
		l.fabric("a", "f0", "gpu-0", "gpu-1", "gpu-2", "gpu-3")
		l.fabric("b", "f1", tc.joined...)
		l.job("lab", "j", "a", "gpu-0", "gpu-1").Spec.Accelerators.SameFabric = true
		l.job("lab", "x", "b", "gpu-1").Status.Progress = nil
		c := l.take(Config{})
		if c.Stays["lab/j"] != "" || c.Work[0].Request.Together == "" {
			t.Fatalf("%s: work is %+v, and stays: %v", name, c.Work, c.Stays)
		}
		p, err := defrag.Make(c.Snapshot, c.Work, defrag.Config{Policy: "polder", Workload: sched.Typical([]sched.Request{{Count: 4, Share: sched.Whole}})})
		if err != nil || len(p.Moves) != len(tc.want)/2 {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
		if len(p.Moves) == 1 && !slices.Equal(p.Moves[0].To.Devices, tc.want) {
			t.Errorf("%s: it goes to %v of node b, want %v", name, p.Moves[0].To.Devices, tc.want)
		}
	}
}
