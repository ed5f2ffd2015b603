package controller

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
)

// named is a judge for whom a selector is how a device's name begins.
type named struct{}

func (named) Accepts(o *claim.Offer, selectors []resourcev1.DeviceSelector) (bool, error) {
	for _, s := range selectors {
		if s.CEL.Expression == "broken" {
			return false, errors.New("compiling \"broken\"")
		}
		if !strings.HasPrefix(o.Device.Name, s.CEL.Expression) {
			return false, nil
		}
	}
	return true, nil
}

func selector(prefix string) []resourcev1.DeviceSelector {
	return []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: prefix}}}
}

// wants is a template of a claim of count devices whose names begin so.
func wants(name, prefix string, count int64) *resourcev1.ResourceClaimTemplate {
	return &resourcev1.ResourceClaimTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}, Spec: resourcev1.ResourceClaimTemplateSpec{
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "d", Exactly: &resourcev1.ExactDeviceRequest{
			DeviceClassName: "any", Selectors: selector(prefix), AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: count,
		}}}}},
	}}
}

// shop is the lab with a device class and templates.
func shop(split bool) []client.Object {
	objects := lab()
	objects[len(objects)-1] = machine("one", 8, split)
	return append(objects, &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "any"}, Spec: resourcev1.DeviceClassSpec{ExtendedResourceName: ptr.To("example.com/gpu")}},
		wants("two", "gpu-", 2), wants("none", "fpga-", 1), wants("wrong", "broken", 1))
}

func podSpec(template string) corev1.PodSpec {
	s := corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}}
	if template != "" {
		s.ResourceClaims = []corev1.PodResourceClaim{{Name: "d", ResourceClaimTemplateName: &template}}
	}
	return s
}

// batch is a Job as admission leaves it.
func batch(name, queue, template string, pods int32) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(began), Labels: map[string]string{v1alpha1.LabelQueue: queue}}, Spec: batchv1.JobSpec{
		Suspend: ptr.To(true), Parallelism: &pods, Template: corev1.PodTemplateSpec{Spec: podSpec(template)},
	}}
}

// held checks what a Job or pod was told, and returns it.
func held[T client.Object](c *cloud, o T, name string, admitted bool, reason, says string) T {
	c.t.Helper()
	c.must(c.client.Get(c.t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, o))
	var q v1alpha1.JobQueue
	if err := json.Unmarshal([]byte(o.GetAnnotations()[v1alpha1.AnnotationQueue]), &q); err != nil || q.Admitted != admitted || q.Reason != reason || !strings.Contains(q.Message, says) {
		c.t.Errorf("%s stands at %+v, %v; want admitted %v, reason %s, a message with %q", name, q, err, admitted, reason, says)
	}
	return o
}

func (c *cloud) event() string {
	select {
	case e := <-c.events.Events:
		return e
	default:
		return ""
	}
}

// TestJobsOfKubernetes are suspended until their queue admits them, and again when they
// must make room.
func TestJobsOfKubernetes(t *testing.T) {
	c := newCloud(t, shop(false)...)
	c.must(c.client.Create(t.Context(), batch("first", "vision", "two", 3)))
	c.look()
	j := held(c, &batchv1.Job{}, "first", true, reasonAdmitted, "for NVIDIA H100 80GB HBM3, which the queue borrows")
	if *j.Spec.Suspend {
		t.Error("it is still suspended")
	}
	if e := c.event(); !strings.Contains(e, "Normal Admitted admitted by queue vision") {
		t.Errorf("event %q", e)
	}
	c.must(c.client.Create(t.Context(), batch("second", "vision", "two", 2)))
	c.look()
	if j := held(c, &batchv1.Job{}, "second", false, "QuotaExceeded", "it needs 4 GPUs; its queue vision uses 6"); !*j.Spec.Suspend {
		t.Error("it runs")
	}
	c.restart()

	// The owner of what was borrowed comes, and waits until the pods are gone.
	j.Status.Active = 3
	c.must(c.client.Status().Update(t.Context(), j))
	c.submit(train("own", "speech", 4))
	c.look()
	j = held(c, &batchv1.Job{}, "first", false, reasonPreempted, "queue vision had borrowed what queue speech needs now")
	c.stands("own", false, reasonReserved, "(1 to go)")
	if !*j.Spec.Suspend {
		t.Error("it is not suspended again")
	}
	j.Status.Active, j.Status.Terminating = 0, ptr.To[int32](1)
	c.must(c.client.Status().Update(t.Context(), j))
	c.look()
	c.stands("own", false, reasonReserved, "(1 to go)")
	j.Status.Terminating = nil
	c.must(c.client.Status().Update(t.Context(), j))
	c.look()
	c.stands("own", true, reasonAdmitted, "")
	held(c, &batchv1.Job{}, "second", true, reasonAdmitted, "")
	held(c, &batchv1.Job{}, "first", false, "QuotaExceeded", "it needs 6 GPUs")

	c.must(c.client.Create(t.Context(), batch("huge", "vision", "two", 8)))
	c.look()
	held(c, &batchv1.Job{}, "huge", false, "TooLarge", "its pods and their resource claims ask for 16 GPUs together in queue vision")
}

// TestPodsOfTheirOwn have a gate until their queue admits them, and are deleted when they
// must make room.
func TestPodsOfTheirOwn(t *testing.T) {
	c := newCloud(t, shop(false)...)
	pod := func(name, queue, template string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name, UID: types.UID(name), Labels: map[string]string{v1alpha1.LabelQueue: queue, v1alpha1.LabelPriority: "5"}}, Spec: podSpec(template)}
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "other"}, {Name: v1alpha1.GateQueue}}
		return p
	}
	three := pod("three", "vision", "")
	three.Spec.Containers[0].Resources.Requests["example.com/gpu"] = resource.MustParse("3")
	ofJob := pod("of-job", "vision", "two")
	ofJob.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "j", Controller: ptr.To(true)}}
	for _, p := range []*corev1.Pod{three, pod("two", "vision", "two"), pod("more", "vision", "two"), ofJob} {
		c.must(c.client.Create(t.Context(), p))
	}
	c.look()
	if p := held(c, &corev1.Pod{}, "three", true, reasonAdmitted, "admitted by queue vision"); len(p.Spec.SchedulingGates) != 1 || p.Spec.SchedulingGates[0].Name != "other" {
		t.Errorf("gates %v", p.Spec.SchedulingGates)
	}
	held(c, &corev1.Pod{}, "two", true, reasonAdmitted, "")
	if p := held(c, &corev1.Pod{}, "more", true, reasonAdmitted, ""); p.Labels[v1alpha1.LabelQueue] != "vision" {
		t.Error("its label is gone")
	}
	c.submit(train("own", "speech", 4))
	c.look()
	left := 0
	for _, name := range []string{"three", "two", "more"} {
		err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "lab", Name: name}, &corev1.Pod{})
		if err == nil {
			left++
		} else if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	if left != 1 {
		t.Errorf("%d of three pods are left", left)
	}
	c.look()
	c.stands("own", true, reasonAdmitted, "")
}

// TestWhatCannotBeHeld is told in words of a Job.
func TestWhatCannotBeHeld(t *testing.T) {
	c := newCloud(t, shop(true)...)
	badPriority := batch("priority", "vision", "", 1)
	badPriority.Labels[v1alpha1.LabelPriority] = "high"
	part := batch("part", "vision", "", 1)
	c.must(c.client.Create(t.Context(), wants("part", "gpu-0-1g", 1)))
	part.Spec.Template.Spec = podSpec("part")
	for _, j := range []*batchv1.Job{
		batch("unknown", "nobody", "", 1), batch("inner", "lab", "", 1), batch("absent", "vision", "later", 1), batch("devices", "vision", "none", 1),
		batch("selector", "vision", "wrong", 1), badPriority, part,
	} {
		c.must(c.client.Create(t.Context(), j))
	}
	c.look()
	for name, says := range map[string]string{
		"inner": `the label polder.dev/queue "lab" has queues below it`, "absent": "resource claim template later is not there: create it",
		"devices": "its resource claims ask for devices that this cloud does not have", "selector": "a selector of its resource claims cannot be used: compiling",
		"priority": `the label polder.dev/priority is "high": it must be a whole number`,
	} {
		held(c, &batchv1.Job{}, name, false, reasonRefused, says)
	}
	held(c, &batchv1.Job{}, "unknown", false, reasonUnknown, `the label polder.dev/queue "nobody" is not a queue of this cloud`)
	held(c, &batchv1.Job{}, "part", true, reasonAdmitted, "")
	if s := c.queue("vision").Status; len(s.Usage) != 1 || s.Usage[0].Used != "0.14" {
		t.Errorf("a seventh of a device counts as %+v", s.Usage)
	}
}
