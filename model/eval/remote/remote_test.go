package remote

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/infer"
)

// stage is a gateway that does as it is told.
type stage struct {
	*Gateway
	url    string
	token  string // file
	clock  time.Time
	waited []time.Duration
	asked  []string // methods, paths and bodies
	answer func(w http.ResponseWriter, n int)
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{clock: time.Unix(1e9, 0)}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := os.ReadFile(s.token)
		if r.Header.Get("Authorization") != "Bearer "+string(token) || !strings.Contains(r.Header.Get("Cache-Control"), "no-cache") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
		s.answer(w, len(s.asked))
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	s.url, s.token = srv.URL+"/team", filepath.Join(dir, "token")
	place(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	place(t, s.token, "first")
	var err error
	if s.Gateway, err = New(ca, s.token, func() time.Time { s.clock = s.clock.Add(time.Millisecond); return s.clock }); err != nil {
		t.Fatal(err)
	}
	s.wait = func(_ context.Context, d time.Duration) error { s.waited = append(s.waited, d); return nil }
	return s
}

func place(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const answered = `{"model_name":"digits","model_version":"sha256:aa","outputs":[{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[0.9,0.1,0.2,0.8]}]}`

func service(s *stage) trial.Entrant {
	return trial.Entrant{Name: "digits", Service: "digits", URL: s.url, Revisions: map[string]string{"digits-1": "sha256:bb"}}
}

func TestRows(t *testing.T) {
	s := newStage(t)
	s.answer = func(w http.ResponseWriter, n int) {
		if n == 1 {
			fmt.Fprint(w, `{"name":"digits","inputs":[{"name":"image","datatype":"FP32","shape":[-1,1,3]}],"serving":{"task":"classification","labels":["no","yes"]}}`)
			return
		}
		w.Header().Set(infer.HeaderRevision, "digits-1")
		fmt.Fprint(w, answered)
	}
	m, err := s.Open(t.Context(), eval.TaskClassification, service(s))
	if err != nil {
		t.Fatal(err)
	}
	if width, _ := m.Width(); width != 3 || m.Serving().Label(1) != "yes" {
		t.Errorf("it is %d wide and says %+v", width, m.Serving())
	}
	place(t, s.token, "second") // the kubelet has renewed it
	out, err := m.Rows(t.Context(), []float32{1, 2, 3, 4, 5, 6}, 3, 256)
	if err != nil || len(out) != 1 || out[0].Len() != 4 {
		t.Fatalf("answered %+v, %v", out, err)
	}
	want := []string{"GET /team/v2/models/digits", `POST /team/v2/models/digits/infer {"inputs":[{"name":"image","datatype":"FP32","shape":[2,1,3],"data":[1,2,3,4,5,6]}]}`}
	if d := cmp.Diff(want, s.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	if d := cmp.Diff(trial.Sent{Took: time.Millisecond, By: []eval.Origin{{Revision: "digits-1", Digest: "sha256:aa", Rows: 2}}}, m.Sent()); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	if n := m.Batch(1 << 16); n != cellsMax>>16 {
		t.Errorf("%d rows of %d numbers at a time", n, 1<<16)
	}
}

func TestAsksAgain(t *testing.T) {
	busy := func(status int, after string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"too many"}`)
		}
	}
	for name, c := range map[string]struct {
		fails  int // requests that are answered so
		how    func(http.ResponseWriter)
		want   string // of the error
		waited []time.Duration
		again  bool // the trial may be run again
	}{
		"it recovers":          {2, busy(503, ""), "", []time.Duration{pauseFirst, 2 * pauseFirst}, false},
		"it says when":         {1, busy(429, "7"), "", []time.Duration{7 * time.Second}, false},
		"it breaks off":        {1, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "", []time.Duration{pauseFirst}, false},
		"it never recovers":    {99, busy(502, ""), "service digits was asked 6 times and has not answered: it answered 502: too many", nil, true},
		"the budget is spent":  {99, busy(429, "3600"), "service digits: it answered 429: too many", nil, false},
		"the request is wrong": {99, busy(400, ""), "service digits: it answered 400: too many", nil, false},
		"it may not":           {99, busy(403, ""), "it answered 403", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.answer = func(w http.ResponseWriter, n int) {
				if n <= c.fails {
					c.how(w)
					return
				}
				fmt.Fprint(w, answered)
			}
			e := service(s)
			a, err := s.ask(t.Context(), &e, http.MethodPost, "/v2/models/digits/infer", []byte("{}"))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, new(*trial.Trouble)) != c.again {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil || a.sent.Again != c.fails || a.sent.Took != time.Millisecond {
				t.Errorf("sent %+v, %v", a, err)
			}
			if d := cmp.Diff(c.waited, s.waited); d != "" {
				t.Errorf("waited (-want +got):\n%s", d)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	s := newStage(t)
	s.answer = func(w http.ResponseWriter, n int) {
		w.Header().Set(infer.HeaderRoute, "both/all")
		w.Header().Set(infer.HeaderTarget, "large")
		w.Header().Set(infer.HeaderCost, "0.002")
		if n == 2 {
			fmt.Fprint(w, `{"choices":[{"message":{"content":null}}]}`)
			return
		}
		fmt.Fprint(w, `{"choices":[{"message":{"content":"Paris"}}],"usage":{"completion_tokens":3}}`)
	}
	w := s.Writer(&trial.Plan{Seed: 4, System: "Be brief.", TokensMax: 16}, trial.Entrant{Name: "r", Route: "both", URL: s.url})
	got, err := w.Write(t.Context(), "Capital of France?")
	if err != nil {
		t.Fatal(err)
	}
	want := trial.Written{Text: "Paris", Tokens: 3, Sent: trial.Sent{Took: time.Millisecond, Cost: 0.002, By: []eval.Origin{{Target: "large", Rows: 1}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("written (-want +got):\n%s", d)
	}
	_, body, _ := strings.Cut(s.asked[0], "completions ")
	var asked map[string]any
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{
		"model": "both", "temperature": 0.0, "seed": 4.0, "max_tokens": 16.0,
		"messages": []any{map[string]any{"role": "system", "content": "Be brief."}, map[string]any{"role": "user", "content": "Capital of France?"}},
	}, asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	if got, err := w.Write(t.Context(), "?"); err != nil || got.Text != "" {
		t.Errorf("without a text: %+v, %v", got, err)
	}
}

// A service and a route of one name are never taken for each other.
func TestTakenForEachOther(t *testing.T) {
	s := newStage(t)
	s.answer = func(w http.ResponseWriter, _ int) {
		w.Header().Set(infer.HeaderRoute, "digits/all")
		fmt.Fprint(w, answered)
	}
	if _, err := s.Open(t.Context(), eval.TaskClassification, service(s)); err == nil || errors.As(err, new(*trial.Trouble)) {
		t.Errorf("a route answered for a service: %v", err)
	}
	s.answer = func(w http.ResponseWriter, _ int) { fmt.Fprint(w, answered) }
	e := trial.Entrant{Name: "r", Route: "digits", URL: s.url}
	if _, err := s.Open(t.Context(), eval.TaskClassification, e); err == nil {
		t.Error("a service answered for a route")
	}
}

func TestBy(t *testing.T) {
	head := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	e := trial.Entrant{Revisions: map[string]string{"svc-1": "sha256:bb"}}
	for name, c := range map[string]struct {
		header http.Header
		want   []eval.Origin
	}{
		"a service":        {head(infer.HeaderRevision, "svc-1"), []eval.Origin{{Revision: "svc-1", Digest: "sha256:bb", Rows: 10}}},
		"a new revision":   {head(infer.HeaderRevision, "svc-2"), []eval.Origin{{Revision: "svc-2", Rows: 10}}},
		"both of a route":  {head(infer.HeaderTarget, "small,large", infer.HeaderEscalated, "3/10"), []eval.Origin{{Target: "small", Rows: 7}, {Target: "large", Rows: 3}}},
		"nothing is known": {head(infer.HeaderTarget, "small,large"), []eval.Origin{{Target: "small,large", Rows: 10}}},
	} {
		a := answer{header: c.header}
		if d := cmp.Diff(c.want, a.by(&e, "3", 10)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
