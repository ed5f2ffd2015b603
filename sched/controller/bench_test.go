package controller

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
)

// BenchmarkDecide is one decision, from the objects to what is written, with jobs in 100
// queues on 1,000 machines of eight devices, which have been sorted before.
func BenchmarkDecide(b *testing.B) {
	for _, jobs := range []int{1_000, 15_000} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			w := &world{
				now: began, runtimes: map[string]*v1alpha1.Runtime{}, spaces: map[string]*corev1.Namespace{},
				pods: map[types.UID]string{}, live: map[string]bool{}, past: map[string]past{},
			}
			root := q("root", "", gpus("8000"))
			root.Spec.Namespaces = []string{"*"}
			w.queues = append(w.queues, *root)
			for i := range 100 {
				w.queues = append(w.queues, *q(fmt.Sprintf("q%02d", i), "root", gpus("80")))
			}
			var devices []resourcev1.ResourceSlice
			for i := range 1000 {
				devices = append(devices, *machine(fmt.Sprint("m", i), 8, false))
			}
			for i := range jobs {
				j := train(fmt.Sprintf("j%05d", i), fmt.Sprintf("q%02d", i%100), int32(1+i%8))
				j.CreationTimestamp = metav1.NewTime(began.Add(time.Duration(i) * time.Second))
				w.items = append(w.items, w.trainItem(j))
			}
			w.devicesBy = sorted(claim.Offers(devices, nil))
			for b.Loop() {
				d := decide(w)
				if n := len(d.starts) + len(d.waiting) + len(d.words); n != jobs {
					b.Fatalf("%d verdicts", n)
				}
			}
		})
	}
}
