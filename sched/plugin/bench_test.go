package plugin

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkUpstreamGang is the time until a gang that upstream places, pod by pod, is in one
// of 20 zones of 50 nodes with 8 devices each, from when the first of its pods comes. It counts
// the processor time of the whole process, too.
func BenchmarkUpstreamGang(b *testing.B) {
	rather := func(p *corev1.Pod) { // which the board does not know
		p.Labels = map[string]string{"in": "gang"}
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}
	}
	for _, c := range []struct {
		what   string
		pods   int
		taken  int // zones where the gang's port is taken
		change func(*corev1.Pod)
	}{
		{"prefers nodes", 100, 0, rather},
		{"port taken in 10 zones", 25, 10, port},
	} {
		b.Run(fmt.Sprintf("%s/pods=%d", c.what, c.pods), func(b *testing.B) {
			gates(b, "gangs", "topology")
			for b.Loop() {
				b.StopTimer()
				w := empty(b)
				w.create(anyDevice)
				for i := range 1000 {
					name, zone := fmt.Sprintf("n%04d", i), fmt.Sprintf("z%02d", i%20)
					n := node(name, 64)
					n.Labels[corev1.LabelTopologyZone] = zone
					w.create(n)
					w.create(slice(name, slices.Repeat([]string{"T4"}, 8)...))
					if i%20 < c.taken {
						p := pod("web-" + name)
						p.Spec.NodeName = name
						port(p)
						w.create(p)
					}
				}
				w.group("g", int32(c.pods), func(g *schedulingv1beta1.PodGroup) {
					g.Spec.SchedulingConstraints = &schedulingv1beta1.PodGroupSchedulingConstraints{Topology: []schedulingv1beta1.TopologyConstraint{{Key: corev1.LabelTopologyZone}}}
				})
				stop := w.schedule(Config{Policy: "polder"})
				w.place("first", whole()) // it knows all nodes now
				before := busy(b)
				b.StartTimer()
				w.gang("g", c.pods, whole, c.change)
				w.until("g", c.pods, 20*time.Minute)
				b.StopTimer()
				b.ReportMetric((busy(b) - before).Seconds(), "cpu-s/op")
				stop()
				b.StartTimer()
			}
		})
	}
}

// busy is the processor time of this process so far.
func busy(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// until all of a gang have nodes.
func (w *world) until(gang string, n int, patience time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		list, err := w.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		there := 0
		for i := range list.Items {
			if p := &list.Items[i]; p.Spec.SchedulingGroup != nil && *p.Spec.SchedulingGroup.PodGroupName == gang && placed(p) {
				there++
			}
		}
		if there == n {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%d of %d pods of gang %s have a node\n%s", there, n, gang, w.groups())
		}
	}
}
