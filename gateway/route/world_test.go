package route

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
)

// world is a router over services, a bucket and an API in memory.
type world struct {
	*Router
	t      *testing.T
	bucket *memBucket
	file   string

	mu       sync.Mutex
	now      time.Time
	draw     float64
	services map[string]http.HandlerFunc
	asked    map[string]int
	status   map[types.NamespacedName]*v1alpha1.ModelRoute
}

func start(t *testing.T) *world {
	w := &world{
		t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), bucket: &memBucket{objects: map[string]string{}}, file: filepath.Join(t.TempDir(), "spend.json"),
		services: map[string]http.HandlerFunc{}, asked: map[string]int{}, status: map[types.NamespacedName]*v1alpha1.ModelRoute{},
	}
	w.open()
	return w
}

// open makes the router, as a process that starts does.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.Router, err = New(Config{
		Log: slog.New(slog.DiscardHandler), Services: w, Bucket: w.bucket, Status: w, SpendFile: w.file,
		Now: w.time, Draw: func() float64 { w.mu.Lock(); defer w.mu.Unlock(); return w.draw }, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) time() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) calls(service string) int { w.mu.Lock(); defer w.mu.Unlock(); return w.asked[service] }

// Do implements gateway.Services.
func (w *world) Do(service types.NamespacedName, r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked[service.Name]++
	h := w.services[service.Name]
	w.mu.Unlock()
	if h == nil {
		return nil, gateway.Faultf(http.StatusServiceUnavailable, "asleep", "service %s has no replica", service.Name)
	}
	if r.Header.Get("Authorization") != "" {
		w.t.Error("a service was shown who asks")
	}
	rec := httptest.NewRecorder()
	h(rec, r)
	return rec.Result(), nil
}

// Info implements Services: they speak whatever is spoken, but for one.
func (w *world) Info(service types.NamespacedName) (gateway.Info, bool) {
	return gateway.Info{Name: service.Name, Protocol: v1alpha1.ProtocolOpenAI}, service.Name == "o"
}

// Write implements Status.
func (w *world) Write(_ context.Context, route types.NamespacedName, change func(*v1alpha1.ModelRoute)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.status[route]
	if o == nil {
		o = &v1alpha1.ModelRoute{}
		w.status[route] = o
	}
	change(o)
	return nil
}

// memBucket keeps objects in memory.
type memBucket struct {
	mu      sync.Mutex
	objects map[string]string
	broken  error
}

func (b *memBucket) Put(_ context.Context, namespace, bucket, key string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return b.broken
	}
	b.objects[namespace+"/"+bucket+"/"+key] = string(body)
	return nil
}

func (b *memBucket) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, o := range b.objects {
		out = append(out, strings.Split(strings.TrimSpace(o), "\n")...)
	}
	return out
}

// split is a route that gives everything to one.
func split() *v1alpha1.ModelRoute {
	return &v1alpha1.ModelRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red-1", Name: "r", UID: "u", Generation: 1},
		Spec: v1alpha1.ModelRouteSpec{
			Targets: []v1alpha1.RouteTarget{{Name: "small", Service: "s", Cost: "1000"}, {Name: "large", Service: "l", Cost: "10000"}, {Name: "other", Service: "o", Cost: "1000"}},
			Rules:   []v1alpha1.RouteRule{{Name: "all", Split: []v1alpha1.RouteWeight{{Target: "small", Weight: 1}}}},
		},
	}
}

func cascade(threshold string) *v1alpha1.ModelRoute {
	r := split()
	r.Spec.Rules[0].Split = nil
	r.Spec.Rules[0].Cascade = &v1alpha1.Cascade{Specialist: "small", General: "large", Threshold: threshold}
	return r
}

// request is one of a client of tenant red.
type request struct {
	method, path string
	body         []byte
	header       http.Header
	tenant, name string
	protocol     v1alpha1.Protocol
}

const inferPath = "/v2/models/r/infer"

func (w *world) do(q request) *http.Response {
	w.t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.path == "" {
		q.path = inferPath
	}
	if q.tenant == "" {
		q.tenant = "red"
	}
	if q.protocol == "" {
		q.protocol = v1alpha1.ProtocolV2
		if strings.HasPrefix(q.path, "/v1/") {
			q.protocol = v1alpha1.ProtocolOpenAI
		}
	}
	r := httptest.NewRequestWithContext(w.t.Context(), q.method, "/red-1"+q.path, strings.NewReader(string(q.body)))
	r.Header.Set("Authorization", "Bearer secret")
	for k, v := range q.header {
		r.Header[k] = v
	}
	rec := httptest.NewRecorder()
	w.Serve(rec, r, &gateway.Call{
		Namespace: "red-1", Name: "r", Protocol: q.protocol, Path: q.path, Body: q.body,
		Client: gateway.Client{Tenant: q.tenant, Namespace: "red-1", Name: "key" + q.name, Key: true},
	})
	return rec.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// want checks an answer's status and headers, such as "Polder-Target: small".
func want(t *testing.T, r *http.Response, status int, headers ...string) {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("answered %d: %s", r.StatusCode, text(t, r))
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// rows is a request for rows of two features, in JSON or binary.
func rows(t *testing.T, binary bool, values ...float32) ([]byte, http.Header) {
	t.Helper()
	x := infer.New("x", values, int64(len(values)/2), 2)
	x.Binary = binary
	r := infer.Request{ID: "7", Inputs: []infer.Tensor{x}}
	if binary {
		r.AskBinary()
	}
	body, n, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	describe(h, n)
	return body, h
}

// classifier answers rows: the first feature is the probability of class 1 that it tells,
// plus shift, and echoes the second.
func classifier(t *testing.T, name string, shift float32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n, err := infer.ParseHeaderLength(r.Header.Get(infer.HeaderLength), len(body))
		if err != nil {
			t.Error(err)
		}
		req, err := infer.DecodeRequest(body, n, infer.Limits{})
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(infer.AppendError(nil, err.Error()))
			return
		}
		x := req.Inputs[0].Data.([]float32)
		var p, echo []float32
		for i := 0; i < len(x); i += 2 {
			one := min(max(x[i]+shift, 0), 1)
			p, echo = append(p, 1-one, one), append(echo, x[i+1])
		}
		all := []infer.Tensor{infer.New("probabilities", p, int64(len(p)/2), 2), infer.New("echo", echo, int64(len(echo)))}
		resp := infer.Response{ModelName: name, ID: req.ID}
		for _, o := range all {
			asked := len(req.Outputs) == 0
			for _, a := range req.Outputs {
				asked = asked || a.Name == o.Name
			}
			if asked {
				o.Binary = req.Binary(o.Name)
				resp.Outputs = append(resp.Outputs, o)
			}
		}
		out, n, err := resp.Append(nil)
		if err != nil {
			t.Error(err)
		}
		describe(w.Header(), n)
		_, _ = w.Write(out)
	}
}

// probabilities of class 1 in an answer.
func probabilities(t *testing.T, r *http.Response) []float32 {
	t.Helper()
	body := text(t, r)
	answer, err := decoded(r.Header, []byte(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	var out []float32
	for i, v := range answer.Output("probabilities").Data.([]float32) {
		if i%2 == 1 {
			out = append(out, v)
		}
	}
	return out
}

// says answers like OpenAI's API.
func says(words string, logprob float64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q map[string]any
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &q); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		probs := "null"
		if q["logprobs"] == true {
			probs = fmt.Sprintf(`{"content":[{"logprob":%v}]}`, logprob)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},"logprobs":%s}]}`, q["model"], words, probs)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprintf(w, "it is %d", code)
	}
}
