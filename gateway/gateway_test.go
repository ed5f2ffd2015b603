package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/api/v1alpha1"
)

func TestModel(t *testing.T) {
	for _, c := range []struct{ body, want, wrong string }{
		{`{"model":"a"}`, "a", ""},
		{`{"messages":[{"model":"inner"}],"model":"b","stream":true}`, "b", ""},
		{`{"model":"first","model":"last"}`, "last", ""},
		{`{"Model":"other"}`, "", ""},
		{`{}`, "", ""},
		{`{"model":3}`, "", "model must be a string"},
		{`[]`, "", "the body is not a JSON object"},
		{``, "", "the body is not a JSON object"},
		{`{"model":"a"`, "", "the body is not a JSON object"},
		{`{"model":"a"} x`, "", "the body is not a JSON object"},
	} {
		got, err := Model([]byte(c.body))
		wrong := ""
		if err != nil {
			wrong = err.Error()
		}
		if got != c.want || wrong != c.wrong {
			t.Errorf("Model(%s) = %q, %q; want %q, %q", c.body, got, wrong, c.want, c.wrong)
		}
	}
}

func FuzzModel(f *testing.F) {
	for _, s := range []string{`{"model":"a","n":1e400}`, `{"messages":[{"model":"x"}], "model" : "b" }`, `{"model":null}`, "{", `{"a":{"b":[[[]]]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		name, err := Model(body)
		if err != nil || name == "" {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is no JSON and was read", body)
		}
		renamed, err := Rename(body, `new "name`)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Model(renamed); err != nil || got != `new "name` {
			t.Fatalf("renamed %q to %q: %q, %v", body, renamed, got, err)
		}
		back, err := Rename(renamed, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := Model(back); got != name {
			t.Fatalf("%q became %q", name, got)
		}
	})
}

func TestFor(t *testing.T) {
	for _, c := range []struct {
		call Call
		url  string
		body string
	}{
		{Call{Name: "route", Protocol: v1alpha1.ProtocolV2, Path: "/v2/models/route/infer", Body: []byte(`{"inputs":[]}`)}, "/v2/models/svc/infer?q=1", `{"inputs":[]}`},
		{Call{Name: "route", Protocol: v1alpha1.ProtocolV2, Path: "/v2/models/route"}, "/v2/models/svc?q=1", ""},
		{Call{Name: "route", Protocol: v1alpha1.ProtocolOpenAI, Path: "/v1/chat/completions", Body: []byte(`{"n":1, "model":"route"}`)}, "/v1/chat/completions?q=1", `{"n":1, "model":"svc"}`},
		{Call{Name: "svc", Protocol: v1alpha1.ProtocolOpenAI, Path: "/v1/models/svc"}, "/v1/models/svc?q=1", ""},
		{Call{Name: "svc", Protocol: v1alpha1.ProtocolHTTP, Path: "/v2/models/route"}, "/v2/models/route?q=1", "given"},
	} {
		r := httptest.NewRequest("POST", "https://gateway/team/x?q=1", strings.NewReader("given"))
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("X-Forwarded-For", "6.6.6.6")
		r.Header.Set("Transfer-Encoding", "chunked")
		r.Header.Set("Connection", "keep-alive, X-Mine")
		r.Header.Set("X-Mine", "1")
		r.Header.Set("Accept", "application/json")
		out, err := c.call.For(r, "svc", nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		if out.URL.String() != c.url || string(b) != c.body {
			t.Errorf("%s: asks %s with %q; want %s with %q", c.call.Path, out.URL, b, c.url, c.body)
		}
		if diff := cmp.Diff(http.Header{
			"Accept": {"application/json"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"gateway"}, "X-Forwarded-Proto": {"https"},
		}, out.Header); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		if out.GetBody != nil {
			again, err := out.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(again); string(b) != c.body {
				t.Errorf("the second time it is %q", b)
			}
		}
	}
}

func TestRefuse(t *testing.T) {
	late := &Fault{Status: 503, Code: "waking", Sentence: "no replica yet", RetryAfter: 1500 * time.Millisecond, Cause: errors.New("secret")}
	for _, c := range []struct {
		protocol v1alpha1.Protocol
		err      error
		status   int
		body     string
	}{
		{v1alpha1.ProtocolV2, late, 503, `{"error":"no replica yet"}`},
		{v1alpha1.ProtocolOpenAI, late, 503, `{"error":{"message":"no replica yet","type":"server_error","param":null,"code":"waking"}}`},
		{v1alpha1.ProtocolHTTP, late, 503, "no replica yet"},
		{v1alpha1.ProtocolOpenAI, Faultf(401, "no_key", "who are you?"), 401, `{"error":{"message":"who are you?","type":"authentication_error","param":null,"code":"no_key"}}`},
		{v1alpha1.ProtocolV2, errors.New("dial 10.1.2.3: secret"), 502, `{"error":"the gateway could not have this answered; try again"}`},
	} {
		w := httptest.NewRecorder()
		Refuse(w, c.protocol, c.err)
		if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.body {
			t.Errorf("%s: %d %s; want %d %s", c.protocol, w.Code, w.Body, c.status, c.body)
		}
		if got := w.Header().Get("Retry-After"); c.status == 503 && got != "2" {
			t.Errorf("Retry-After: %q", got)
		}
		if got := w.Header().Get("WWW-Authenticate"); (c.status == 401) != (got != "") {
			t.Errorf("WWW-Authenticate: %q", got)
		}
	}
}

func TestAnswer(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Trailer", "X-End")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "data: 2\n\n")
		w.Header().Set("X-End", "yes")
	}))
	defer up.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(up.URL)
		if err != nil {
			t.Error(err)
			return
		}
		Answer(w, r, resp)
	}))
	defer front.Close()
	resp, err := http.Post(front.URL, "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != "data: 1\n\ndata: 2\n\n" || resp.Header.Get("X-Hop") != "" || resp.Trailer.Get("X-End") != "yes" {
		t.Errorf("%q, headers %v, trailers %v", b, resp.Header, resp.Trailer)
	}
}
