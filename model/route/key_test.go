package route

import (
	"net/http"
	"testing"
)

func TestKeysDiffer(t *testing.T) {
	s := twoTargets()
	s.Rules[0].Match.Headers = map[string]string{"x-mode": "fast"}
	r := compiled(t, s, "")
	base := func() *Asked {
		return &Asked{Tenant: "red", Route: "n/r", Method: "POST", Path: "/v2/models/r/infer", Header: http.Header{}, Body: []byte("{}")}
	}
	seen := map[Key]string{}
	for name, change := range map[string]func(*Asked){
		"as it is":         func(*Asked) {},
		"tenant":           func(a *Asked) { a.Tenant = "blue" },
		"tenant and route": func(a *Asked) { a.Tenant, a.Route = "re", "dn/r" },
		"route":            func(a *Asked) { a.Route = "n/q" },
		"method":           func(a *Asked) { a.Method = "PUT" },
		"path":             func(a *Asked) { a.Path = "/v1/completions" },
		"body":             func(a *Asked) { a.Body = []byte("{ }") },
		"accept":           func(a *Asked) { a.Header.Set("Accept", "application/json") },
		"task":             func(a *Asked) { a.Header.Set("Polder-Task", "ocr") },
		"a rule's header":  func(a *Asked) { a.Header.Set("X-Mode", "fast") },
		"twice":            func(a *Asked) { a.Header["X-Mode"] = []string{"fast", "fast"} },
	} {
		a := base()
		change(a)
		k := r.Key(a)
		if other, twice := seen[k]; twice {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[k] = name
	}
	a := base()
	a.Header.Set("X-Other", "1")
	if r.Key(a) != r.Key(base()) {
		t.Error("a header that nobody looks at makes another key")
	}
}

func FuzzKeyTenant(f *testing.F) {
	f.Add("red", "blue", "n/r", []byte("{}"))
	f.Fuzz(func(t *testing.T, one, other, route string, body []byte) {
		r := &Route{}
		a, b := &Asked{Tenant: one, Route: route, Body: body}, &Asked{Tenant: other, Route: route, Body: body}
		if (r.Key(a) == r.Key(b)) != (one == other) {
			t.Errorf("tenants %q and %q", one, other)
		}
	})
}

func TestMayKeep(t *testing.T) {
	h := func(k, v string) http.Header { return http.Header{k: {v}} }
	for name, c := range map[string]struct {
		request http.Header
		status  int
		answer  http.Header
		want    bool
	}{
		"200":              {nil, 200, nil, true},
		"404":              {nil, 404, nil, false},
		"206":              {nil, 206, nil, false},
		"asked not to":     {h("Cache-Control", "max-age=0, No-Store"), 200, nil, false},
		"told not to":      {nil, 200, h("Cache-Control", "no-store"), false},
		"private":          {nil, 200, h("Cache-Control", `private="x"`), false},
		"varies":           {nil, 200, h("Vary", "Accept"), false},
		"a cookie":         {nil, 200, h("Set-Cookie", "a=b"), false},
		"a stream":         {nil, 200, h("Content-Type", "text/event-stream; charset=utf-8"), false},
		"other directives": {h("Cache-Control", "no-storefront"), 200, h("Cache-Control", "max-age=60"), true},
	} {
		if got := MayKeep(c.request, c.status, c.answer); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if MayAsk(h("Cache-Control", "no-cache")) || MayAsk(h("Range", "bytes=0-1")) || !MayAsk(nil) {
		t.Error("may ask")
	}
}
