package door

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// world is what a door stands in front of.
type world struct {
	t        testing.TB
	services map[string]gateway.Info
	up       *httptest.Server // all replicas
	err      error            // what Do ends with
}

func (w *world) Who(r *http.Request, _ string) (gateway.Visitor, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer good":
		return visitor{false}, nil
	case "Bearer forbidden":
		return visitor{true}, nil
	}
	return nil, gateway.Faultf(401, "unauthorized", "who are you?")
}

type visitor struct{ forbidden bool }

func (visitor) Client() gateway.Client {
	return gateway.Client{Tenant: "acme", Namespace: "team", Name: "key", Key: true}
}

func (v visitor) May(context.Context, string, bool, string) error {
	if v.forbidden {
		return gateway.Faultf(403, "forbidden", "you may not")
	}
	return nil
}

func (w *world) Info(key types.NamespacedName) (gateway.Info, bool) {
	i, ok := w.services[key.Name]
	return i, ok && key.Namespace == "team"
}

func (w *world) Infos(string) []gateway.Info {
	return []gateway.Info{w.services["chat"], w.services["digits"]}
}

func (w *world) Do(key types.NamespacedName, r *http.Request) (*http.Response, error) {
	if w.err != nil {
		return nil, w.err
	}
	u := *r.URL
	u.Scheme, u.Host = "http", w.up.Listener.Addr().String()
	out := r.WithContext(r.Context())
	out.URL, out.Host = &u, ""
	return http.DefaultTransport.RoundTrip(out)
}

func (w *world) Has(key types.NamespacedName) bool { return key.Name == "routed" }
func (w *world) Names(_ string, p v1alpha1.Protocol) []string {
	return map[v1alpha1.Protocol][]string{v1alpha1.ProtocolOpenAI: {"routed"}}[p]
}
func (w *world) Serve(rw http.ResponseWriter, r *http.Request, c *gateway.Call) {
	who, _ := gateway.ClientOf(r.Context())
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(rw, "route %s %s %s %s %q %q", c.Namespace, c.Name, c.Path, who.Tenant, c.Body, body)
}

// newWorld has services that answer with what they were asked.
func newWorld(t testing.TB, h http.HandlerFunc) (*world, *Door, *prometheus.Registry) {
	w := &world{t: t, services: map[string]gateway.Info{
		"digits": {Name: "digits", Protocol: v1alpha1.ProtocolV2, Ready: true},
		"asleep": {Name: "asleep", Protocol: v1alpha1.ProtocolV2},
		"chat":   {Name: "chat", Protocol: v1alpha1.ProtocolOpenAI, Created: time.Unix(1_800_000_000, 0)},
		"web":    {Name: "web", Protocol: v1alpha1.ProtocolHTTP},
	}}
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %q", r.Method, r.URL.RequestURI(), b)
		}
	}
	w.up = httptest.NewServer(h)
	t.Cleanup(w.up.Close)
	reg := prometheus.NewRegistry()
	d, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Guard: w, Services: w, Routes: w, Version: "v1", Ready: func() error { return nil }, Metrics: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, d, reg
}

func send(d http.Handler, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, from)
	r.Header.Set("Authorization", "Bearer good")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func TestPaths(t *testing.T) {
	_, d, reg := newWorld(t, nil)
	form := &bytes.Buffer{}
	m := multipart.NewWriter(form)
	_ = m.WriteField("file", "sound")
	_ = m.WriteField("model", "chat")
	_ = m.Close()
	asForm := func(r *http.Request) { r.Header.Set("Content-Type", m.FormDataContentType()) }
	for _, c := range []struct {
		method, path, body string
		change             func(*http.Request)
		code               int
		want               string
	}{
		{"POST", "/team/v2/models/digits/infer", `{"inputs":[]}`, nil, 200, `POST /v2/models/digits/infer "{\"inputs\":[]}"`},
		{"GET", "/team/v2/models/digits?x=1", "", nil, 200, `GET /v2/models/digits?x=1 ""`},
		{"GET", "/team/v2/models/digits/ready", "", nil, 200, `{"name":"digits","ready":true}`},
		{"GET", "/team/v2/models/asleep/ready", "", nil, 503, `{"error":"service asleep has no replica that is ready"}`},
		{"GET", "/team/v2", "", nil, 200, `{"extensions":[],"name":"polder","version":"v1"}`},
		{"GET", "/team/v2/health/live", "", nil, 200, `{"live":true}`},
		{"GET", "/team/v2/health/ready", "", nil, 200, `{"ready":true}`},
		{"POST", "/team/v2/repository/index", "", nil, 404, `{"error":"there is no /v2/repository/index; models are below /team/v2/models/NAME"}`},
		{"POST", "/team/v2/models/none/infer", "{}", nil, 404, `{"error":"there is no service or route none in namespace team"}`},
		{"POST", "/team/v2/models/chat/infer", "{}", nil, 400, `{"error":"service chat speaks the protocol openai: ask for /team/v1/..."}`},
		{"POST", "/team/v2/models/..%2fx/infer", "{}", nil, 404, `{"error":"the path names no service or route: names have lower-case letters, digits and hyphens"}`},
		{"POST", "/team/v1/chat/completions", `{"messages":[],"model":"chat"}`, nil, 200, `POST /v1/chat/completions "{\"messages\":[],\"model\":\"chat\"}"`},
		{"POST", "/team/v1/audio/transcriptions", form.String(), asForm, 200, `POST /v1/audio/transcriptions`},
		{"POST", "/team/v1/chat/completions", `{"model":"digits"}`, nil, 400, `{"error":{"message":"service digits speaks the protocol v2: ask for /team/v2/models/digits/infer","type":"invalid_request_error","param":null,"code":"wrong_protocol"}}`},
		{"POST", "/team/v1/chat/completions", `{"messages":[]}`, nil, 400, `{"error":{"message":"the body must name a service or route of the namespace as model","type":"invalid_request_error","param":null,"code":"invalid_request"}}`},
		{"POST", "/team/v1/chat/completions", `not json`, nil, 400, `{"error":{"message":"the request cannot be read: the body is not a JSON object"`},
		{"POST", "/team/v1/chat/completions", `{"model":"../x"}`, nil, 404, `{"error":{"message":"there is no service or route of the name`},
		{"GET", "/team/v1/models", "", nil, 200, `{"data":[{"id":"routed","object":"model","created":0,"owned_by":"team"},{"id":"chat","object":"model","created":1800000000,"owned_by":"team"}],"object":"list"}`},
		{"GET", "/team/v1/models/chat", "", nil, 200, `{"id":"chat","object":"model","created":1800000000,"owned_by":"team"}`},
		{"GET", "/team/v1/models/digits", "", nil, 404, `{"error":{"message":"there is no model digits in namespace team"`},
		{"GET", "/team/v1/responses/abc", "", nil, 404, `{"error":{"message":"there is no /v1/responses/abc for the method GET`},
		{"PUT", "/team/http/web/a//b/../c%2Fd?q=%20", "body", nil, 200, `PUT /a//b/../c%2Fd?q=%20 "body"`},
		{"GET", "/team/http/web", "", nil, 200, `GET / ""`},
		{"GET", "/team/http/", "", nil, 404, "the path names no service: /team/http/NAME/..."},
		{"GET", "/team/http/digits/", "", nil, 400, "service digits speaks the protocol v2: ask for /team/v2/models/digits/infer"},
		{"GET", "/other/http/web/", "", nil, 404, "there is no service or route web in namespace other"},
		{"GET", "/", "", nil, 404, "the path must begin with a namespace"},
		{"GET", "/team/v3/x", "", nil, 404, "after the namespace the path must go on with v2, v1 or http/NAME"},
		{"POST", "/team/v2/models/routed/infer", "{}", nil, 200, `route team routed /v2/models/routed/infer acme "{}" "{}"`},
		{"POST", "/team/v1/completions", `{"model":"routed"}`, nil, 200, `route team routed /v1/completions acme "{\"model\":\"routed\"}" "{\"model\":\"routed\"}"`},
		{"GET", "/team/v2/models/routed/ready", "", nil, 200, `route team routed /v2/models/routed/ready acme "" ""`},
		{"POST", "/team/v2/models/digits/infer", "{}", func(r *http.Request) { r.Header.Del("Authorization") }, 401, `{"error":"who are you?"}`},
		{"POST", "/team/v2/models/digits/infer", "{}", func(r *http.Request) { r.Header.Set("Authorization", "Bearer forbidden") }, 403, `{"error":"you may not"}`},
		{"GET", "/team/v1/models", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer forbidden") }, 403, `"permission_error"`},
		{"GET", "/healthz", "", func(r *http.Request) { r.Header.Del("Authorization") }, 200, "ok"},
		{"GET", "/readyz", "", func(r *http.Request) { r.Header.Del("Authorization") }, 200, "ok"},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		w := send(d, c.method, c.path, c.body, change)
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %d %s; want %d %s", c.method, c.path, w.Code, got, c.code, c.want)
		}
	}
	if n := testutil.CollectAndCount(d.gauges.requests); n > 20 {
		t.Errorf("%d series, although few names are known", n)
	}
	if got := testutil.ToFloat64(d.gauges.requests.WithLabelValues("team", "digits", "200")); got != 3 {
		t.Errorf("digits has answered %v times", got)
	}
	if ps, err := testutil.GatherAndLint(reg); err != nil || len(ps) > 0 {
		t.Errorf("metrics: %v %v", ps, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/team/v2/models/a/infer", "/team/v1/models/x", "/team/http/a/%2F..", "//", "/a/http/b", "/%74eam/http/a%2Fb/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		a, err := parse(u)
		if err != nil {
			return
		}
		for _, n := range []string{a.namespace, a.name} {
			if strings.ContainsAny(n, "/.%:") {
				t.Fatalf("%q gives the name %q", path, n)
			}
		}
		if !strings.HasPrefix(a.path, "/") || a.raw != "" && !strings.HasPrefix(a.raw, "/") {
			t.Fatalf("%q gives the path %q, %q", path, a.path, a.raw)
		}
		if un, err := url.PathUnescape(a.raw); a.raw != "" && (err != nil || un != a.path) {
			t.Fatalf("%q: %q is not how %q is escaped", path, a.raw, a.path)
		}
	})
}

func TestHeaders(t *testing.T) {
	var got http.Header
	_, d, _ := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "1")
		w.Header().Set("X-Public", "1")
	})
	for _, path := range []string{"/team/v2/models/digits/infer", "/team/http/web/x"} {
		w := send(d, "POST", path, "{}", func(r *http.Request) {
			for k, v := range map[string]string{
				"Cookie": "a=b", "X-Forwarded-For": "6.6.6.6", "X-Real-Ip": "6.6.6.6", "Forwarded": "for=6.6.6.6", "Connection": "X-Hop", "X-Hop": "1",
				"Te": "trailers", "Polder-Task": "ocr", "Content-Type": "application/json",
			} {
				r.Header.Set(k, v)
			}
			r.RemoteAddr, r.Host = "10.1.2.3:4567", "gateway:9443"
		})
		want := http.Header{
			"Accept-Encoding": {"gzip"}, "Content-Length": {"2"}, "Content-Type": {"application/json"}, "Polder-Task": {"ocr"},
			"X-Forwarded-For": {"10.1.2.3"}, "X-Forwarded-Host": {"gateway:9443"}, "X-Forwarded-Proto": {"http"},
		}
		got.Del("Te") // ReverseProxy passes it on, as gRPC needs it
		got.Del("User-Agent")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the replica sees (-want +got):\n%s", path, diff)
		}
		if w.Header().Get("X-Private") != "" || w.Header().Get("X-Public") != "1" {
			t.Errorf("%s: the client sees %v", path, w.Header())
		}
	}
}

func TestFaults(t *testing.T) {
	w, d, _ := newWorld(t, nil)
	late := gateway.Faultf(503, "not_ready", "no replica yet")
	late.RetryAfter = time.Second
	w.err = late
	got := send(d, "POST", "/team/v1/chat/completions", `{"model":"chat"}`)
	if got.Code != 503 || got.Header().Get("Retry-After") != "1" || !strings.Contains(got.Body.String(), `"message":"no replica yet"`) {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	w.err = errors.New("dial tcp 10.0.0.7: secret")
	if got = send(d, "POST", "/team/v2/models/digits/infer", `{}`); got.Code != 502 || strings.Contains(got.Body.String(), "secret") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestBodies(t *testing.T) {
	_, d, _ := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", r.ContentLength, " ", err)
	})
	garbage := strings.Repeat("\x00\xff{", 10<<20/3)
	if got := send(d, "POST", "/team/v1/chat/completions", garbage); got.Code != 400 {
		t.Errorf("10 MB of garbage: %d %s", got.Code, got.Body)
	}
	if got := send(d, "POST", "/team/v2/models/digits/infer", garbage); got.Body.String() != fmt.Sprint(len(garbage), " ", len(garbage), " <nil>") {
		t.Errorf("10 MB for a replica to judge: %d %s", got.Code, got.Body)
	}
	for _, length := range []int64{bodyBytesMax + 1, -1} {
		got := send(d, "POST", "/team/v2/models/digits/infer", strings.Repeat("x", bodyBytesMax+1), func(r *http.Request) { r.ContentLength = length })
		if got.Code != 413 || !strings.Contains(got.Body.String(), "at most 33554432 bytes") {
			t.Errorf("too large, announced as %d: %d %s", length, got.Code, got.Body)
		}
	}
	if got := send(d, "POST", "/team/v2/models/digits/infer", strings.Repeat("x", bodyBytesMax)); got.Code != 200 {
		t.Errorf("as large as may be: %d %s", got.Code, got.Body)
	}
	if !d.memory.TryAcquire(heldBytesMax) {
		t.Error("memory of requests that have ended is still set aside")
	}
	got := send(d, "POST", "/team/v2/models/digits/infer", "x")
	if got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("without memory: %d %s", got.Code, got.Body)
	}
	if got := send(d, "POST", "/team/http/web/", "pass by"); got.Code != 200 {
		t.Errorf("what passes by needs none: %d %s", got.Code, got.Body)
	}
	d.memory.Release(heldBytesMax)
}

// TestStream: what a replica has said is with the client before it says more.
func TestStream(t *testing.T) {
	next := make(chan bool)
	_, d, _ := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	front := httptest.NewServer(d)
	defer front.Close()
	r, err := http.NewRequest(http.MethodPost, front.URL+"/team/v1/chat/completions", strings.NewReader(`{"model":"chat","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
		}
		next <- true
	}
	if lines.Scan() {
		t.Errorf("more than was sent: %q", lines.Text())
	}
}

// TestGone: what a client that goes away has asked for is ended at the replica.
func TestGone(t *testing.T) {
	began, ended := make(chan bool), make(chan bool)
	_, d, _ := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
		ended <- true
	})
	front := httptest.NewServer(d)
	defer front.Close()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, front.URL+"/team/http/web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	go func() {
		<-began
		leave()
	}()
	if _, err := http.DefaultClient.Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the replica goes on")
	}
}

func TestUpgrade(t *testing.T) {
	_, d, _ := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, b, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		line, _ := b.ReadString('\n')
		_, _ = io.WriteString(c, "echo "+line)
	})
	front := httptest.NewServer(d)
	defer front.Close()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /team/http/web/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	b := bufio.NewReader(c)
	resp, err := http.ReadResponse(b, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if line, err := b.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestModelsIsJSON(t *testing.T) {
	_, d, _ := newWorld(t, nil)
	w := send(d, "GET", "/team/v1/models", "")
	var list struct {
		Object string
		Data   []struct{ ID, Object string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || list.Object != "list" || len(list.Data) != 2 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v %+v %v", err, list, w.Header())
	}
}
