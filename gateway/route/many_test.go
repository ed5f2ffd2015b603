package route

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
)

// Many ask while routes change, records are written and the status is told: nobody gets
// what belongs to another tenant, no budget is passed, and no memory is lost.
func TestManyAtOnce(t *testing.T) {
	w := start(t)
	route := func(generation int64) *v1alpha1.ModelRoute {
		r := cascade("0.5")
		r.Generation = generation
		r.Spec.Cache = &v1alpha1.RouteCache{Seconds: 60, BytesMax: 1 << 16}
		r.Spec.Log = &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: "logs"}}
		r.Spec.Shadow = &v1alpha1.Shadow{Target: "other", Percent: 100}
		r.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "2000"}
		return r
	}
	w.Set(route(1))
	w.services["s"], w.services["l"], w.services["o"] = classifier(t, "s", 0), classifier(t, "l", 0.25), classifier(t, "o", 0)
	stop := w.running()
	var clients, others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() {
		told := map[types.NamespacedName]report{}
		for i := int64(2); ; i++ {
			select {
			case <-done:
				return
			default:
			}
			w.Set(route(i))
			w.pass(time.Second)
			w.tell(t.Context(), told)
			for len(w.journal.queue) > 0 {
				w.journal.take(<-w.journal.queue)
			}
			w.journal.flush(t.Context(), true)
		}
	})
	for client := range 4 {
		tenant := fmt.Sprintf("tenant-%d", client)
		body, h := rows(t, false, float32(client)/8, 1, 1, 2)
		want := []float32{float32(client) / 8, 1}
		if client == 3 { // a margin of 0.25 is not sure
			want[0] += 0.25
		}
		clients.Go(func() {
			for range 100 {
				r := w.do(request{body: body, header: h, tenant: tenant})
				if r.StatusCode == http.StatusTooManyRequests {
					continue
				}
				if r.StatusCode != http.StatusOK {
					t.Errorf("answered %d", r.StatusCode)
					return
				}
				if got := probabilities(t, r); got[0] != want[0] || got[1] != want[1] {
					t.Errorf("%s was answered %v, not %v", tenant, got, want)
					return
				}
			}
		})
	}
	clients.Wait()
	close(done)
	others.Wait()
	stop()
	w.end(t)
	w.Remove(split2key())
	if a, b, c, d := w.Router.held.used.Load(), w.room.used.Load(), w.shadows.held.used.Load(), w.journal.bytes.Load(); a != 0 || b != 0 || c != 0 || d != 0 {
		t.Errorf("bytes are held by nobody: %d, %d, %d, %d", a, b, c, d)
	}
	for who, p := range w.spend.purses {
		if p.Spent > 2000e9 {
			t.Errorf("%v has spent %d", who, p.Spent)
		}
	}
}
