package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	rules "polder.dev/polder/model/route"
)

// running runs the shadows until the test ends, or stop is called, which waits.
func (w *world) running() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = w.shadows.run(ctx); close(done) }()
	for {
		w.shadows.mu.Lock()
		is := w.shadows.running != nil
		w.shadows.mu.Unlock()
		if is {
			break
		}
		time.Sleep(time.Millisecond) // until it is
	}
	return func() { cancel(); <-done }
}

func TestShadow(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Shadow = &v1alpha1.Shadow{Target: "other", Percent: 100}
	w.Set(route)
	w.services["s"], w.services["o"] = classifier(t, "s", 0), classifier(t, "o", 0.25)
	body, h := rows(t, false, 0, 1, 0.375, 2, 0.75, 3)
	stop := w.running()
	r := w.do(request{body: body, header: h})
	want(t, r, 200, "Polder-Target: small")
	stop()
	if s := w.find(split2key()).seen; s.compared != 3 || s.disagreed != 1 || s.requests != 1 {
		t.Errorf("%+v", s)
	}
	want(t, w.do(request{body: body, header: h}), 200)
	if w.calls("o") != 1 {
		t.Error("a shadow was cast after the end")
	}
}

// A shadow that hangs or fails changes nothing, and no more than so many are under way.
func TestShadowsAreBounded(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Shadow = &v1alpha1.Shadow{Target: "other", Percent: 100}
	w.Set(route)
	hang := make(chan struct{})
	w.services["s"], w.services["o"] = classifier(t, "s", 0), func(http.ResponseWriter, *http.Request) { <-hang }
	body, h := rows(t, false, 0, 1)
	stop := w.running()
	for range shadowsMax + 10 {
		want(t, w.do(request{body: body, header: h}), 200)
	}
	if n := len(w.shadows.free); n != shadowsMax {
		t.Errorf("%d are under way", n)
	}
	close(hang)
	stop()
	if w.calls("o") != shadowsMax {
		t.Errorf("%d were cast", w.calls("o"))
	}
}

func TestShadowOfText(t *testing.T) {
	w := start(t)
	route := split()
	route.Spec.Shadow = &v1alpha1.Shadow{Target: "other", Percent: 100}
	w.Set(route)
	w.services["s"], w.services["o"] = says("yes", 0), says(" yes\n", 0)
	stop := w.running()
	want(t, w.do(request{path: pathChat, body: []byte(`{"model":"r"}`)}), 200)
	stop()
	if s := w.find(split2key()).seen; s.compared != 1 || s.disagreed != 0 {
		t.Errorf("%+v", s)
	}
}

func logging() *v1alpha1.ModelRoute {
	r := split()
	r.Spec.Log = &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: "logs", Prefix: "r"}, Percent: 100, Redact: []string{`\d{4,}`}}
	return r
}

func TestLog(t *testing.T) {
	w := start(t)
	w.Set(logging())
	w.services["s"] = says("call 12345", 0)
	want(t, w.do(request{path: pathChat, body: []byte(`{"model":"r","messages":[{"content":"I am \u0031\u0032345"}]}`), header: http.Header{"Polder-Task": {"help"}}}), 200)
	w.services["s"] = classifier(t, "s", 0)
	body, h := rows(t, true, 0, 1, 1, 2)
	want(t, w.do(request{body: body, header: h}), 200)
	w.services["s"] = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, word := range []string{"a", "b"} {
			fmt.Fprintf(rw, "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
		}
		fmt.Fprint(rw, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}
	want(t, w.do(request{path: pathChat, body: []byte(`{"model":"r","stream":true}`)}), 200)
	w.services["s"] = status(200) // says nothing that is JSON
	want(t, w.do(request{body: body, header: h}), 200)
	w.services["s"] = status(404) // is no data for training
	want(t, w.do(request{body: body, header: h}), 404)
	w.end(t)
	lines := w.bucket.lines()
	slices.Sort(lines)
	if len(lines) != 3 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	all := strings.Join(lines, "\n")
	for _, part := range []string{
		`"workload_id":"r/help"`, `"client_id":"key:red-1/key"`, `I am [redacted]`, `call [redacted]`, `"timestamp":1772366400,`,
		`"data":[0,1,1,2]`, `"message":{"content":"ab","role":"assistant"}`, `"finish_reason":"stop"`,
	} {
		if !strings.Contains(all, part) {
			t.Errorf("no %s in\n%s", part, all)
		}
	}
	if strings.Contains(all, "2345") || strings.Contains(all, "secret") {
		t.Errorf("a secret was kept:\n%s", all)
	}
	for _, l := range lines {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(l), &fields); err != nil || len(fields) != 5 {
			t.Errorf("%v: %s", err, l)
		}
	}
	for key := range w.bucket.objects {
		if !strings.HasPrefix(key, "red-1/logs/r/2026/03/01/r-120000.000000000-") || !strings.HasSuffix(key, ".jsonl") {
			t.Error(key)
		}
	}
}

// end ends the journal as a process that ends does.
func (w *world) end(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.journal.run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestLogThatCannotBeWritten(t *testing.T) {
	w := start(t)
	w.Set(logging())
	w.services["s"] = says("x", 0)
	ask := func(body string) {
		t.Helper()
		want(t, w.do(request{path: pathChat, body: []byte(body)}), 200)
		for len(w.journal.queue) > 0 {
			w.journal.take(<-w.journal.queue)
		}
	}
	w.bucket.broken = errors.New("there is no bucket logs")
	ask(`{"model":"r","n":1}`)
	w.journal.flush(t.Context(), false)
	if l := w.find(split2key()); l.logged != "" {
		t.Error("written before it was due")
	}
	w.pass(batchAfter)
	w.journal.flush(t.Context(), false)
	l := w.find(split2key())
	if !strings.Contains(l.logged, "there is no bucket logs") {
		t.Errorf("told %q", l.logged)
	}
	big := `{"model":"r","x":"` + strings.Repeat("y", 3<<20) + `"}`
	for range 6 {
		ask(big)
	}
	for _, b := range w.journal.batches {
		if len(b.lines) > batchBytesMax || b.dropped != 1 {
			t.Errorf("%d bytes wait, %d were dropped", len(b.lines), b.dropped)
		}
	}
	w.bucket.broken = nil
	w.journal.flush(t.Context(), false)
	if len(w.bucket.lines()) != 0 {
		t.Error("tried again at once")
	}
	w.pass(againMax)
	w.journal.flush(t.Context(), false)
	if lines := w.bucket.lines(); len(lines) != 6 || !strings.Contains(lines[0], `"n":1`) {
		t.Errorf("%d lines", len(lines))
	}
	if !strings.Contains(l.logged, "1 records found no room") {
		t.Errorf("told %q", l.logged)
	}
	ask(`{"model":"r"}`)
	w.end(t)
	if l.logged != "" {
		t.Errorf("told %q", l.logged)
	}
}

func TestLogQueueIsBounded(t *testing.T) {
	w := start(t)
	route := logging()
	route.Spec.Log.Redact = nil
	w.Set(route)
	w.services["s"] = says("x", 0)
	body := []byte(`{"model":"r","x":"` + strings.Repeat("y", 3<<20) + `"}`)
	for range 30 {
		want(t, w.do(request{path: pathChat, body: body}), 200)
	}
	if n := w.journal.bytes.Load(); n > queueBytesMax || len(w.journal.queue) < 20 {
		t.Errorf("%d records with %d bytes wait", len(w.journal.queue), n)
	}
	w.end(t)
	if n := w.journal.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted of nothing", n)
	}
}

func FuzzJoined(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if out, err := joined(body); err == nil && !json.Valid(out) {
			t.Errorf("%q", out)
		}
	})
}

func TestObserved(t *testing.T) {
	w := start(t)
	route := cascade("")
	route.Spec.Log = &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: "logs"}}
	route.Spec.Rules[0].Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: "e", EscalationMax: "0.3"}
	w.Set(route)
	w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0)
	sure, h := rows(t, false, 1, 0)
	unsure, _ := rows(t, false, 0.5, 0)
	want(t, w.do(request{body: sure, header: h}), 200, "Polder-Target: large", "Polder-Escalated: ") // nothing is learned yet
	route = route.DeepCopy()
	route.Status.Cascade = &v1alpha1.CascadeStatus{Threshold: "0.5", DisagreementHigh: "0.5", Expected: &v1alpha1.RouteQuality{EscalationHigh: "0.25"}}
	w.Set(route)
	told := map[types.NamespacedName]report{}
	look := func() *v1alpha1.ModelRoute { w.tell(t.Context(), told); return w.status[split2key()] }
	for i := range 1200 {
		body := sure
		if i%5 == 0 {
			body = unsure
		}
		want(t, w.do(request{body: body, header: h}), 200)
	}
	o := look()
	if s := o.Status.Observed; s == nil || s.Requests != 1201 || s.Escalated != 240 || s.RecentEscalation != "0.2" || s.Compared != 240 || s.Disagreed != 0 {
		t.Fatalf("%+v", s)
	}
	if !meta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.ConditionDrift) || !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionLogged) {
		t.Errorf("%+v", o.Status.Conditions)
	}
	delete(w.status, split2key())
	if look() != nil {
		t.Error("written although nothing is new")
	}
	for range 300 {
		want(t, w.do(request{body: unsure, header: h}), 200)
	}
	if c := meta.FindStatusCondition(look().Status.Conditions, v1alpha1.ConditionDrift); c == nil || c.Status != "True" || c.Reason != "Escalation" || !strings.Contains(c.Message, "at most 0.25 were expected") {
		t.Errorf("%+v", c)
	}
	w.services["l"] = classifier(t, "l", 0.25)
	drift := route.DeepCopy() // it was learned anew: what was seen counts no more
	drift.Status.Cascade.Expected.EscalationHigh = "0.9999"
	w.Set(drift)
	for i := range 2000 {
		body := unsure
		if i%100 == 0 {
			body = sure
		}
		want(t, w.do(request{body: body, header: h}), 200)
	}
	if c := meta.FindStatusCondition(look().Status.Conditions, v1alpha1.ConditionDrift); c == nil || c.Reason != "Disagreement" {
		t.Errorf("%+v", c)
	}
	if share, _ := w.find(split2key()).disagreements.Recent(); share != 1 {
		t.Errorf("%v disagree", share)
	}
}

// A gateway that has just started says nothing against what another has found.
func TestDriftStays(t *testing.T) {
	r := report{expects: true}
	o := split()
	set(o, v1alpha1.ConditionDrift, firstOf(report{expects: true, escalating: true}.drift(nil)))
	r.write(time.Unix(1e9, 0))(o)
	if !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionDrift) {
		t.Error("it was taken back unseen")
	}
	r.settled = true
	r.write(time.Unix(1e9, 0))(o)
	if !meta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.ConditionDrift) {
		t.Error("it stays although enough was seen")
	}
	report{}.write(time.Unix(1e9, 0))(o)
	if len(o.Status.Conditions) != 0 {
		t.Errorf("of a route that expects and keeps nothing it is said: %+v", o.Status.Conditions)
	}
}

func firstOf[A, B any](a A, _ B) A { return a }

func TestSpread(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {3, 1}, {1000, 333}, {16 << 20, 8 << 20}} {
		d := rules.NewDrift(0.9999)
		spread(d, c[0], c[1])
		want := float64(c[1]) / float64(c[0])
		if share, of := d.Recent(); of != min(c[0], rules.Window) || share < want-0.01 || share > want+0.01 {
			t.Errorf("%v: %v of %d", c, share, of)
		}
	}
}

// A router that ends in order has kept what was spent, and written its records.
func TestRun(t *testing.T) {
	w := start(t)
	route := logging()
	route.Spec.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "100"}
	w.Set(route)
	w.services["s"] = says("x", 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for range 3 {
		want(t, w.do(request{path: pathChat, body: []byte(`{"model":"r"}`)}), 200)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := len(w.bucket.lines()); n != 3 {
		t.Errorf("%d records were written", n)
	}
	w.open()
	for _, p := range w.spend.purses {
		if p.Spent != 3e9 || p.Kept != 3e9 {
			t.Errorf("%+v", p)
		}
	}
	if len(w.spend.purses) != 1 {
		t.Errorf("%d purses are kept", len(w.spend.purses))
	}
}
