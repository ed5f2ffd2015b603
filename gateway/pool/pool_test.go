package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
)

var key = types.NamespacedName{Namespace: "team", Name: "svc"}

// stage is a pool, and what a test does in the place of the cluster.
type stage struct {
	*Pool
	t     testing.TB
	draw  atomic.Value // func() float64
	wakes chan types.NamespacedName
}

func newStage(t testing.TB) *stage {
	s := &stage{t: t, wakes: make(chan types.NamespacedName, 10_000)}
	s.draw.Store(func() float64 { return 0.5 })
	p, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Pods: netip.MustParsePrefix("127.0.0.0/8"), Now: time.Now,
		Draw: func() float64 { return s.draw.Load().(func() float64)() },
		Wake: func(r types.NamespacedName) {
			select {
			case s.wakes <- r:
			default:
			}
		}, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Pool = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// service writes an InferenceService with revisions NAME=ROLE:PERCENT.
func (s *stage) service(change func(*v1alpha1.InferenceService), revisions ...string) {
	o := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	o.Spec.Scale = v1alpha1.Scale{Min: ptr.To[int32](0), Max: 4, Concurrency: 8, WakeSeconds: 20, QueueMax: 2000}
	for _, text := range revisions {
		name, rest, _ := strings.Cut(text, "=")
		role, percent, _ := strings.Cut(rest, ":")
		r := v1alpha1.Revision{Name: name, Role: v1alpha1.RevisionRole(role)}
		if _, err := fmt.Sscan(percent, &r.Percent); err != nil {
			s.t.Fatal(err)
		}
		o.Status.Revisions = append(o.Status.Revisions, r)
	}
	if change != nil {
		change(o)
	}
	s.SetService(o)
}

func (s *stage) set(revision string, generation int64, replicas, there int32) {
	s.SetReplicaSet(&appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: revision, Generation: generation,
			Labels: map[string]string{v1alpha1.LabelService: key.Name, v1alpha1.LabelRevision: revision},
		},
		Spec:   appsv1.ReplicaSetSpec{Replicas: &replicas},
		Status: appsv1.ReplicaSetStatus{ObservedGeneration: generation, Replicas: there},
	})
}

// pod of a revision at an address.
func (s *stage) pod(revision, name, addr string, ready bool, change ...func(*corev1.Pod)) types.NamespacedName {
	at := netip.MustParseAddrPort(addr)
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: name, UID: types.UID(name),
			Labels:          map[string]string{v1alpha1.LabelService: key.Name, v1alpha1.LabelRevision: revision},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: revision, Controller: ptr.To(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "server", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: int32(at.Port())}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}},
		}}},
		Status: corev1.PodStatus{PodIP: at.Addr().String(), Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
	for _, c := range change {
		c(p)
	}
	s.SetPod(p)
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}

// server is a replica that says its name, once it is ready.
type server struct {
	*httptest.Server
	name  string
	ready atomic.Bool
	asked atomic.Int64 // whether it is ready
	seen  atomic.Int64 // requests
	do    func(w http.ResponseWriter, r *http.Request)
}

func newServer(t testing.TB, name string) *server {
	s := &server{name: name}
	s.ready.Store(true)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			s.asked.Add(1)
			if !s.ready.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		s.seen.Add(1)
		if s.do != nil {
			s.do(w, r)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, s.name+" "+string(b))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) addr() string { return s.Listener.Addr().String() }

func (s *stage) ask(ctx context.Context, method, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://gateway/v2/models/svc/infer", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := s.Do(key, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.Header.Get(infer.HeaderRevision) == "" {
		s.t.Error("the answer does not say of which revision it is")
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (s *stage) must(body string) string {
	s.t.Helper()
	got, err := s.ask(s.t.Context(), http.MethodPost, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// until waits for a condition that comes from elsewhere.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s has not come", what)
		}
	}
}

func (s *stage) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.services[key].queue)
}

func (s *stage) quiet() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range s.services {
		if len(svc.queue) > 0 {
			s.t.Errorf("%d requests still wait", len(svc.queue))
		}
		for _, r := range svc.revisions {
			if r.requests != 0 {
				s.t.Errorf("revision %s counts %d requests", r.name, r.requests)
			}
			for _, c := range r.replicas {
				if c.inFlight != 0 {
					s.t.Errorf("replica %s counts %d requests", c.pod, c.inFlight)
				}
			}
		}
	}
}

func status(err error) int {
	var f *gateway.Fault
	if errors.As(err, &f) {
		return f.Status
	}
	return 0
}

func TestFewestInFlight(t *testing.T) {
	s := newStage(t)
	a, b := newServer(t, "a"), newServer(t, "b")
	hold := make(chan bool)
	a.do = func(http.ResponseWriter, *http.Request) { <-hold }
	defer close(hold)
	s.service(nil, "one=stable:100")
	s.pod("one", "a", a.addr(), true)
	busy := make(chan error, 1)
	go func() {
		_, err := s.ask(t.Context(), http.MethodPost, "")
		busy <- err
	}()
	until(t, "the first request", func() bool { return a.seen.Load() == 1 })
	s.pod("one", "b", b.addr(), true)
	for range 20 {
		s.must("")
	}
	if a.seen.Load() != 1 || b.seen.Load() != 20 {
		t.Errorf("a has seen %d, b %d; the busy one must be left alone", a.seen.Load(), b.seen.Load())
	}
	hold <- true
	if err := <-busy; err != nil {
		t.Error(err)
	}
	a.do = nil
	for range 20 {
		s.must("")
	}
	if a.seen.Load() != 11 || b.seen.Load() != 30 {
		t.Errorf("a has seen %d, b %d; equals take turns", a.seen.Load(), b.seen.Load())
	}
	s.quiet()
}

func TestWake(t *testing.T) {
	s := newStage(t)
	a := newServer(t, "a")
	a.ready.Store(false)
	s.service(nil, "one=stable:100")
	s.set("one", 1, 0, 0)
	const n = 1000
	var failed atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			body := fmt.Sprint(i)
			if got, err := s.ask(t.Context(), http.MethodPost, body); err != nil || got != "a "+body {
				failed.Add(1)
				t.Errorf("request %d: %q, %v", i, got, err)
			}
		})
	}
	until(t, "the queue", func() bool { return s.waiting() == n })
	select {
	case r := <-s.wakes:
		if r.Name != "one" || r.Namespace != "team" {
			t.Errorf("woke %v", r)
		}
	default:
		t.Fatal("nobody was woken")
	}
	s.set("one", 2, 1, 1)
	s.pod("one", "a", a.addr(), false)
	until(t, "a question", func() bool { return a.asked.Load() > 2 })
	if a.seen.Load() != 0 {
		t.Error("a replica that is not ready was asked")
	}
	a.ready.Store(true)
	all.Wait()
	if a.seen.Load() != n {
		t.Errorf("%d requests came, %d were sent", a.seen.Load(), n)
	}
	s.quiet()
}

func TestCrowd(t *testing.T) {
	s := newStage(t)
	a := newServer(t, "a")
	var now, most atomic.Int64
	a.do = func(http.ResponseWriter, *http.Request) {
		for n := now.Add(1); ; {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(time.Millisecond) // the work
		now.Add(-1)
	}
	s.service(func(o *v1alpha1.InferenceService) { o.Spec.Scale.Concurrency = 2 }, "one=stable:100")
	s.pod("one", "a", a.addr(), true)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() { s.must("") })
	}
	all.Wait()
	if most.Load() > 2*crowd {
		t.Errorf("the replica had %d requests at a time, more than %d", most.Load(), 2*crowd)
	}
	s.quiet()
}

func TestHoldBounds(t *testing.T) {
	s := newStage(t)
	bounds := func(wakeSeconds int32) {
		s.service(func(o *v1alpha1.InferenceService) { o.Spec.Scale.QueueMax, o.Spec.Scale.WakeSeconds = 2, wakeSeconds }, "one=stable:100")
	}
	bounds(3600)
	s.set("one", 1, 0, 0)
	ctx, leave := context.WithCancel(t.Context())
	gone, late := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.ask(ctx, http.MethodPost, "")
		gone <- err
	}()
	until(t, "one that waits", func() bool { return s.waiting() == 1 })
	later, leaveLater := context.WithCancel(t.Context())
	go func() {
		_, err := s.ask(later, http.MethodPost, "")
		late <- err
	}()
	until(t, "two that wait", func() bool { return s.waiting() == 2 })
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 429 || !strings.Contains(err.Error(), "scale.queueMax") {
		t.Errorf("the third: %v", err)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that left: %v", err)
	}
	if n := s.waiting(); n != 1 {
		t.Errorf("%d wait after one has left", n)
	}
	leaveLater()
	<-late
	bounds(1)
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 503 || !strings.Contains(err.Error(), "scale.wakeSeconds") {
		t.Errorf("one that waits in vain: %v", err)
	}
	s.quiet()
}

func TestNobodyToAsk(t *testing.T) {
	s := newStage(t)
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 404 {
		t.Errorf("no service: %v", err)
	}
	s.service(func(o *v1alpha1.InferenceService) {
		o.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Message: "there is no model digits"}}
	})
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 503 || !strings.Contains(err.Error(), "there is no model digits") {
		t.Errorf("not accepted: %v", err)
	}
	s.service(func(o *v1alpha1.InferenceService) { o.Status.Revisions[0].Message = "the image is not there" }, "one=starting:0")
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 503 || !strings.Contains(err.Error(), "the image is not there") {
		t.Errorf("cannot start: %v", err)
	}
	// One that starts without trouble is worth waiting for.
	s.service(nil, "one=starting:0")
	a := newServer(t, "a")
	got := make(chan string, 1)
	go func() {
		b, err := s.ask(t.Context(), http.MethodPost, "x")
		got <- fmt.Sprint(b, err)
	}()
	until(t, "one that waits", func() bool { return s.waiting() == 1 })
	s.pod("one", "a", a.addr(), false)
	if b := <-got; b != "a x<nil>" {
		t.Errorf("got %s", b)
	}
	waits := make(chan error, 1)
	s.RemovePod(types.NamespacedName{Namespace: "team", Name: "a"})
	go func() {
		_, err := s.ask(t.Context(), http.MethodPost, "")
		waits <- err
	}()
	until(t, "one that waits", func() bool { return s.waiting() == 1 })
	s.RemoveService(key)
	if err := <-waits; status(err) != 404 {
		t.Errorf("removed: %v", err)
	}
	s.quiet()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.services) != 0 {
		t.Errorf("%d services are remembered", len(s.services))
	}
}

func TestRefused(t *testing.T) {
	s := newStage(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	b := newServer(t, "b")
	s.service(nil, "one=stable:100")
	s.pod("one", "a", dead, true)
	s.pod("one", "b", b.addr(), true)
	for range 50 {
		if got := s.must("x"); got != "b x" {
			t.Fatalf("got %q", got)
		}
	}
	// It comes back at the same address, and is found to be ready.
	if l, err = net.Listen("tcp", dead); err != nil {
		t.Fatal(err)
	}
	back := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "back") })}
	go func() { _ = back.Serve(l) }()
	defer back.Close()
	until(t, "the replica", func() bool { return s.must("x") == "back" })
	s.quiet()
}

func TestBrokenOff(t *testing.T) {
	s := newStage(t)
	a, b := newServer(t, "a"), newServer(t, "b")
	a.do = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		protocol v1alpha1.Protocol
		method   string
		again    bool
	}{
		{v1alpha1.ProtocolV2, http.MethodPost, true},
		{v1alpha1.ProtocolOpenAI, http.MethodPost, true},
		{v1alpha1.ProtocolHTTP, http.MethodGet, true},
		{v1alpha1.ProtocolHTTP, http.MethodPost, false},
	} {
		s.service(func(o *v1alpha1.InferenceService) { o.Spec.Protocol = c.protocol }, "one=stable:100")
		s.pod("one", "a", a.addr(), true)
		s.pod("one", "b", b.addr(), true)
		a.seen.Store(0)
		failed := 0
		for range 10 {
			got, err := s.ask(t.Context(), c.method, "x")
			if err != nil && status(err) != 502 {
				t.Fatal(err)
			}
			if err != nil {
				failed++
			} else if got != "b x" {
				t.Errorf("%s %s: %q", c.protocol, c.method, got)
			}
		}
		if a.seen.Load() == 0 || (failed == 0) != c.again {
			t.Errorf("%s %s: %d failed, the broken one has seen %d", c.protocol, c.method, failed, a.seen.Load())
		}
	}
	s.quiet()
}

func TestLate(t *testing.T) {
	s := newStage(t)
	a := newServer(t, "a")
	a.do = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s.service(func(o *v1alpha1.InferenceService) { o.Spec.TimeoutSeconds = 1 }, "one=stable:100")
	s.pod("one", "a", a.addr(), true)
	if _, err := s.ask(t.Context(), http.MethodPost, ""); status(err) != 504 || !strings.Contains(err.Error(), "timeoutSeconds") {
		t.Errorf("got %v", err)
	}
	s.quiet()
}

func TestShares(t *testing.T) {
	s := newStage(t)
	a, b := newServer(t, "a"), newServer(t, "b")
	s.service(nil, "two=canary:20", "one=stable:80")
	s.pod("one", "a", a.addr(), true)
	s.pod("two", "b", b.addr(), true)
	n := 0
	s.draw.Store(func() float64 { n++; return float64(n%100) / 100 })
	for range 500 {
		s.must("")
	}
	if a.seen.Load() != 400 || b.seen.Load() != 100 {
		t.Errorf("stable has %d, canary %d; want 400 and 100", a.seen.Load(), b.seen.Load())
	}
	// A canary that is not there costs no request.
	s.RemovePod(types.NamespacedName{Namespace: "team", Name: "b"})
	s.set("two", 1, 0, 0)
	for range 100 {
		s.must("")
	}
	if a.seen.Load() != 500 {
		t.Errorf("stable has %d", a.seen.Load())
	}
	select {
	case r := <-s.wakes:
		if r.Name != "two" {
			t.Errorf("woke %v", r)
		}
	default:
		t.Error("the canary was not woken")
	}
	s.quiet()
}

func TestRollout(t *testing.T) {
	s := newStage(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var clients sync.WaitGroup
	s.service(nil, "r0=starting:0")
	first := newServer(t, "0")
	s.pod("r0", "p0", first.addr(), false)
	s.service(nil, "r0=stable:100")
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.ask(context.Background(), http.MethodPost, "x"); err != nil {
					t.Errorf("a request failed: %v", err)
				}
				asked.Add(1)
			}
		})
	}
	for i, old := 1, first; i <= 20; i++ {
		seen := asked.Load()
		until(t, "requests", func() bool { return asked.Load() > seen+int64(rng.IntN(50)) })
		next := newServer(t, fmt.Sprint(i))
		name, before := fmt.Sprintf("r%d", i), fmt.Sprintf("r%d", i-1)
		s.service(nil, name+"=starting:0", before+"=stable:100")
		s.pod(name, fmt.Sprintf("p%d", i), next.addr(), rng.IntN(2) == 0)
		s.service(nil, name+"=stable:100", before+"=leaving:0")
		until(t, "the new revision", func() bool { return next.seen.Load() > 0 })
		until(t, "what leaves without requests", func() bool {
			for _, l := range s.Loads() {
				if l.Revision.Name == before {
					return l.Leaving && l.Requests == 0
				}
			}
			return true // its pods were never wanted
		})
		if rng.IntN(2) == 0 { // the pod ends before the gateway hears of it
			old.Close()
			s.RemovePod(types.NamespacedName{Namespace: "team", Name: fmt.Sprintf("p%d", i-1)})
		} else {
			s.RemovePod(types.NamespacedName{Namespace: "team", Name: fmt.Sprintf("p%d", i-1)})
			old.Close()
		}
		s.service(nil, name+"=stable:100")
		old = next
	}
	stop()
	clients.Wait()
	s.quiet()
}

func TestStrangers(t *testing.T) {
	s := newStage(t)
	a := newServer(t, "a")
	s.service(func(o *v1alpha1.InferenceService) { o.Spec.Scale.WakeSeconds = 1 }, "one=stable:100")
	for name, change := range map[string]func(*corev1.Pod){
		"not owned":      func(p *corev1.Pod) { p.OwnerReferences = nil },
		"owned by other": func(p *corev1.Pod) { p.OwnerReferences[0].Name = "two" },
		"elsewhere":      func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" },
		"of the host":    func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"leaving":        func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.Now()) },
		"ended":          func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"without port":   func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil },
	} {
		s.pod("one", strings.ReplaceAll(name, " ", "-"), a.addr(), true, change)
		s.mu.Lock()
		if len(s.replicas) != 0 {
			t.Errorf("a pod that is %s takes requests", name)
		}
		s.mu.Unlock()
	}
}

func TestRetire(t *testing.T) {
	s := newStage(t)
	a, b := newServer(t, "a"), newServer(t, "b")
	revision := types.NamespacedName{Namespace: "team", Name: "one"}
	hold := make(chan bool)
	a.do = func(http.ResponseWriter, *http.Request) { <-hold }
	s.service(nil, "one=stable:100")
	s.set("one", 1, 2, 2)
	s.pod("one", "a", a.addr(), true)
	busy := make(chan error, 2)
	go func() {
		_, err := s.ask(t.Context(), http.MethodPost, "")
		busy <- err
	}()
	until(t, "the first request", func() bool { return a.seen.Load() == 1 })
	s.pod("one", "b", b.addr(), true)
	if !s.Retire("svc", revision, 1) {
		t.Error("the idle one of two can go at once")
	}
	pods, ok := s.Dismiss("svc", revision, 1)
	if !ok || len(pods) != 1 || pods[0].Name != "b" {
		t.Fatalf("dismissed %v, %v", pods, ok)
	}
	if s.Retire("svc", revision, 0) {
		t.Error("the busy one cannot go yet")
	}
	if _, ok := s.Dismiss("svc", revision, 0); ok {
		t.Error("the busy one was dismissed")
	}
	// The one that was to go is needed again, so it stays; the one that is gone is not used.
	go func() {
		_, err := s.ask(t.Context(), http.MethodPost, "")
		busy <- err
	}()
	until(t, "the second request", func() bool { return a.seen.Load() == 2 })
	close(hold)
	for range 2 {
		if err := <-busy; err != nil {
			t.Error(err)
		}
	}
	if _, ok := s.Dismiss("svc", revision, 0); ok {
		t.Error("one that was needed again was dismissed")
	}
	if b.seen.Load() != 0 {
		t.Error("one that is gone was asked")
	}
	// What was seen before the decision proves nothing; after it, it does.
	s.set("one", 1, 1, 1)
	s.must("")
	if b.seen.Load() != 0 {
		t.Error("one that is gone came back by an old sight")
	}
	s.set("one", 2, 2, 2)
	s.must("")
	s.must("")
	if b.seen.Load() == 0 {
		t.Error("the one that stays after all gets no requests")
	}
	s.quiet()
}

// TestAnyOrder does everything at random at once: nothing is lost or counted twice.
func TestAnyOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newStage(t)
	servers := make([]*server, 4)
	for i := range servers {
		servers[i] = newServer(t, fmt.Sprint(i))
	}
	s.service(nil, "one=stable:70", "two=canary:30")
	s.set("one", 1, 2, 2)
	s.set("two", 1, 2, 2)
	ctx, stop := context.WithCancel(t.Context())
	var world, clients sync.WaitGroup
	world.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for ctx.Err() == nil {
			i := rng.IntN(len(servers))
			revision := []string{"one", "two"}[i%2]
			name := fmt.Sprintf("p%d", i)
			r := types.NamespacedName{Namespace: "team", Name: revision}
			switch rng.IntN(8) {
			case 0:
				s.RemovePod(types.NamespacedName{Namespace: "team", Name: name})
			case 1, 2:
				s.pod(revision, name, servers[i].addr(), rng.IntN(2) == 0)
			case 3:
				servers[i].ready.Store(rng.IntN(4) > 0)
			case 4:
				s.Retire("svc", r, rng.IntN(2))
			case 5:
				s.Dismiss("svc", r, rng.IntN(2))
			case 6:
				s.Keep("svc", r)
			case 7:
				s.service(nil, "one=stable:70", "two=canary:30")
			}
		}
	})
	for c := range 6 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(10+c)))
			for range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(10) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(2000))*time.Microsecond, cancel)
				}
				if _, err := s.ask(ctx, http.MethodPost, "x"); err != nil && ctx.Err() == nil {
					t.Errorf("a request failed: %v", err)
				}
				cancel()
			}
		})
	}
	clients.Wait()
	stop()
	world.Wait()
	until(t, "quiet", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.services[key].revisions {
			if r.requests != 0 {
				return false
			}
		}
		return true
	})
	s.quiet()
}
