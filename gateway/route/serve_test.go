package route

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

func split2key() types.NamespacedName { return types.NamespacedName{Namespace: "red-1", Name: "r"} }

func TestSplitFallsBack(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Fallback = []string{"small", "large", "other"}
	w.Set(route)
	w.services["l"], w.services["o"] = status(500), status(200)
	r := w.do(request{body: []byte("{}")})
	want(t, r, 200, "Polder-Target: other", "Polder-Route: r/all", "Polder-Escalated: ")
	if w.calls("s") != 1 || w.calls("l") != 1 {
		t.Error(w.asked)
	}
	w.services["o"] = status(503)
	r = w.do(request{body: []byte("{}")})
	want(t, r, 503, "Polder-Target: other")
	if got := text(t, r); got != "it is 503" {
		t.Error(got)
	}
	w.services["s"] = status(404)
	want(t, w.do(request{body: []byte("{}")}), 404, "Polder-Target: small")
}

// What breaks off after its head was sent is not asked again.
func TestNothingIsAskedAgainAfterAByte(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Fallback = []string{"large"}
	route.Spec.Log = &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: "logs"}}
	w.Set(route)
	w.services["l"] = status(200)
	broken := &http.Response{StatusCode: 200, Header: http.Header{}, Body: &breaking{}, ContentLength: -1, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	w.cfg.Services = one{broken}
	if got := text(t, w.do(request{body: []byte("{}")})); got != "half" {
		t.Errorf("answered %q", got)
	}
	if w.calls("l") != 0 || len(w.journal.queue) != 0 {
		t.Error("an answer that broke off was replaced, or kept")
	}
}

type one struct{ resp *http.Response }

func (o one) Do(types.NamespacedName, *http.Request) (*http.Response, error) { return o.resp, nil }

func (o one) Info(types.NamespacedName) (gateway.Info, bool) { return gateway.Info{}, false }

type breaking struct{ n int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		return 0, errors.New("cut")
	}
	return copy(p, "half"), nil
}
func (b *breaking) Close() error { return nil }

func TestRefusals(t *testing.T) {
	w := start(t)
	want(t, w.do(request{}), 404)
	bad := split()
	bad.Spec.Rules[0].Split[0].Target = "nobody"
	w.Set(bad)
	r := w.do(request{})
	want(t, r, 503)
	if got := text(t, r); !strings.Contains(got, `there is no target \"nobody\"`) {
		t.Error(got)
	}
	route := split()
	route.Generation = 2
	route.Spec.Rules[0].Match.Tasks = []string{"ocr"}
	w.Set(route)
	want(t, w.do(request{}), 404)
	w.services["s"] = status(200)
	want(t, w.do(request{header: http.Header{"Polder-Task": {"ocr"}}}), 200)
	if ai := v1alpha1.ProtocolOpenAI; !w.Has(split2key()) || len(w.Names("red-1", ai)) != 1 || len(w.Names("blue", ai)) != 0 || len(w.Names("red-1", v1alpha1.ProtocolV2)) != 0 {
		t.Error("names")
	}
	astray := split()
	astray.Name, astray.UID = "astray", "astray"
	astray.Spec.Targets[0].Service, astray.Spec.Targets[1].Service, astray.Spec.Targets[2].Service = "gone", "gone", "gone"
	if w.Set(astray); !w.Has(types.NamespacedName{Namespace: "red-1", Name: "astray"}) || slices.Contains(w.Names("red-1", v1alpha1.ProtocolOpenAI), "astray") {
		t.Error("a route over services that are not there is listed")
	}
	w.Remove(split2key())
	if w.Has(split2key()) {
		t.Error("it is there still")
	}
}

func TestWrongProtocol(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Rules[0].Split[0].Target = "other"
	w.Set(route)
	r := w.do(request{body: []byte("{}")})
	want(t, r, 400)
	if got := text(t, r); !strings.Contains(got, "speak the protocol openai: ask for /red-1/v1/...") || w.calls("o") != 0 {
		t.Error(got)
	}
}

// Answers that are read whole, and those that are listened to, share bounded memory, and
// give it back.
func TestAnswersAreBounded(t *testing.T) {
	w := start(t)
	w.Set(cascade("0.5"))
	w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0)
	body, h := rows(t, false, 1, 0, 0.5, 0)
	want(t, w.do(request{body: body, header: h}), 200)
	if n := w.Router.held.used.Load(); n != 0 {
		t.Errorf("%d bytes are held by nobody", n)
	}
	w.Router.held.max = 0
	want(t, w.do(request{body: body, header: h}), 503, "Retry-After: 1")
	w.Router.held.max = heldBytesMax
	w.services["s"] = func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, answerBytesMax+1<<20)) }
	want(t, w.do(request{body: body, header: h}), 200, "Polder-Target: large")
	if n := w.Router.held.used.Load(); n != 0 {
		t.Errorf("%d bytes are held by nobody", n)
	}
}

// What a client asks about the model costs nothing and is answered by the first target.
func TestAbout(t *testing.T) {
	w := start(t)
	route := cascade("0.5")
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "0.000000001"}
	w.Set(route)
	w.services["s"] = func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.URL.Path) }
	r := w.do(request{method: http.MethodGet, path: "/v2/models/r"})
	want(t, r, 200, "Polder-Target: small")
	if got := text(t, r); got != "/v2/models/s" {
		t.Error(got)
	}
	if w.find(split2key()).seen.requests != 0 {
		t.Error("it was counted")
	}
}

func TestPaceOfClients(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Limits = &v1alpha1.RouteLimits{RequestsPerSecond: 2, Burst: 3}
	w.Set(route)
	w.services["s"] = status(200)
	for range 3 {
		want(t, w.do(request{}), 200)
	}
	want(t, w.do(request{}), 429, "Retry-After: 1")
	want(t, w.do(request{name: "other"}), 200)
	route = route.DeepCopy()
	route.Generation = 2
	w.Set(route) // a change of something else gives nobody a new burst
	want(t, w.do(request{}), 429)
	w.pass(500 * time.Millisecond)
	want(t, w.do(request{}), 200)
	want(t, w.do(request{}), 429)
}

// TestABudgetThatIsTooSmall: who asks is not told that they have spent what they have not.
func TestABudgetThatIsTooSmall(t *testing.T) {
	w := start(t)
	route := split() // a request costs 1
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "0.5"}
	w.Set(route)
	w.services["s"] = status(200)
	r := w.do(request{})
	want(t, r, 429)
	if got := text(t, r); !strings.Contains(got, "raise that to at least 1\"") || r.Header.Get("Retry-After") != "" {
		t.Errorf("%s, %v", got, r.Header)
	}
}

func TestBudget(t *testing.T) {
	w := start(t)
	route := split() // a request costs 1
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "100"}
	w.Set(route)
	w.services["s"] = status(200)
	spend := func(n int) (got int) {
		for range n {
			if w.do(request{}).StatusCode == 200 {
				got++
			}
		}
		return got
	}
	if got := spend(40); got != 40 {
		t.Fatalf("%d of 40", got)
	}
	if err := w.spend.close(); err != nil {
		t.Fatal(err)
	}
	w.open() // in order: nothing is lost, to the unit
	w.Set(route)
	if got := spend(20); got != 20 {
		t.Fatalf("%d of 20", got)
	}
	w.open() // as after a kill: at most a hundredth is lost, and nothing is gained
	w.Set(route)
	if got := spend(100); got < 38 || got > 40 {
		t.Errorf("%d of 40 were left after a kill", got)
	}
	r := w.do(request{})
	want(t, r, 429, "Retry-After: 43200")
	if got := text(t, r); !strings.Contains(got, "tenant red has spent") {
		t.Error(got)
	}
	want(t, w.do(request{tenant: "blue"}), 200)
	w.pass(12 * time.Hour)
	want(t, w.do(request{}), 200)
	info, err := os.Stat(w.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// What is reserved and not spent comes back: a cascade that is sure costs its specialist.
func TestBudgetOfCascade(t *testing.T) {
	w := start(t)
	route := cascade("0.5") // 1 when sure, 11 when not, 21 at most
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "40"}
	w.Set(route)
	w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0)
	sure, h := rows(t, false, 1, 0)
	unsure, _ := rows(t, false, 0.5, 0)
	for range 8 {
		want(t, w.do(request{body: sure, header: h}), 200)
	}
	want(t, w.do(request{body: unsure, header: h}), 200) // 19 are spent, 21 are left
	want(t, w.do(request{body: sure, header: h}), 200)
	want(t, w.do(request{body: sure, header: h}), 429) // 20 are left, and it may cost 21
}

func TestBudgetThatCannotBeKept(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "100"}
	w.Set(route)
	w.services["s"] = status(200)
	w.spend.file = w.file + "/not/there"
	want(t, w.do(request{}), 503)
	if w.calls("s") != 0 {
		t.Error("something was spent of which no account is kept")
	}
	w.spend.file = w.file
	want(t, w.do(request{}), 200)
	if err := os.WriteFile(w.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(w.file, w.now); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken account was opened: %v", err)
	}
}

func TestCache(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Cache = &v1alpha1.RouteCache{Seconds: 60, BytesMax: 1 << 20}
	w.Set(route)
	n := 0
	w.services["s"] = func(rw http.ResponseWriter, _ *http.Request) {
		n++
		rw.Header().Set("Content-Type", "x/y")
		fmt.Fprint(rw, n)
	}
	ask := func(q request, cache, body string) {
		t.Helper()
		if q.body == nil {
			q.body = []byte("{}")
		}
		r := w.do(q)
		want(t, r, 200, "Polder-Cache: "+cache, "Polder-Target: small", "Content-Type: x/y")
		if got := text(t, r); got != body {
			t.Errorf("answered %s, want %s", got, body)
		}
	}
	ask(request{}, "miss", "1")
	ask(request{}, "hit", "1")
	ask(request{tenant: "blue"}, "miss", "2")
	ask(request{tenant: "blue"}, "hit", "2")
	ask(request{body: []byte("[]")}, "miss", "3")
	ask(request{header: http.Header{"Cache-Control": {"no-store"}}}, "miss", "4")
	ask(request{header: http.Header{"Cache-Control": {"no-cache"}}}, "miss", "5")
	ask(request{}, "hit", "5")
	w.pass(time.Minute)
	ask(request{}, "miss", "6")
	route = route.DeepCopy()
	route.Generation = 2
	w.Set(route)
	ask(request{}, "miss", "7")
	w.services["s"] = status(404)
	for range 2 {
		want(t, w.do(request{body: []byte("x")}), 404, "Polder-Cache: miss")
	}
	w.Remove(split2key())
	if used := w.room.used.Load(); used != 0 {
		t.Errorf("%d bytes are used by nobody", used)
	}
}

func TestCacheIsBounded(t *testing.T) {
	r := &room{max: 10 * 2048}
	a, b := newAnswers(r, 4*2048, time.Hour), newAnswers(r, 100*2048, time.Hour)
	now := time.Unix(1e9, 0)
	for i := range 20 {
		for _, c := range []*answers{a, b} {
			c.put([32]byte{byte(i)}, &kept{body: make([]byte, 1024)}, now)
			if c.bytes > c.bytesMax || r.used.Load() > r.max || a.bytes+b.bytes != r.used.Load() {
				t.Fatalf("%d of %d, together %d of %d", c.bytes, c.bytesMax, r.used.Load(), r.max)
			}
		}
	}
	if a.find([32]byte{19}, now) == nil || a.find([32]byte{15}, now) != nil {
		t.Error("what was asked for the longest ago is to go first")
	}
	b.put([32]byte{99}, &kept{body: make([]byte, 1<<20)}, now)
	if b.find([32]byte{99}, now) != nil {
		t.Error("an answer is kept that is larger than everything")
	}
	a.clear()
	a.put([32]byte{1}, &kept{}, now)
	if a.bytes != 0 {
		t.Error("a cache that is gone keeps something")
	}
}
