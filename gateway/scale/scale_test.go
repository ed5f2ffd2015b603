package scale

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

var one = types.NamespacedName{Namespace: "team", Name: "one"}

// load of a revision that has requests at a time, after seconds.
type phase struct {
	seconds  int
	requests float64
	want     int32 // at the end
}

// TestWant plays a load second by second; what is wanted is there a second later.
func TestWant(t *testing.T) {
	for _, c := range []struct {
		name   string
		scale  v1alpha1.Scale
		phases []phase
	}{
		{"steady", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 10, Concurrency: 8}, []phase{{120, 20, 3}}},
		{"one is enough", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 10, Concurrency: 8}, []phase{{120, 7.9, 1}}},
		{"at most max", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 4, Concurrency: 1}, []phase{{120, 100, 4}}},
		{"at least min", v1alpha1.Scale{Min: ptr.To[int32](3), Max: 4, Concurrency: 8}, []phase{{120, 0, 3}}},
		{"a burst is answered within seconds", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 20, Concurrency: 8}, []phase{{120, 2, 1}, {8, 80, 10}}},
		{"and its replicas stay a while", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 20, Concurrency: 8}, []phase{{120, 2, 1}, {8, 80, 10}, {30, 0, 10}}},
		{"but not for ever", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 20, Concurrency: 8}, []phase{{120, 2, 1}, {8, 80, 10}, {150, 0, 1}}},
		{"sleeps when idle", v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, IdleSeconds: 30}, []phase{{20, 1, 1}, {28, 0, 1}, {4, 0, 0}}},
		{"and stays asleep", v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, IdleSeconds: 30}, []phase{{20, 1, 1}, {300, 0, 0}}},
		{"and wakes", v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, IdleSeconds: 30}, []phase{{20, 1, 1}, {300, 0, 0}, {1, 1, 1}}},
		{"a long request keeps it awake", v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, IdleSeconds: 5}, []phase{{200, 0.5, 1}}},
		{"does not sleep with min 1", v1alpha1.Scale{Min: ptr.To[int32](1), Max: 4, Concurrency: 8, IdleSeconds: 5}, []phase{{200, 0, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			l := gateway.Load{Revision: one, Scale: c.scale, Replicas: max(*c.scale.Min, 1), Since: now, Used: now}
			var h history
			for _, p := range c.phases {
				for range p.seconds {
					now = now.Add(time.Second)
					l.Area += p.requests
					l.Requests = int(p.requests)
					if p.requests > 0 {
						l.Used, l.Requests = now, max(l.Requests, 1)
					}
					l.Replicas = h.Want(now, &l)
				}
				if l.Replicas != p.want {
					t.Fatalf("after %d s with %v requests it has %d replicas, want %d", p.seconds, p.requests, l.Replicas, p.want)
				}
			}
		})
	}
}

// TestWantForgetsNothingItDoesNotKnow: a gateway that was just started takes nothing away.
func TestWantAfterStart(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := gateway.Load{Revision: one, Scale: v1alpha1.Scale{Min: ptr.To[int32](1), Max: 10, Concurrency: 8, IdleSeconds: 60}, Replicas: 7, Since: now}
	var h history
	for s := range 70 {
		now = now.Add(time.Second)
		got := h.Want(now, &l)
		if s < 55 && got != 7 {
			t.Fatalf("after %d s it wants %d of 7", s+1, got)
		}
		l.Replicas = got
	}
	if l.Replicas != 1 {
		t.Errorf("after more than a minute it has %d", l.Replicas)
	}
}

// TestWantBounds: whatever happens, no more than max and no fewer than min; and none only
// if min is 0 and nothing is asked.
func TestWantBounds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		least := int32(rng.IntN(3))
		sc := v1alpha1.Scale{Min: &least, Max: least + int32(rng.IntN(5)), Concurrency: 1 + int32(rng.IntN(10)), IdleSeconds: 1 + int32(rng.IntN(20))}
		sc.Max = max(sc.Max, 1)
		now := time.Unix(1_800_000_000, 0)
		l := gateway.Load{Revision: one, Scale: sc, Replicas: 1, Since: now}
		var h history
		for range 200 {
			now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			l.Requests = rng.IntN(4) * rng.IntN(50)
			l.Area += rng.Float64() * 100
			if l.Requests > 0 {
				l.Used = now
			}
			got := h.Want(now, &l)
			if got > max(sc.Max, least) || got < least || got == 0 && l.Requests > 0 {
				t.Fatalf("%d replicas with %d requests, of %d to %d", got, l.Requests, least, sc.Max)
			}
			l.Replicas = got
		}
		if len(h.samples) > 200 {
			t.Fatalf("%d samples are kept", len(h.samples))
		}
	}
}

// fleet is one revision in memory, and the API that it is written to.
type fleet struct {
	mu        sync.Mutex
	load      gateway.Load
	busy      bool // the replicas that are to go have requests
	needed    bool // and they are needed again before they are dismissed
	fail      error
	did       []string
	scaled    chan int32
	dismissed []types.NamespacedName
}

func (f *fleet) Loads() []gateway.Load {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []gateway.Load{f.load}
}

func (f *fleet) Retire(_ string, _ types.NamespacedName, keep int) bool {
	f.did = append(f.did, fmt.Sprintf("retire all but %d", keep))
	return !f.busy
}

func (f *fleet) Dismiss(string, types.NamespacedName, int) ([]types.NamespacedName, bool) {
	f.did = append(f.did, "dismiss")
	return f.dismissed, !f.needed
}

func (f *fleet) Keep(string, types.NamespacedName) { f.did = append(f.did, "keep") }

func (f *fleet) Scale(_ context.Context, set types.NamespacedName, n int32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil && f.scaled != nil {
		f.load.Replicas = n
		select {
		case f.scaled <- n:
		default:
		}
	}
	f.did = append(f.did, fmt.Sprintf("scale %s to %d", set.Name, n))
	return f.fail
}

func (f *fleet) Expendable(_ context.Context, pod types.NamespacedName) error {
	f.did = append(f.did, "mark "+pod.Name)
	return nil
}

func scaler(t *testing.T, f *fleet, now func() time.Time) *Scaler {
	s, err := New(slog.New(slog.DiscardHandler), f, now, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.fleet = f
	return s
}

func TestLower(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	idle := gateway.Load{Revision: one, Service: "svc", Replicas: 3, Since: now, Scale: v1alpha1.Scale{Min: ptr.To[int32](1), Max: 3, Concurrency: 8, IdleSeconds: 60}}
	asleep := idle
	asleep.Replicas, asleep.Scale.Min = 1, ptr.To[int32](0)
	leaving := idle
	leaving.Leaving, leaving.Requests = true, 9
	pods := []types.NamespacedName{{Namespace: "team", Name: "p1"}, {Namespace: "team", Name: "p2"}}
	for _, c := range []struct {
		name  string
		fleet *fleet
		want  []string
	}{
		{"waits for requests", &fleet{load: idle, busy: true}, []string{"retire all but 1"}},
		{"needed again", &fleet{load: idle, needed: true}, []string{"retire all but 1", "dismiss"}},
		{"says which pods go", &fleet{load: idle, dismissed: pods}, []string{"retire all but 1", "dismiss", "mark p1", "mark p2", "scale one to 1"}},
		{"to none it need not", &fleet{load: asleep, dismissed: pods[:1]}, []string{"retire all but 0", "dismiss", "scale one to 0"}},
		{"of what leaves all go", &fleet{load: leaving, dismissed: pods}, []string{"retire all but 0", "dismiss", "scale one to 0"}},
		{"of what leaves when they have answered", &fleet{load: leaving, busy: true}, []string{"retire all but 0"}},
		{"takes it back if it cannot", &fleet{load: asleep, fail: errors.New("no")}, []string{"retire all but 0", "dismiss", "scale one to 0", "keep"}},
	} {
		at := now
		f := c.fleet
		s := scaler(t, f, func() time.Time { return at })
		for range 60 { // what is known makes it want less
			at = at.Add(time.Second)
			s.state(&f.load).add(at, 0)
		}
		at = at.Add(time.Second)
		s.look(t.Context())
		if diff := cmp.Diff(c.want, f.did); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestWake: a revision that sleeps is woken at once, without waiting for the next look.
func TestWake(t *testing.T) { synctest.Test(t, testWake) }

func testWake(t *testing.T) {
	f := &fleet{scaled: make(chan int32, 10), load: gateway.Load{
		Revision: one, Service: "svc", Requests: 20, Since: time.Now(), Used: time.Now(),
		Scale: v1alpha1.Scale{Min: ptr.To[int32](0), Max: 2, Concurrency: 8, IdleSeconds: 60},
	}}
	s := scaler(t, f, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- s.Run(ctx, f) }()
	for range 2000 {
		s.Wake(one) // never waits
	}
	if n := <-f.scaled; n != 2 {
		t.Errorf("woken with %d replicas, want 2 for 20 requests at most", n)
	}
	if d := time.Since(began); d > tick/2 {
		t.Errorf("that took %v", d)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(slices.DeleteFunc(f.did, func(s string) bool { return s != "scale one to 2" })); n != 1 {
		t.Errorf("it was written %d times", n)
	}
}
