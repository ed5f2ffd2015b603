package s3

import (
	"strings"
	"testing"
)

func corsBody(rules ...string) string {
	return "<CORSConfiguration><CORSRule>" + strings.Join(rules, "</CORSRule><CORSRule>") + "</CORSRule></CORSConfiguration>"
}

func corsRuleOf(method, origin, rest string) string {
	return "<AllowedMethod>" + method + "</AllowedMethod><AllowedOrigin>" + origin + "</AllowedOrigin>" + rest
}

func TestCORSConfiguration(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.want(w.main("GET", "/box?cors", ""), 404, "NoSuchCORSConfiguration")
	w.ok(w.main("PUT", "/box?cors", corsBody(corsRuleOf("GET", "http://x", "<MaxAgeSeconds>0</MaxAgeSeconds>"))))
	r := w.ok(w.main("GET", "/box?cors", ""))
	want := `<CORSConfiguration xmlns="` + xmlns + `"><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>http://x</AllowedOrigin><MaxAgeSeconds>0</MaxAgeSeconds></CORSRule></CORSConfiguration>`
	if !strings.HasSuffix(string(r.body), want) {
		t.Errorf("got %s", r.body)
	}
	for name, c := range map[string]struct{ body, code string }{
		"no rules":   {"<CORSConfiguration/>", "MalformedXML"},
		"no origin":  {corsBody("<AllowedMethod>GET</AllowedMethod>"), "InvalidRequest"},
		"method":     {corsBody(corsRuleOf("PATCH", "*", "")), "InvalidRequest"},
		"two stars":  {corsBody(corsRuleOf("GET", "*x*", "")), "InvalidRequest"},
		"expose all": {corsBody(corsRuleOf("GET", "*", "<ExposeHeader>*</ExposeHeader>")), "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) { w.want(w.main("PUT", "/box?cors", c.body), 400, c.code) })
	}
	w.want(w.main("DELETE", "/box?cors", ""), 204, "")
	w.want(w.main("GET", "/box?cors", ""), 404, "NoSuchCORSConfiguration")
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-acl", "public-read"))
	preflight := head{"Origin", "foo.suffix", "Access-Control-Request-Method", "GET"}
	w.want(w.do(w.request("OPTIONS", "/box", nil, preflight)), 403, "AccessForbidden")
	w.ok(w.main("PUT", "/box?cors", corsBody(corsRuleOf("GET", "*suffix", ""), corsRuleOf("GET", "start*end", ""),
		corsRuleOf("GET", "prefix*", ""), corsRuleOf("PUT", "*.put", "<AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>"))))
	for _, c := range []struct {
		method, path string
		h            head
		status       int
		origin       string
		methods      string
	}{
		{"GET", "/box", nil, 200, "", ""},
		{"GET", "/box", head{"Origin", "foo.suffix"}, 200, "foo.suffix", "GET"},
		{"GET", "/box", head{"Origin", "foo.bar"}, 200, "", ""},
		{"GET", "/box", head{"Origin", "foo.suffix.get"}, 200, "", ""},
		{"GET", "/box", head{"Origin", "startend"}, 200, "startend", "GET"},
		{"GET", "/box", head{"Origin", "start12end"}, 200, "start12end", "GET"},
		{"GET", "/box", head{"Origin", "0start12end"}, 200, "", ""},
		{"GET", "/box", head{"Origin", "prefix"}, 200, "prefix", "GET"},
		{"GET", "/box/none", head{"Origin", "foo.suffix"}, 404, "foo.suffix", "GET"},
		{"PUT", "/box/k", head{"Origin", "foo.suffix", "Access-Control-Request-Method", "GET"}, 403, "foo.suffix", "GET"},
		{"PUT", "/box/k", head{"Origin", "foo.suffix", "Access-Control-Request-Method", "PUT"}, 403, "", ""},
		{"PUT", "/box/k", head{"Origin", "foo.suffix"}, 403, "", ""},
		{"PUT", "/box/k", head{"Origin", "foo.put"}, 403, "foo.put", "PUT"},
		{"OPTIONS", "/box", nil, 400, "", ""},
		{"OPTIONS", "/box", head{"Origin", "foo.suffix"}, 400, "", ""},
		{"OPTIONS", "/box/k", preflight, 200, "foo.suffix", "GET"},
		{"OPTIONS", "/box", head{"Origin", "foo.bar", "Access-Control-Request-Method", "GET"}, 403, "", ""},
		{"OPTIONS", "/box", head{"Origin", "foo.put", "Access-Control-Request-Method", "GET"}, 403, "", ""},
		{"OPTIONS", "/box", head{"Origin", "foo.put", "Access-Control-Request-Method", "PUT"}, 200, "foo.put", "PUT"},
		{"OPTIONS", "/box", head{"Origin", "foo.put", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "X-Amz-Acl, x-amz-meta-a"}, 200, "foo.put", "PUT"},
		{"OPTIONS", "/box", head{"Origin", "foo.put", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type"}, 403, "", ""},
		{"OPTIONS", "/nobucket", preflight, 403, "", ""},
	} {
		r := w.want(w.do(w.request(c.method, c.path, nil, c.h)), c.status, "")
		if o, m := r.Header.Get("Access-Control-Allow-Origin"), r.Header.Get("Access-Control-Allow-Methods"); o != c.origin || m != c.methods {
			t.Errorf("%s %s %v: origin %q, methods %q", c.method, c.path, c.h, o, m)
		}
	}
	w.ok(w.main("PUT", "/box?cors", corsBody(corsRuleOf("GET", "*", ""))))
	r := w.ok(w.do(w.request("GET", "/box", nil, head{"Origin", "example.origin"})))
	if o := r.Header.Get("Access-Control-Allow-Origin"); o != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("of any origin: %q", o)
	}
}
