package plugin

import (
	"fmt"
	"math/rand"
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

// overcommitted fails the test if a device has too many takers.
func (w *world) overcommitted() {
	w.t.Helper()
	list, err := w.ResourceV1().ResourceClaims("default").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	taken := map[string]int64{}
	for i := range list.Items {
		c := &list.Items[i]
		if c.Status.Allocation == nil {
			continue
		}
		if len(c.Status.ReservedFor) != 1 || c.Status.ReservedFor[0].Name != c.Name {
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
