package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/utils/ptr"
)

// world is a kube-scheduler with our plugins and an API server in memory.
type world struct {
	*fake.Clientset
	t       testing.TB
	devices *watched // of the scheduler that runs
}

// watched notes which placements gangs are given, in the order of the attempts.
type watched struct {
	*Devices
	mu    sync.Mutex
	given map[string][]string // by gang; those of an attempt with spaces between
}

func (d *watched) GeneratePlacements(ctx context.Context, state fwk.PodGroupCycleState, group fwk.PodGroupInfo, parent *fwk.Placement) (*fwk.GeneratePlacementsResult, *fwk.Status) {
	result, status := d.Devices.GeneratePlacements(ctx, state, group, parent)
	if result != nil {
		var names []string
		for _, p := range result.Placements {
			names = append(names, p.Name)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.given[group.GetName()] = append(d.given[group.GetName()], strings.Join(names, " "))
	}
	return result, status
}

// attempts is what a gang was given so far.
func (w *world) attempts(gang string) []string {
	w.devices.mu.Lock()
	defer w.devices.mu.Unlock()
	return slices.Clone(w.devices.given[gang])
}

// patience is how long a test waits for what the scheduler does at once.
const patience = time.Minute

func empty(t testing.TB) *world {
	w := &world{Clientset: fake.NewClientset(), t: t}
	w.PrependReactor("*", "*", numbered())
	w.PrependReactor("create", "pods", w.bind)
	return w
}

// start runs a scheduler with the profile that the cloud's configuration gets.
func start(t *testing.T, c Config, objects ...runtime.Object) *world {
	t.Helper()
	w := empty(t)
	for _, o := range objects {
		w.create(o)
	}
	t.Cleanup(w.schedule(c))
	return w
}

// schedule runs a scheduler until the returned function is called.
func (w *world) schedule(c Config) (stop func()) {
	t := w.t
	t.Helper()
	object, _, err := scheme.Codecs.UniversalDecoder().Decode([]byte("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"+Profile(corev1.DefaultSchedulerName, c.Policy)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	registry := frameworkruntime.Registry{}
	for _, o := range Options(c) {
		if err := o(registry); err != nil {
			t.Fatal(err)
		}
	}
	if devices := registry[NameDevices]; devices != nil {
		registry[NameDevices] = func(ctx context.Context, o runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
			p, err := devices(ctx, o, h)
			if err != nil {
				return nil, err
			}
			w.devices = &watched{Devices: p.(*Devices), given: map[string][]string{}}
			return w.devices, nil
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	client, die := w.life()
	informers := scheduler.NewInformerFactory(client, 0, nil)
	s, err := scheduler.New(ctx, client, informers, nil, func(string) events.EventRecorderLogger { return &events.FakeRecorder{} },
		scheduler.WithProfiles(object.(*config.KubeSchedulerConfiguration).Profiles...), scheduler.WithFrameworkOutOfTreeRegistry(registry))
	if err != nil {
		t.Fatal(err)
	}
	informers.Start(ctx.Done())
	informers.WaitForCacheSync(ctx.Done())
	if err := s.WaitForHandlersSync(ctx); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { s.Run(ctx) })
	return func() {
		die()
		cancel()
		done.Wait()
		informers.Shutdown()
	}
}

// life is what one scheduler has of the API server. After die nothing of it arrives: a
// scheduler that is stopped has goroutines that go on for a while, as a process that was
// killed has not.
func (w *world) life() (c *fake.Clientset, die func()) {
	var mu sync.RWMutex
	dead := false
	c = &fake.Clientset{}
	c.AddReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.RLock()
		defer mu.RUnlock()
		if dead {
			return true, nil, errors.New("the scheduler is dead")
		}
		o, err := w.Invokes(a, nil)
		return true, o, err
	})
	c.AddWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		events, err := w.InvokesWatch(a)
		return true, events, err
	})
	return c, func() {
		mu.Lock()
		defer mu.Unlock()
		dead = true
	}
}

// numbered gives objects what the API server does: a UID and a version that rises.
func numbered() clienttesting.ReactionFunc {
	var mu sync.Mutex
	n := 0
	return func(a clienttesting.Action) (bool, runtime.Object, error) {
		c, ok := a.(clienttesting.CreateAction) // an update is one, too
		if !ok || a.GetVerb() != "create" && a.GetVerb() != "update" {
			return false, nil, nil
		}
		m, err := meta.Accessor(c.GetObject())
		if err != nil {
			return false, nil, nil //nolint:nilerr // something without metadata
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		m.SetResourceVersion(strconv.Itoa(n))
		if m.GetUID() == "" {
			m.SetUID(types.UID("uid-" + strconv.Itoa(n)))
		}
		return false, nil, nil
	}
}

// bind puts a pod on its node, once.
func (w *world) bind(a clienttesting.Action) (bool, runtime.Object, error) {
	if a.GetSubresource() != "binding" {
		return false, nil, nil
	}
	b := a.(clienttesting.CreateAction).GetObject().(*corev1.Binding)
	o, err := w.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), b.Namespace, b.Name)
	if err != nil {
		return true, nil, err
	}
	p := o.(*corev1.Pod).DeepCopy()
	if p.Spec.NodeName != "" || b.UID != "" && b.UID != p.UID {
		return true, nil, apierrors.NewConflict(corev1.Resource("pods"), p.Name, fmt.Errorf("it is another, or on node %s already", p.Spec.NodeName))
	}
	p.Spec.NodeName, p.ResourceVersion = b.Target.Name, p.ResourceVersion+"0" // rises, and is nobody else's
	return true, b, w.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), p, b.Namespace)
}

func (w *world) create(o runtime.Object) {
	w.t.Helper()
	ctx, opts := w.t.Context(), metav1.CreateOptions{}
	var err error
	switch o := o.(type) {
	case *corev1.Node:
		_, err = w.CoreV1().Nodes().Create(ctx, o, opts)
	case *corev1.Pod:
		_, err = w.CoreV1().Pods(o.Namespace).Create(ctx, o, opts)
	case *resourcev1.DeviceClass:
		_, err = w.ResourceV1().DeviceClasses().Create(ctx, o, opts)
	case *resourcev1.ResourceSlice:
		_, err = w.ResourceV1().ResourceSlices().Create(ctx, o, opts)
	case *resourcev1.ResourceClaim:
		_, err = w.ResourceV1().ResourceClaims(o.Namespace).Create(ctx, o, opts)
	default:
		err = fmt.Errorf("what is a %T", o)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// place creates a claim, if it asks for something, and its pod, and returns the node and
// devices that they get: "a: d0 d1".
func (w *world) place(name string, c *resourcev1.ResourceClaim, change ...func(*corev1.Pod)) string {
	w.t.Helper()
	w.submit(name, c, change...)
	return w.wait(name, func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
}

// submit creates a claim, if it asks for something, and its pod.
func (w *world) submit(name string, c *resourcev1.ResourceClaim, change ...func(*corev1.Pod)) {
	w.t.Helper()
	p := pod(name)
	if c != nil {
		c.Namespace, c.Name = p.Namespace, name
		w.create(c)
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c", ResourceClaimName: &name}}
	}
	for _, f := range change {
		f(p)
	}
	w.create(p)
}

// wait until the pod is as it should be.
func (w *world) wait(name string, right func(*corev1.Pod) bool) string {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		p, err := w.CoreV1().Pods("default").Get(w.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		if right(p) {
			return w.where(p)
		}
		if time.Now().After(end) {
			w.t.Fatalf("pod %s: %+v\ngangs: %s", name, p.Status.Conditions, w.groups())
		}
	}
}

func (w *world) claims() []resourcev1.ResourceClaim {
	w.t.Helper()
	list, err := w.ResourceV1().ResourceClaims("default").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// groups is what the scheduler says of gangs.
func (w *world) groups() string {
	list, err := w.SchedulingV1beta1().PodGroups("default").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, g := range list.Items {
		for _, c := range g.Status.Conditions {
			out = append(out, g.Name+": "+c.Message)
		}
	}
	return strings.Join(out, "\n")
}

func (w *world) where(p *corev1.Pod) string {
	w.t.Helper()
	parts := []string{p.Spec.NodeName + ":"}
	for _, pc := range p.Spec.ResourceClaims {
		c, err := w.ResourceV1().ResourceClaims(p.Namespace).Get(w.t.Context(), *pc.ResourceClaimName, metav1.GetOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		if c.Status.Allocation == nil {
			continue
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			if r.Pool != p.Spec.NodeName {
				w.t.Errorf("pod %s on %s has a device of %s", p.Name, p.Spec.NodeName, r.Pool)
			}
			parts = append(parts, r.Device)
		}
	}
	return strings.Join(parts, " ")
}

const driver = "driver.test"

var anyDevice = &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "any", UID: "any"}}

func node(name string, cores int64) *corev1.Node {
	amount := corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(cores, resource.DecimalSI), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("110")}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}, Status: corev1.NodeStatus{Capacity: amount, Allocatable: amount}}
}

// slice of a node's devices d0, d1 and so on, of these models, that are shared in
// thousandths.
func slice(of string, models ...string) *resourcev1.ResourceSlice {
	s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: of + "-slice"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: driver, NodeName: &of, Pool: resourcev1.ResourcePool{Name: of, ResourceSliceCount: 1}}}
	for i, m := range models {
		uuid := fmt.Sprintf("%s-%d", of, i)
		s.Spec.Devices = append(s.Spec.Devices, resourcev1.Device{
			Name:                     fmt.Sprintf("d%d", i),
			Attributes:               map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"model": {StringValue: &m}, "uuid": {StringValue: &uuid}},
			AllowMultipleAllocations: ptr.To(true),
			Capacity:                 map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{driver + "/milli": {Value: resource.MustParse("1000")}},
		})
	}
	return s
}

// want is a claim of so many devices, and so many thousandths of each, that satisfy
// CEL expressions.
func want(count, share int64, expressions ...string) *resourcev1.ResourceClaim {
	e := &resourcev1.ExactDeviceRequest{DeviceClassName: "any", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: count}
	if share < 1000 {
		e.Capacity = &resourcev1.CapacityRequirements{Requests: map[resourcev1.QualifiedName]resource.Quantity{driver + "/milli": *resource.NewQuantity(share, resource.DecimalSI)}}
	}
	for _, x := range expressions {
		e.Selectors = append(e.Selectors, resourcev1.DeviceSelector{CEL: &resourcev1.CELDeviceSelector{Expression: x}})
	}
	return &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "r", Exactly: e}}}}}
}

func model(m string) string { return fmt.Sprintf("device.attributes[%q].model == %q", driver, m) }

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{
		SchedulerName: "default-scheduler",
		Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")}}}},
	}}
}

func port(p *corev1.Pod) {
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, ContainerPort: 80, Protocol: corev1.ProtocolTCP}}
}
