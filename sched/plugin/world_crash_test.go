package plugin

import (
	"fmt"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"math/rand"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNoDeviceIsGivenOutTwice: schedulers die in the middle of their work, and others go
// on. Whatever the moment, no device has more takers than room, every pod that has a
// node has its devices there, and in the end nobody waits who could run.
func TestNoDeviceIsGivenOutTwice(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewSource(seed))
	w := empty(t)
	w.create(anyDevice)
	for i := range 6 {
		name := fmt.Sprint("n", i)
		w.create(node(name, 64))
		w.create(slice(name, "T4", "T4", "T4", "T4"))
	}
	const lives, perLife = 4, 12 // 48 pods of 333 at most on 24 devices: all fit
	for life := range lives {
		for i := range perLife {
			w.submit(fmt.Sprintf("p%d-%d", life, i), want(1, 1+draw.Int63n(333)))
		}
		stop := w.schedule(Config{Policy: "polder"})
		time.Sleep(time.Duration(draw.Intn(30)) * time.Millisecond) // the moment of death
		stop()
		w.overcommitted()
	}
	t.Cleanup(w.schedule(Config{Policy: "polder"}))
	for life := range lives {
		for i := range perLife {
			w.wait(fmt.Sprintf("p%d-%d", life, i), func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
		}
	}
	w.overcommitted()
}

// deallocate has claims that nobody reserves give back their devices, as the controller of
// claims does.
func (w *world) deallocate() {
	w.t.Helper()
	list := w.claims()
	for i := range list {
		c := &list[i]
		if c.Status.Allocation == nil || len(c.Status.ReservedFor) > 0 {
			continue
		}
		p, err := w.CoreV1().Pods("default").Get(w.t.Context(), c.Name, metav1.GetOptions{})
		if err == nil && placed(p) {
			w.t.Fatalf("pod %s is on node %s and has given up its claim", p.Name, p.Spec.NodeName)
		}
		w.release("default", c.Name)
	}
}

// overcommitted fails the test if a device has too many takers.
func (w *world) overcommitted() {
	w.t.Helper()
	list := w.claims()
	taken := map[string]int64{}
	for i := range list {
		c := &list[i]
		if c.Status.Allocation == nil {
			continue
		}
		if len(c.Status.ReservedFor) > 1 || len(c.Status.ReservedFor) == 1 && c.Status.ReservedFor[0].Name != c.Name {
			w.t.Errorf("claim %s has devices and is reserved for %v", c.Name, c.Status.ReservedFor)
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			q := r.ConsumedCapacity[driver+"/milli"]
			if taken[r.Pool+"/"+r.Device] += q.Value(); taken[r.Pool+"/"+r.Device] > 1000 {
				w.t.Errorf("device %s of %s: %d thousandths are taken", r.Device, r.Pool, taken[r.Pool+"/"+r.Device])
			}
		}
	}
}

// TestNoHalfGang: schedulers die while they place gangs, more of them than there is room
// for. In the end each gang has its place or nothing, as many as can have theirs, and no
// device is held for who has no node.
func TestNoHalfGang(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewSource(seed))
	gates(t, "gangs", "topology")
	w := empty(t)
	w.create(anyDevice)
	for i := range 6 {
		name := fmt.Sprint("n", i)
		w.create(node(name, 64))
		w.create(slice(name, "T4", "T4", "T4", "T4"))
	}
	const gangs, size, room = 12, 3, 24 / 3
	for g := range gangs {
		name := fmt.Sprint("g", g)
		w.group(name, size)
		w.gang(name, size, whole)
		if g%2 == 0 {
			continue
		}
		stop := w.schedule(Config{Policy: "polder"})
		time.Sleep(time.Duration(draw.Intn(40)) * time.Millisecond) // the moment of death
		stop()
		w.overcommitted()
	}
	t.Cleanup(w.schedule(Config{Policy: "polder"}))
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		full, part := 0, ""
		for g := range gangs {
			n := 0
			for i := range size {
				p, err := w.CoreV1().Pods("default").Get(t.Context(), fmt.Sprintf("g%d-%d", g, i), metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if placed(p) {
					n++
				}
			}
			if n == size {
				full++
			} else if n > 0 {
				part = fmt.Sprintf("%d of gang %d are placed", n, g)
			}
		}
		w.deallocate()
		if held := len(w.taken()); full == room && part == "" && held == room*size {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d gangs are placed and %d devices held; %s\n%s", full, held, part, w.groups())
		}
	}
	w.overcommitted()
}

// TestHalfGangGivesUp: a part of a gang has nodes, by a scheduler that died, and there is
// no room for the rest. They give back what they have; another gang gets it.
func TestHalfGangGivesUp(t *testing.T) {
	gates(t, "gangs", "topology")
	w := empty(t)
	w.releases()
	w.create(anyDevice)
	w.create(node("a", 64))
	w.create(slice("a", "T4", "T4"))
	w.group("half", 3)
	w.gang("half", 3, whole)
	for i := range 2 { // one is bound, one has its claim only
		w.allocate(fmt.Sprint("half-", i), "a", fmt.Sprint("d", i))
	}
	w.bindTo("half-0", "a")
	t.Cleanup(w.schedule(Config{Policy: "polder"}))
	w.group("pair", 2)
	w.gang("pair", 2, whole)
	for end := time.Now().Add(patience); len(w.heldBy("pair")) < 2; time.Sleep(10 * time.Millisecond) {
		w.deallocate()
		if time.Now().After(end) {
			t.Fatalf("devices are held by %v\n%s", w.taken(), w.groups())
		}
	}
	if w.there("half-0") || len(w.heldBy("half")) > 0 {
		t.Errorf("the half gang has still got something: %v", w.heldBy("half"))
	}
}

// allocate gives a device to a pod's claim, and the claim to the pod.
func (w *world) allocate(name, pool, device string) {
	w.t.Helper()
	p, err := w.CoreV1().Pods("default").Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.ResourceV1().ResourceClaims("default").Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{{
		Request: "r", Driver: driver, Pool: pool, Device: device, ShareID: ptr.To(types.UID("share-" + name)),
		ConsumedCapacity: map[resourcev1.QualifiedName]resource.Quantity{driver + "/milli": resource.MustParse("1000")}}}}}
	c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: name, UID: p.UID}}
	if _, err := w.ResourceV1().ResourceClaims("default").UpdateStatus(w.t.Context(), c, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) bindTo(name, node string) {
	w.t.Helper()
	b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := w.CoreV1().Pods("default").Bind(w.t.Context(), b, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// heldBy is the claims of a gang that have devices.
func (w *world) heldBy(gang string) []string {
	w.t.Helper()
	list := w.claims()
	var out []string
	for i := range list {
		if c := &list[i]; c.Status.Allocation != nil && strings.HasPrefix(c.Name, gang+"-") {
			out = append(out, c.Name)
		}
	}
	return out
}
