package s3

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/mem"
)

// siteWorld has the bucket "box", everybody may read what is below pub/ and its pages.
func siteWorld(t testing.TB, config string) *world {
	t.Helper()
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	w := serve(t, m, Config{Sites: []string{"web.test"}, Domains: []string{"s3.test"}})
	w.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.ok(w.main("PUT", "/box", ""))
	for _, k := range []string{"index.html", "docs/index.html", "page.html", "404.html", "old/x"} {
		w.ok(w.main("PUT", "/box/"+k, "<p>"+k, "Content-Type", "text/html", "X-Amz-Acl", "public-read"))
	}
	w.ok(w.main("PUT", "/box/secret", "secret"))
	w.ok(w.main("PUT", "/box/away", "", "X-Amz-Acl", "public-read", "X-Amz-Website-Redirect-Location", "https://example.org/a"))
	if config != "" {
		w.ok(w.main("PUT", "/box?website", "<WebsiteConfiguration>"+config+"</WebsiteConfiguration>"))
	}
	return w
}

// visit asks for a page of the bucket's site.
func (w *world) visit(method, path string, h ...string) *reply {
	w.t.Helper()
	r := w.request(method, path, nil, h)
	r.Host = "box.web.test:9000"
	return w.do(r)
}

// host is where visit goes.
const host = "http://box.web.test:9000/"

const indexXML = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"

func TestSite(t *testing.T) {
	w := siteWorld(t, indexXML+"<ErrorDocument><Key>404.html</Key></ErrorDocument>")
	w.ok(w.main("PUT", "/box?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::box"}]}`))
	for path, c := range map[string]struct {
		status int
		body   string
		to     string
	}{
		"/":          {200, "<p>index.html", ""},
		"/page.html": {200, "<p>page.html", ""},
		"/docs/":     {200, "<p>docs/index.html", ""},
		"/docs?a=b":  {302, "", host + "docs/?a=b"},
		"/none":      {404, "<p>404.html", ""},
		"/none/":     {404, "<p>404.html", ""},
		"/secret":    {403, "<p>404.html", ""},
		"/away":      {301, "", "https://example.org/a"},
		"//page":     {404, "<p>404.html", ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			want := c.body
			if method == "HEAD" {
				want = ""
			}
			r := w.visit(method, path)
			if r.StatusCode != c.status || string(r.body) != want || r.Header.Get("Location") != c.to {
				t.Errorf("%s %s: %d %q to %q, want %+v", method, path, r.StatusCode, r.body, r.Header.Get("Location"), c)
			}
		}
	}
	if r := w.visit("GET", "/none"); r.Header.Get("Content-Type") != "text/html" || r.Header.Get("X-Amz-Error-Code") != "NoSuchKey" {
		t.Errorf("of an error: %v", r.Header)
	}
	tag := w.visit("GET", "/page.html").Header.Get("Etag")
	if r := w.visit("GET", "/page.html", "If-None-Match", tag); r.StatusCode != 304 {
		t.Errorf("of a page that is known: %d", r.StatusCode)
	}
	if r := w.visit("GET", "/page.html", "Range", "bytes=0-2"); r.StatusCode != 206 || string(r.body) != "<p>" {
		t.Errorf("of a range: %d %q", r.StatusCode, r.body)
	}
	w.ok(w.main("PUT", "/box?cors", "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"))
	if r := w.visit("OPTIONS", "/page.html", "Origin", "http://a.test", "Access-Control-Request-Method", "GET"); r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("asked before: %d %v", r.StatusCode, r.Header)
	}
	if r := w.visit("PUT", "/page.html"); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("a site is written: %d", r.StatusCode)
	}
}

// TestSiteErrors: without a document for errors they are told in HTML, and nothing of what
// may not be read.
func TestSiteErrors(t *testing.T) {
	w := siteWorld(t, indexXML+"<ErrorDocument><Key>secret</Key></ErrorDocument>")
	for path, want := range map[string]string{"/none": "403 Forbidden", "/secret": "403 Forbidden"} {
		r := w.visit("GET", path)
		if body := string(r.body); !strings.Contains(body, "<h1>"+want+"</h1>") || !strings.Contains(body, "<li>Code: AccessDenied</li>") || strings.HasPrefix(body, "secret") {
			t.Errorf("%s: %s", path, body)
		}
	}
	none := siteWorld(t, "")
	if r := none.visit("GET", "/index.html"); r.StatusCode != 404 || r.Header.Get("X-Amz-Error-Code") != "NoSuchWebsiteConfiguration" {
		t.Errorf("without a configuration: %d %v", r.StatusCode, r.Header)
	}
	r := none.request("GET", "/", nil, nil)
	r.Host = "absent.web.test"
	if got := none.do(r); got.StatusCode != 404 || got.Header.Get("X-Amz-Error-Code") != "NoSuchBucket" {
		t.Errorf("without a bucket: %d %v", got.StatusCode, got.Header)
	}
}

func TestSiteRules(t *testing.T) {
	rule := func(condition, redirect string) string {
		return "<RoutingRule><Condition>" + condition + "</Condition><Redirect>" + redirect + "</Redirect></RoutingRule>"
	}
	w := siteWorld(t, indexXML+"<RoutingRules>"+
		rule("<KeyPrefixEquals>old/</KeyPrefixEquals>", "<ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith>")+
		rule("<KeyPrefixEquals>gone</KeyPrefixEquals>", "<HostName>example.org</HostName><Protocol>https</Protocol><HttpRedirectCode>307</HttpRedirectCode>")+
		rule("<HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals>", "<ReplaceKeyWith>page.html</ReplaceKeyWith><HttpRedirectCode>302</HttpRedirectCode>")+
		"</RoutingRules>")
	for path, c := range map[string]struct {
		status int
		to     string
	}{
		"/old/a%20b": {301, host + "new/a%20b"},
		"/gone/x":    {307, "https://example.org/gone/x"},
		"/secret":    {302, host + "page.html"},
		"/page.html": {200, ""},
	} {
		if r := w.visit("GET", path); r.StatusCode != c.status || r.Header.Get("Location") != c.to {
			t.Errorf("%s: %d to %q, want %+v", path, r.StatusCode, r.Header.Get("Location"), c)
		}
	}
	all := siteWorld(t, "<RedirectAllRequestsTo><HostName>example.org</HostName></RedirectAllRequestsTo>")
	if r := all.visit("GET", "/a/b"); r.StatusCode != 301 || r.Header.Get("Location") != "http://example.org/a/b" {
		t.Errorf("all: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	for name, bad := range map[string]string{
		"code":      rule("<KeyPrefixEquals>a</KeyPrefixEquals>", "<HttpRedirectCode>300</HttpRedirectCode>"),
		"error":     rule("<HttpErrorCodeReturnedEquals>399</HttpErrorCodeReturnedEquals>", "<HostName>a</HostName>"),
		"protocol":  rule("<KeyPrefixEquals>a</KeyPrefixEquals>", "<Protocol>ftp</Protocol>"),
		"both keys": rule("<KeyPrefixEquals>a</KeyPrefixEquals>", "<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>"),
		"condition": rule("", "<HostName>a</HostName>"),
		"redirect":  rule("<KeyPrefixEquals>a</KeyPrefixEquals>", ""),
		"many":      strings.Repeat(rule("<KeyPrefixEquals>a</KeyPrefixEquals>", "<HostName>a</HostName>"), rulesOfSiteMax+1),
	} {
		t.Run(name, func(t *testing.T) {
			w.want(w.main("PUT", "/box?website", "<WebsiteConfiguration>"+indexXML+"<RoutingRules>"+bad+"</RoutingRules></WebsiteConfiguration>"), 400, "InvalidRequest")
		})
	}
}

// FuzzSite: whatever is asked for, a site does not fail, shows nothing that is not public,
// and sends nobody to a host that its owner does not name.
func FuzzSite(f *testing.F) {
	w := siteWorld(f, indexXML+"<ErrorDocument><Key>404.html</Key></ErrorDocument><RoutingRules><RoutingRule>"+
		"<Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>/</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules>")
	for _, path := range []string{"/", "/docs", "//evil.test", "/old//evil.test", "/secret", "/%00", "/a?b=c"} {
		f.Add("GET", path)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := http.NewRequest(method, "http://h"+target, nil)
		if err != nil {
			return
		}
		r.Host = "box.web.test"
		rec := &recorder{head: http.Header{}}
		w.s3.ServeHTTP(rec, r)
		if rec.status >= 500 || rec.body.String() == "secret" {
			t.Errorf("%s %q: status %d, %q", method, target, rec.status, rec.body.Bytes())
		}
		to := rec.head.Get("Location")
		if to != "" && !strings.HasPrefix(to, "http://box.web.test/") && to != "https://example.org/a" {
			t.Errorf("%s %q: sent to %q", method, target, to)
		}
	})
}
