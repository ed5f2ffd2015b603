package httproute

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

var now = metav1.NewTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))

// read reads an object as people write it.
func read[T any](t testing.TB, text string) T {
	t.Helper()
	var out T
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

const gatewayText = `
metadata: {name: front, namespace: infra, uid: g}
spec:
  gatewayClassName: polder
  listeners:
  - {name: models, port: 443, protocol: HTTPS, hostname: "*.models.example", tls: {options: {polder.dev/certificate: cloud}}, allowedRoutes: {namespaces: {from: All}}}
`

func routeText(name, rest string) string {
	return fmt.Sprintf(`
metadata: {name: %s, namespace: team-a, uid: %s}
spec:
  parentRefs: [{name: front, namespace: infra}]
%s`, name, name, rest)
}

func worldOf(t testing.TB, routes ...string) *World {
	w := &World{
		Classes: map[string]bool{"polder": true}, Address: "10.0.0.1", Port: 443,
		Gateways:   []gw.Gateway{read[gw.Gateway](t, gatewayText)},
		Namespaces: map[string]map[string]string{"team-a": {"tier": "gold"}, "team-b": {}, "infra": {}},
		Services:   map[types.NamespacedName]bool{{Namespace: "team-a", Name: "small"}: true, {Namespace: "team-a", Name: "large"}: true},
		ModelRoutes: map[types.NamespacedName]bool{
			{Namespace: "team-a", Name: "digits"}: true,
		},
	}
	for _, r := range routes {
		w.Routes = append(w.Routes, read[gw.HTTPRoute](t, r))
	}
	return w
}

// said is a condition in short.
func said(cs []metav1.Condition, kind string) string {
	c := apimeta.FindStatusCondition(cs, kind)
	if c == nil {
		return "absent"
	}
	return fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
}

func TestWhichRuleARequestIsFor(t *testing.T) {
	w := worldOf(t,
		routeText("by-path", `
  hostnames: [a.models.example]
  rules:
  - {name: prefix, matches: [{path: {value: /v2}}], backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]}
  - {name: longer, matches: [{path: {value: /v2/models/x/}}], backendRefs: [{group: polder.dev, kind: InferenceService, name: large}]}
  - {name: exact, matches: [{path: {type: Exact, value: /v2/models/x}}], backendRefs: [{group: polder.dev, kind: ModelRoute, name: digits}]}
`),
		routeText("by-head", `
  hostnames: ["*.models.example"]
  rules:
  - {matches: [{headers: [{name: x-model, value: big}]}], backendRefs: [{group: polder.dev, kind: InferenceService, name: large}]}
  - {matches: [{method: DELETE}], backendRefs: [{group: polder.dev, kind: ModelRoute, name: digits}]}
  - {matches: [{queryParams: [{name: v, value: "2"}]}], backendRefs: [{group: polder.dev, kind: InferenceService, name: large}]}
  - {backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]}
`))
	table, _ := Compile(w, now)
	for _, tc := range []struct {
		host, method, target, head, want string
	}{
		{"a.models.example", "POST", "/v2/health/live", "", "small"},
		{"A.MODELS.example", "POST", "/v2/health/live", "", "small"},
		{"a.models.example", "POST", "/v2/models/x", "", "digits"},
		{"a.models.example", "POST", "/v2/models/x/infer", "", "large"},
		{"a.models.example", "POST", "/v2/models/xy/infer", "", "small"},
		{"a.models.example", "POST", "/v22", "big", "large"}, // falls to the wildcard's
		{"b.models.example", "POST", "/v2/models/x", "big", "large"},
		{"b.models.example", "POST", "/v2/models/x", "bigger", "small"},
		{"b.models.example", "DELETE", "/", "", "digits"},
		{"b.models.example", "DELETE", "/", "big", "digits"}, // a method is more than a header
		{"b.models.example", "GET", "/?v=2", "", "large"},
		{"b.models.example", "GET", "/?v=3", "", "small"},
		{"c.b.models.example", "GET", "/", "", "small"},
		{"models.example", "GET", "/", "", "none"},
		{"evilmodels.example", "GET", "/", "", "none"},
	} {
		r := httptest.NewRequest(tc.method, tc.target, nil)
		if tc.head != "" {
			r.Header.Set("X-Model", tc.head)
		}
		got := "none"
		if e := table.find(tc.host, r); e != nil {
			got = e.rule.backends[0].name
		}
		if got != tc.want {
			t.Errorf("%s %s%s (%s) is for %s, want %s", tc.method, tc.host, tc.target, tc.head, got, tc.want)
		}
		if known := table.Knows(tc.host); known != (tc.want != "none") {
			t.Errorf("host %s is known: %v", tc.host, known)
		}
	}
}

func TestConditionsSayWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		rest               string
		accepted, resolved string
		hosts              int
	}{
		"good":                  {`  hostnames: [a.models.example]` + "\n" + `  rules: [{backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]}]`, "True Accepted ", "True ResolvedRefs ", 1},
		"no such host":          {`  hostnames: [a.elsewhere.example]` + "\n" + `  rules: [{}]`, "False NoMatchingListenerHostname no listener of Gateway infra/front has a hostname of spec.hostnames", "True ResolvedRefs ", 0},
		"a Service":             {`  rules: [{backendRefs: [{name: small, port: 80}]}]`, "True Accepted ", "False InvalidKind spec.rules[0].backendRefs[0]: the gateway serves kinds InferenceService and ModelRoute of group polder.dev only", 1},
		"nobody there":          {`  rules: [{backendRefs: [{group: polder.dev, kind: InferenceService, name: none}]}]`, "True Accepted ", "False BackendNotFound spec.rules[0].backendRefs[0]: there is no InferenceService none in namespace team-a", 1},
		"another namespace":     {`  rules: [{backendRefs: [{group: polder.dev, kind: InferenceService, name: small, namespace: team-b}]}]`, "True Accepted ", "False RefNotPermitted spec.rules[0].backendRefs[0].namespace: a backend must be in the namespace of its HTTPRoute, team-a", 1},
		"mirror":                {`  rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: x}}}]}]`, "False UnsupportedValue spec.rules[0].filters[0]: filters of type RequestMirror are not supported", "True ResolvedRefs ", 0},
		"regular expression":    {`  rules: [{matches: [{path: {type: RegularExpression, value: "/a.*"}}]}]`, "False UnsupportedValue spec.rules[0].matches[0].path.type: RegularExpression is not supported; use Exact or PathPrefix", "True ResolvedRefs ", 0},
		"redirect and backends": {`  rules: [{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]}]`, "False IncompatibleFilters spec.rules[0]: a RequestRedirect answers by itself; leave out backendRefs and URLRewrite", "True ResolvedRefs ", 0},
		"timeouts":              {`  rules: [{timeouts: {request: 1s}}]`, "False UnsupportedValue spec.rules[0]: sessionPersistence, retry and timeouts are not supported; leave them out, a service has timeoutSeconds of its own", "True ResolvedRefs ", 0},
	} {
		table, say := Compile(worldOf(t, routeText("r", tc.rest)), now)
		if len(say.Routes) != 1 || len(say.Routes[0].Status.Parents) != 1 {
			t.Errorf("%s: of the route is said %+v", name, say.Routes)
			continue
		}
		p := say.Routes[0].Status.Parents[0]
		got := []string{said(p.Conditions, "Accepted"), said(p.Conditions, "ResolvedRefs")}
		if d := cmp.Diff([]string{tc.accepted, tc.resolved}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if len(table.hosts) != tc.hosts {
			t.Errorf("%s: %d hosts are served, want %d", name, len(table.hosts), tc.hosts)
		}
	}
}

func TestListenersSayWhy(t *testing.T) {
	for name, tc := range map[string]struct{ listener, accepted, resolved, programmed string }{
		"good":           {`{name: l, port: 443, protocol: HTTPS, tls: {options: {polder.dev/certificate: cloud}}}`, "True Accepted ", "True ResolvedRefs ", "True Programmed "},
		"another port":   {`{name: l, port: 8443, protocol: HTTPS, tls: {options: {polder.dev/certificate: cloud}}}`, "False PortUnavailable port 8443 is not the gateway's: it answers at port 443 only", "True ResolvedRefs ", "False Invalid port 8443 is not the gateway's: it answers at port 443 only"},
		"clear text":     {`{name: l, port: 443, protocol: HTTP}`, "False UnsupportedProtocol protocol HTTP is not supported: the gateway speaks HTTPS only", "False InvalidCertificateRef tls: give certificateRefs, or options with polder.dev/certificate: cloud", "False Invalid protocol HTTP is not supported: the gateway speaks HTTPS only"},
		"no such secret": {`{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: none}]}}`, "True Accepted ", "False InvalidCertificateRef tls.certificateRefs[0]: there is no Secret none of type kubernetes.io/tls with a certificate and its key in namespace infra", "False Invalid tls.certificateRefs[0]: there is no Secret none of type kubernetes.io/tls with a certificate and its key in namespace infra"},
		"a secret":       {`{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}`, "True Accepted ", "True ResolvedRefs ", "True Programmed "},
		"other routes":   {`{name: l, port: 443, protocol: HTTPS, tls: {options: {polder.dev/certificate: cloud}}, allowedRoutes: {kinds: [{kind: GRPCRoute}]}}`, "True Accepted ", "False InvalidRouteKinds allowedRoutes.kinds: the gateway knows HTTPRoutes only", "False Invalid allowedRoutes.kinds: the gateway knows HTTPRoutes only"},
	} {
		w := worldOf(t)
		w.Certificates = map[types.NamespacedName]bool{{Namespace: "infra", Name: "pair"}: true}
		w.Gateways = []gw.Gateway{read[gw.Gateway](t, "metadata: {name: front, namespace: infra, uid: g}\nspec: {gatewayClassName: polder, listeners: ["+tc.listener+"]}")}
		_, say := Compile(w, now)
		if a := say.Gateways[0].Status.Addresses; len(a) != 1 || a[0].Value != "10.0.0.1" {
			t.Errorf("%s: addresses %v", name, a)
		}
		ls := say.Gateways[0].Status.Listeners[0]
		got := []string{said(ls.Conditions, "Accepted"), said(ls.Conditions, "ResolvedRefs"), said(ls.Conditions, "Programmed")}
		if d := cmp.Diff([]string{tc.accepted, tc.resolved, tc.programmed}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestWhoMayAttach(t *testing.T) {
	for from, want := range map[string]bool{
		`{from: All}`:  true,
		`{from: Same}`: false,
		`{from: Selector, selector: {matchLabels: {tier: gold}}}`:  true,
		`{from: Selector, selector: {matchLabels: {tier: brass}}}`: false,
	} {
		w := worldOf(t, routeText("r", "  rules: [{}]"))
		w.Gateways = []gw.Gateway{read[gw.Gateway](t, strings.Replace(gatewayText, "{from: All}", from, 1))}
		table, say := Compile(w, now)
		if got := strings.HasPrefix(said(say.Routes[0].Status.Parents[0].Conditions, "Accepted"), "True"); got != want || (len(table.hosts) > 0) != want {
			t.Errorf("with %s the route is accepted: %v, served: %v; want %v", from, got, len(table.hosts) > 0, want)
		}
	}
}

// TestOthersStatusesStay: several controllers write to one list.
func TestOthersStatusesStay(t *testing.T) {
	w := worldOf(t, routeText("r", "  rules: [{}]"))
	other := gw.RouteParentStatus{ControllerName: "example.com/other", ParentRef: gw.ParentReference{Name: "x"}}
	w.Routes[0].Status.Parents = []gw.RouteParentStatus{other}
	_, say := Compile(w, now)
	if got := say.Routes[0].Status.Parents; len(got) != 2 || got[0].ControllerName != other.ControllerName {
		t.Errorf("parents are %+v", got)
	}
	again := *w
	again.Routes = say.Routes
	_, twice := Compile(&again, metav1.NewTime(now.Add(time.Hour)))
	if d := cmp.Diff(say.Routes, twice.Routes); d != "" {
		t.Errorf("said again it is another (-first +second):\n%s", d)
	}
	w.Gateways = nil // the route's Gateway goes
	w.Routes = say.Routes
	_, say = Compile(w, now)
	if got := say.Routes[0].Status.Parents; len(got) != 1 || got[0].ControllerName != other.ControllerName {
		t.Errorf("without a Gateway of ours parents are %+v", got)
	}
}

func TestWeightsAreKept(t *testing.T) {
	table, _ := Compile(worldOf(t, routeText("r", `
  rules:
  - backendRefs:
    - {group: polder.dev, kind: InferenceService, name: small, weight: 80}
    - {group: polder.dev, kind: InferenceService, name: large, weight: 20}
    - {group: polder.dev, kind: ModelRoute, name: digits, weight: 0}
`)), now)
	const seed, n = 7, 20_000
	random := rand.New(rand.NewPCG(seed, seed))
	got := map[string]int{}
	e := table.find("x.models.example", httptest.NewRequest("GET", "/", nil))
	for range n {
		got[e.rule.pick(random.Float64()).name]++
	}
	if share := float64(got["small"]) / n; share < 0.79 || share > 0.81 || got["digits"] != 0 {
		t.Errorf("seed %d: of %d requests they got %v", seed, n, got)
	}
	if b := (&rule{}).pick(0.5); b != nil {
		t.Errorf("a rule without backends picks %v", b)
	}
}

// fake answers with what it was asked.
type fake struct{ names []string }

func (f *fake) Do(service types.NamespacedName, r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}
	text, _ := json.Marshal(map[string]string{
		"to": "service " + service.String(), "path": r.URL.Path, "body": body, "tag": r.Header.Get("X-Tag"), "secret": r.Header.Get("Authorization"),
	})
	return &http.Response{StatusCode: 200, Header: http.Header{"X-Server": {"onnx"}}, Body: io.NopCloser(strings.NewReader(string(text))), ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (f *fake) Has(r types.NamespacedName) bool          { return slices.Contains(f.names, r.Name) }
func (f *fake) Names(string, v1alpha1.Protocol) []string { return f.names }
func (f *fake) Serve(w http.ResponseWriter, r *http.Request, c *gateway.Call) {
	_ = json.NewEncoder(w).Encode(map[string]string{"to": "route " + c.Key().String(), "path": c.Path, "body": string(c.Body)})
}

// visitor may ask for what is in its own namespace.
type visitor gateway.Client

func (v visitor) Client() gateway.Client { return gateway.Client(v) }
func (v visitor) May(_ context.Context, namespace string, _ bool, _ string) error {
	if v.Namespace != namespace {
		return gateway.Faultf(http.StatusForbidden, "forbidden", "not in %s", namespace)
	}
	return nil
}

// readAll is as the door reads bodies, with a bound of 100 bytes.
func readAll(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if len(b) > 100 {
		return nil, gateway.Faultf(http.StatusRequestEntityTooLarge, "too_large", "more than 100 bytes")
	}
	return b, err
}

func TestServe(t *testing.T) {
	f := &fake{}
	h, err := NewHandler(Config{
		Services: f, Routes: f, Draw: func() float64 { return 0.9 }})
	if err != nil {
		t.Fatal(err)
	}
	table, _ := Compile(worldOf(t,
		routeText("r", `
  hostnames: [a.models.example]
  rules:
  - matches: [{path: {value: /v2}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-tag, value: blue}]}}, {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [X-Server], add: [{name: x-by, value: polder}]}}]
    backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]
  - matches: [{path: {value: /v1}}]
    backendRefs: [{group: polder.dev, kind: ModelRoute, name: digits}]
  - matches: [{path: {value: /app}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{group: polder.dev, kind: InferenceService, name: large}]
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: b.models.example, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{group: polder.dev, kind: InferenceService, name: none}]
`)), now)
	h.table.Store(table)
	me := gateway.Client{Namespace: "team-a", Name: "k", Key: true}
	for name, tc := range map[string]struct {
		client       gateway.Client
		method, path string
		body         string
		status       int
		want         string // in the answer
		location     string
	}{
		"v2 names the service":     {me, "POST", "/v2/models/whatever/infer", `{}`, 200, `"path":"/v2/models/small/infer"`, ""},
		"headers are changed":      {me, "POST", "/v2/models/whatever/infer", `{}`, 200, `"tag":"blue"`, ""},
		"a secret goes no further": {me, "POST", "/v2/models/whatever/infer", `{}`, 200, `"secret":""`, ""},
		"openai names the route":   {me, "POST", "/v1/chat/completions", `{"model":"gpt","n":1}`, 200, `"body":"{\"model\":\"digits\",\"n\":1}"`, ""},
		"openai without model":     {me, "POST", "/v1/chat/completions", `{"n":1}`, 400, "names no model", ""},
		"a prefix is replaced":     {me, "GET", "/app/x", "", 200, `"path":"/x"`, ""},
		"a redirect":               {me, "GET", "/old/y?q=1", "", 301, "", "https://b.models.example/new/y?q=1"},
		"an absent backend":        {me, "GET", "/gone", "", 500, "its conditions say why", ""},
		"no rule":                  {me, "GET", "/else", "", 404, "no HTTPRoute of this host takes GET /else", ""},
		"too large":                {me, "POST", "/v2/models/x/infer", strings.Repeat("x", 101), 413, "more than 100 bytes", ""},
		"somebody else":            {gateway.Client{Namespace: "team-b"}, "GET", "/app/x", "", 403, "not in team-a", ""},
	} {
		r := httptest.NewRequest(tc.method, "https://a.models.example"+tc.path, strings.NewReader(tc.body))
		r.Header.Set("Authorization", "Bearer secret")
		w := httptest.NewRecorder()
		if !h.Knows(r.Host) {
			t.Fatal("the host is not known")
		}
		namespace, serve := h.Find(r)
		if want := map[bool]string{true: "", false: "team-a"}[tc.status == 404]; namespace != want {
			t.Errorf("%s: it is for namespace %q, want %q", name, namespace, want)
		}
		serve(w, r.WithContext(gateway.WithVisitor(r.Context(), visitor(tc.client))), tc.client, readAll)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) || w.Header().Get("Location") != tc.location {
			t.Errorf("%s: %d %s (to %q), want %d with %s (to %q)", name, w.Code, w.Body, w.Header().Get("Location"), tc.status, tc.want, tc.location)
		}
		if strings.HasPrefix(tc.path, "/v2") && tc.status == 200 && (w.Header().Get("X-Server") != "" || w.Header().Get("X-By") != "polder") {
			t.Errorf("%s: headers of the answer are %v", name, w.Header())
		}
	}
}

// FuzzFind: whatever a client sends, one entry or none is found, and always the same.
func FuzzFind(f *testing.F) {
	table, _ := Compile(worldOf(f, routeText("r", `
  rules: [{matches: [{path: {value: /v2}}, {headers: [{name: a, value: b}], queryParams: [{name: q, value: "1"}]}], backendRefs: [{group: polder.dev, kind: InferenceService, name: small}]}]`)), now)
	f.Add("a.models.example", "/v2/x?q=1", "b")
	f.Add("", "/", "")
	f.Fuzz(func(t *testing.T, host, target, head string) {
		r, err := http.NewRequest("GET", "https://x"+target, nil)
		if err != nil {
			return
		}
		r.Header.Set("A", head)
		if a, b := table.find(host, r), table.find(host, r); a != b {
			t.Errorf("%v and %v", a, b)
		} else if a != nil && !table.Knows(host) {
			t.Errorf("host %q has a rule and is not known", host)
		}
	})
}
