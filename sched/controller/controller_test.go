package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

var began = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

// cloud is a fake API server with a controller, and the test plays everybody else.
type cloud struct {
	t      *testing.T
	client client.WithWatch
	clock  *clocktesting.FakePassiveClock
	c      *Controller
	events *events.FakeRecorder
	mu     sync.Mutex
	writes int
	refuse func(client.Object) error
	uids   int
}

func newCloud(t *testing.T, objects ...client.Object) *cloud {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, clock: clocktesting.NewFakePassiveClock(began), events: events.NewFakeRecorder(1000)}
	c.client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.TrainJob{}, &v1alpha1.Queue{}).WithIndex(&v1alpha1.TrainJob{}, Unfinished, unfinished).WithIndex(&v1alpha1.TrainJob{}, Measured, measured).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, to client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if c.refuse != nil {
					if err := c.refuse(o); err != nil {
						return err
					}
				}
				c.mu.Lock()
				c.writes++
				c.mu.Unlock()
				return to.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	c.restart()
	return c
}

func (c *cloud) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// restart gives the cloud a controller that remembers nothing.
func (c *cloud) restart() {
	c.t.Helper()
	var err error
	c.c, err = New(slog.New(slog.DiscardHandler), Deps{
		Client: c.client, Held: c.client, Judge: named{}, Events: c.events, Clock: c.clock, Metrics: prometheus.NewRegistry(),
	})
	c.must(err)
}

// look lets a minute pass and the controller decide.
func (c *cloud) look() {
	c.t.Helper()
	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	if _, err := c.c.Reconcile(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) submit(jobs ...*v1alpha1.TrainJob) {
	c.t.Helper()
	for _, j := range jobs {
		c.uids++
		j.UID, j.CreationTimestamp = types.UID(fmt.Sprint("uid-", c.uids)), metav1.NewTime(c.clock.Now().Add(time.Duration(c.uids)*time.Second))
		c.must(c.client.Create(c.t.Context(), j))
	}
}

func (c *cloud) job(name string) *v1alpha1.TrainJob {
	c.t.Helper()
	var j v1alpha1.TrainJob
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, &j))
	return &j
}

func (c *cloud) queue(name string) *v1alpha1.Queue {
	c.t.Helper()
	var q v1alpha1.Queue
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Name: name}, &q))
	return &q
}

// stands checks what a job was told.
func (c *cloud) stands(name string, admitted bool, reason, says string) {
	c.t.Helper()
	q := c.job(name).Status.Queue
	if q == nil || q.Admitted != admitted || q.Reason != reason || !strings.Contains(q.Message, says) {
		c.t.Errorf("job %s stands at %+v; want admitted %v, reason %s, a message with %q", name, q, admitted, reason, says)
	}
}

// starts plays the trainer and the kubelet: a worker of the job runs.
func (c *cloud) starts(job string) {
	c.t.Helper()
	c.must(c.client.Create(c.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: job + "-0-0", UID: types.UID("pod-" + job), Labels: map[string]string{v1alpha1.LabelTrainJob: job}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}))
}

// stops plays them at its end.
func (c *cloud) stops(job string) {
	c.t.Helper()
	c.must(c.client.Delete(c.t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: job + "-0-0"}}))
}

// ends turns a job into one that has ended.
func (c *cloud) ends(job string) {
	c.t.Helper()
	j := c.job(job)
	j.Status.State = v1alpha1.StateSucceeded
	c.must(c.client.Status().Update(c.t.Context(), j))
}

func q(name, parent string, quotas ...v1alpha1.QueueQuota) *v1alpha1.Queue {
	return &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 2}, Spec: v1alpha1.QueueSpec{Parent: parent, Weight: 1, Quotas: quotas}}
}

func gpus(n string) v1alpha1.QueueQuota {
	return v1alpha1.QueueQuota{Kind: "gpu", Nominal: resource.MustParse(n)}
}

// lab is a namespace, two queues for it below one, and a machine with eight GPUs.
func lab() []client.Object {
	root := q("lab", "", gpus("8"))
	root.Spec.Namespaces = []string{"lab"}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}, root, q("vision", "lab", gpus("4")), q("speech", "lab", gpus("4")),
		&v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "pytorch"}, Spec: v1alpha1.RuntimeSpec{Variants: []v1alpha1.RuntimeVariant{{Software: "cpu"}, {Software: "cuda"}}}},
		machine("one", 8, false),
	}
}

// machine publishes n H100s, whole and, if split, in sevenths.
func machine(name string, n int, split bool) *resourcev1.ResourceSlice {
	var devices []device.Device
	for i := range n {
		d := device.Device{Name: fmt.Sprintf("gpu-%d", i), Vendor: "nvidia", Kind: device.GPU, Product: "NVIDIA H100 80GB HBM3", Memory: 80 << 30, Software: "cuda", Form: device.Whole}
		if split {
			d.Partitions = []device.Partition{{Profile: "1g.10gb", Count: 7, Memory: 10 << 30, Share: 143}, {Profile: "7g.80gb", Count: 1, Memory: 79 << 30, Share: 1000}}
		}
		devices = append(devices, d)
	}
	out := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceSliceSpec{
		Driver: profile.Domain, NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, Generation: 1, ResourceSliceCount: 1},
	}}
	for _, s := range profile.Pool(devices, split) {
		out.Spec.Devices = append(out.Spec.Devices, s.Devices...)
	}
	return out
}

func train(name, queue string, count int32) *v1alpha1.TrainJob {
	return &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: v1alpha1.TrainJobSpec{
		Runtime: "pytorch", Queue: queue, Workers: 1, Accelerators: v1alpha1.Accelerators{Count: count, Kinds: []string{"gpu"}},
	}}
}

func TestJobsAreAdmittedAndMakeRoom(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("a", "vision", 4), train("b", "vision", 2), train("c", "vision", 4))
	c.look()
	c.stands("a", true, reasonAdmitted, "admitted by queue vision for NVIDIA H100 80GB HBM3")
	c.stands("b", true, reasonAdmitted, "borrows")
	c.stands("c", false, "QuotaExceeded", "it needs 4 GPUs; its queue vision uses 6 of its own 4, and of the 8 that queue lab shares out 6 are in use or kept: 2 too few")
	if got := c.job("a").Status.Queue; got.Software != "cuda" || got.Time == nil {
		t.Errorf("admission %+v", got)
	}
	c.starts("a")
	c.starts("b")

	c.submit(train("own", "speech", 4))
	c.restart() // which must not matter
	c.look()
	c.stands("b", false, reasonPreempted, "queue vision had borrowed what queue speech needs now")
	c.stands("own", false, reasonReserved, "(1 to go)")
	c.restart()
	c.look()
	c.stands("own", false, reasonReserved, "(1 to go)")
	c.stands("b", false, reasonPreempted, "had borrowed")
	c.stops("b")
	c.look()
	c.stands("own", true, reasonAdmitted, "admitted by queue speech")
	c.stands("b", false, "QuotaExceeded", "it needs 2 GPUs")
	want := []v1alpha1.QueueUsage{{Of: "GPUs", Nominal: "4", Used: "4"}}
	if s := c.queue("vision").Status; s.Pending != 2 || s.Admitted != 1 || s.Share != "0.5000" || cmp.Diff(want, s.Usage) != "" {
		t.Errorf("status %+v", s)
	}

	m := c.c.meters
	for name, got := range map[string]float64{
		"pending":  testutil.ToFloat64(m.pending.WithLabelValues("vision")) - 2,
		"admitted": testutil.ToFloat64(m.admitted.WithLabelValues("vision")) - 1,
		"used":     testutil.ToFloat64(m.used.WithLabelValues("vision", "GPUs")) - 4,
		"nominal":  testutil.ToFloat64(m.nominal.WithLabelValues("lab", "GPUs")) - 8,
		"waits":    float64(testutil.CollectAndCount(m.wait)) - 1, // since the restart, of speech
	} {
		if got != 0 {
			t.Errorf("the metric of %s is off by %v", name, got)
		}
	}

	writes := c.writes
	c.restart()
	c.look()
	if c.writes-writes > 3 { // of the share that each queue had, and no more
		t.Errorf("nothing happened, and %d things were written", c.writes-writes)
	}
	c.ends("a")
	c.look()
	c.stands("b", true, reasonAdmitted, "admitted")
	c.stands("c", false, "QuotaExceeded", "2 too few")
}

// TestTheSameRoomIsNotGivenTwice though the cache does not show yet what was written.
func TestTheSameRoomIsNotGivenTwice(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("a", "vision", 8))
	c.look()
	stale := c.job("a")
	stale.Status.Queue = nil
	c.must(c.client.Status().Update(t.Context(), stale))
	urgent := train("urgent", "vision", 8)
	urgent.Spec.Priority = 100
	vision := c.queue("vision")
	vision.Spec.Preempt.Within = "Never"
	c.must(c.client.Update(t.Context(), vision))
	c.submit(urgent)
	c.look()
	c.stands("urgent", false, "QuotaExceeded", "8 too few")
}

// TestNobodyStartsInPlaceOfWhoIsNotTold to end.
func TestNobodyStartsInPlaceOfWhoIsNotTold(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("a", "vision", 8))
	c.look()
	c.starts("a")
	c.submit(train("own", "speech", 4))
	c.refuse = func(o client.Object) error {
		if o.GetName() == "a" {
			return errors.New("the server is down")
		}
		return nil
	}
	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	if _, err := c.c.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "what queue vision decided of train job lab/a: the server is down") {
		t.Errorf("error %v", err)
	}
	if s := c.job("own").Status.Queue; s != nil && s.Admitted {
		t.Errorf("own was told %+v", s)
	}
	c.refuse = nil
	c.look()
	c.stands("a", false, reasonPreempted, "")
	c.stands("own", false, reasonReserved, "")
}

func TestWhatCannotWaitIsTold(t *testing.T) {
	other := q("other", "", gpus("1"))
	other.Spec.Namespaces = []string{"somebody"}
	circle := []client.Object{q("x", "y"), q("y", "x"), q("z", "x")}
	speeds := q("fast", "lab", gpus("0"))
	speeds.Spec.Speeds = []v1alpha1.QueueSpeed{{Product: "p", Speed: "2"}}
	c := newCloud(t, append(append(lab(), other, speeds), circle...)...)
	huge := train("huge", "vision", 4)
	huge.Spec.Workers = 3
	npu := train("npu", "vision", 1)
	npu.Spec.Accelerators.Kinds = []string{"npu"}
	c.submit(train("unknown", "nobody", 1), train("foreign", "other", 1), train("inner", "lab", 1), huge, npu, train("circle", "z", 1), train("good", "vision", 1), train("free", "", 1))
	c.look()
	c.stands("unknown", false, reasonUnknown, `spec.queue "nobody" is not a queue of this cloud`)
	c.stands("foreign", false, reasonNotAllowed, `spec.queue "other" takes no jobs of namespace lab`)
	c.stands("inner", false, reasonRefused, `spec.queue "lab" has queues below it: name one of these: speech, vision`)
	c.stands("huge", false, "TooLarge", "spec.workers and spec.accelerators ask for 12 GPUs together in queue vision, and queue lab has 8 of its own")
	c.stands("npu", false, reasonRefused, "spec.accelerators asks for NPUs for cpu or cuda, which this cloud does not have")
	c.stands("circle", false, reasonNotAllowed, "")
	c.stands("good", true, reasonAdmitted, "")
	if s := c.job("free").Status.Queue; s != nil {
		t.Errorf("a job that names no queue was told %+v", s)
	}
	for name, says := range map[string]string{
		"x": "spec.parent makes a circle: x is below y is below x", "y": "makes a circle", "z": "queue x above it is not ready",
		"fast": "spec.speeds may only stand in a root", "lab": "jobs are admitted",
	} {
		cond := apimeta.FindStatusCondition(c.queue(name).Status.Conditions, v1alpha1.ConditionReady)
		if cond == nil || !strings.Contains(cond.Message, says) || cond.ObservedGeneration != 2 || (cond.Status == metav1.ConditionTrue) != (name == "lab") {
			t.Errorf("queue %s: %+v, want a message with %q", name, cond, says)
		}
	}
}

// TestTheNamespacesQueue: jobs that name none wait in it, and what ran before is left
// alone and counts.
func TestTheNamespacesQueue(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("before", "", 8))
	c.starts("before")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab", Labels: map[string]string{v1alpha1.LabelQueue: "vision"}}}
	c.must(c.client.Update(t.Context(), ns))
	c.submit(train("after", "", 1))
	c.look()
	c.stands("before", true, reasonAdmitted, "it ran before it was in queue vision")
	c.stands("after", false, "QuotaExceeded", "1 too few")
}

// TestAQueueThatBreaksStopsNothing: what runs goes on, and starts nothing new.
func TestAQueueThatBreaksStopsNothing(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("runs", "vision", 4))
	c.look()
	vision := c.queue("vision")
	vision.Spec.Parent = "nobody"
	vision.Spec.Namespaces = []string{"*"}
	c.must(c.client.Update(t.Context(), vision))
	c.submit(train("new", "vision", 1))
	c.look()
	c.stands("runs", true, reasonAdmitted, "admitted")
	c.stands("new", false, reasonNotReady, `queue vision is not ready: spec.parent is "nobody", which is no queue`)
}

// TestPartsCount: seven sevenths of one H100 are one GPU, and devices that work without
// a queue has are not there for others.
func TestPartsCount(t *testing.T) {
	objects := lab()
	objects[len(objects)-1] = machine("one", 2, true)
	claimed := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "other"}}
	claimed.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{{Driver: profile.Domain, Pool: "one", Device: "gpu-1"}}}}
	c := newCloud(t, append(objects, claimed)...)
	for i := range 9 {
		j := train(fmt.Sprint("part", i), "vision", 1)
		j.Spec.Accelerators.Share, j.Spec.Accelerators.Memory = true, ptr.To(resource.MustParse("8Gi"))
		c.submit(j)
	}
	c.look()
	n := 0
	for i := range 9 {
		if c.job(fmt.Sprint("part", i)).Status.Queue.Admitted {
			n++
		}
	}
	if n != 7 {
		t.Errorf("%d sevenths are admitted on one free H100", n)
	}
	c.stands("part8", false, "CapacityExceeded", "and the cloud has 1 in all")
}

// TestWordsAreWrittenSeldom: with other numbers in it, a reason is told every half a
// minute and not with every job that starts or ends.
func TestWordsAreWrittenSeldom(t *testing.T) {
	c := newCloud(t, lab()...)
	c.submit(train("a", "vision", 3), train("b", "vision", 3), train("waits", "vision", 7))
	c.look()
	c.stands("waits", false, "QuotaExceeded", "5 too few")
	c.ends("b")
	c.clock.SetTime(c.clock.Now().Add(time.Second))
	if _, err := c.c.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stands("waits", false, "QuotaExceeded", "5 too few")
	c.look()
	c.stands("waits", false, "QuotaExceeded", "2 too few")
	writes := c.writes
	if res, err := c.c.Reconcile(t.Context()); err != nil || res.RequeueAfter != paceMin || c.writes != writes {
		t.Errorf("two decisions at once: %v, %v, %d writes", res, err, c.writes-writes)
	}
}

func TestRolesAreWellFormed(t *testing.T) {
	for _, text := range strings.Split(string(RBAC), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(text), &role); err != nil || role.Name != "polder:queue" {
			t.Errorf("%v: %s", err, text)
		}
	}
}
