package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
)

// house is a registry with its guard and an API server.
type house struct {
	*guard
	api  *apiServer
	kept keeping
	o    options
	t    *testing.T
}

// people of the tests, by their certificates.
var people = map[string]pkix.Name{
	"admin":  {CommonName: "admin", Organization: []string{"system:masters"}},
	"node":   {CommonName: "polder:registry-reader"},
	"ana":    {CommonName: "ana"},                                        // edits team-a
	"vera":   {CommonName: "vera", Organization: []string{"watchers"}},   // may look at team-a, by her group
	"nobody": {},                                                         // a certificate without a name
	"claims": {CommonName: "system:masters", Organization: []string{""}}, // a user called like a group
}

// newHouse keeps what is pushed in files, or as objects (object_test.go).
func newHouse(t *testing.T) *house {
	t.Helper()
	o := options{dir: t.TempDir()}
	if os.Getenv(onObjects) != "" {
		o = newStore(t).options(o.dir)
	}
	return houseAt(t, o)
}

// houseAt is a house whose registry keeps things where o says.
func houseAt(t *testing.T, o options) *house {
	t.Helper()
	logrus.SetOutput(io.Discard)
	a := newAPI(t, rule{"ana", "edit", "team-a"}, rule{"watchers", "view", "team-a"})
	kept, _, err := keep(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	store, err := open(t.Context(), kept.driver)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(handlers.NewApp(t.Context(), config(kept)), store, reviewerOf(t, a.options, time.Now), []string{"system:masters"}, []string{"polder:registry-reader"})
	return &house{g, a, kept, o, t}
}

// do sends a request as the registry's server would get it.
func (h *house) do(who, method, target, body string, header ...string) *httptest.ResponseRecorder {
	h.t.Helper()
	name, ok := people[who]
	if !ok {
		h.t.Fatalf("nobody is called %s", who)
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: name}}}}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// upload pushes a blob and returns the last status.
func (h *house) upload(who, repository, text string) int {
	h.t.Helper()
	w := h.do(who, "POST", "/v2/"+repository+"/blobs/uploads/", "")
	if w.Code != http.StatusAccepted {
		return w.Code
	}
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		h.t.Fatal(err)
	}
	q := at.Query()
	q.Set("digest", digestOf(text))
	at.RawQuery = q.Encode()
	return h.do(who, "PUT", at.RequestURI(), text, "Content-Type", "application/octet-stream").Code
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func manifestOf(text string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/octet-stream","digest":%q,"size":%d},"layers":[]}`, manifestType, digestOf(text), len(text))
}

// push pushes an image of one blob and returns the last status.
func (h *house) push(who, repository, text string) int {
	h.t.Helper()
	if code := h.upload(who, repository, text); code != http.StatusCreated {
		return code
	}
	return h.do(who, "PUT", "/v2/"+repository+"/manifests/latest", manifestOf(text), "Content-Type", manifestType).Code
}

// refusal is the only error in an answer.
func (h *house) refusal(w *httptest.ResponseRecorder) (code, message string) {
	h.t.Helper()
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 {
		h.t.Fatalf("status %d says %q: %v", w.Code, w.Body, err)
	}
	return body.Errors[0].Code, body.Errors[0].Message
}

func TestWhoMayPush(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		who, repository string
		want            int
		says            []string
	}{
		{"ana", "code/team-a/x", 201, nil},
		{"ana", "data/team-a/x/deeper", 201, nil},
		{"ana", "images/team-a", 201, nil},
		{"ana", "models/team-a/x", 201, nil},
		{"vera", "models/team-a/x", 403, []string{`"vera"`, "push models/team-a/x", "namespace team-a", "create models.polder.dev", "role edit"}},
		{"vera", "reports/team-a/x", 403, []string{`"vera"`, "create evaluations.polder.dev"}},
		{"ana", "code/team-b/x", 403, []string{`"ana"`, "push code/team-b/x", "namespace team-b", "create trainjobs.polder.dev", "role edit"}},
		{"ana", "code/team-ab/x", 403, []string{"namespace team-ab"}},
		{"ana", "code", 403, []string{"no namespace", "images/NAMESPACE/NAME"}},
		{"ana", "team-a/code", 403, []string{"no namespace"}},
		{"ana", "runtimes/x", 403, []string{`"ana"`, "push runtimes/x", "no namespace", "images/NAMESPACE/NAME"}},
		{"ana", "system/pause", 403, []string{"no namespace"}},
		{"ana", "code.io/code/team-a/x", 403, []string{"no namespace"}},
		{"vera", "code/team-a/x", 403, []string{`"vera"`, "create trainjobs.polder.dev", "role edit"}},
		{"node", "code/team-a/x", 403, []string{`"polder:registry-reader"`}},
		{"node", "runtimes/x", 403, []string{"no namespace"}},
		{"nobody", "code/team-a/x", 403, []string{"common name"}},
		{"claims", "code/team-a/x", 403, []string{`"system:masters"`}},
		{"admin", "code/team-b/x", 201, nil},
		{"admin", "models/team-a/x", 201, nil},
		{"admin", "runtimes/x", 201, nil},
	} {
		if got := h.push(tc.who, tc.repository, "text"); got != tc.want {
			t.Errorf("%s pushing %s: %d, want %d", tc.who, tc.repository, got, tc.want)
		}
		if tc.says == nil {
			continue
		}
		for method, rest := range map[string]string{"POST": "blobs/uploads/", "PUT": "manifests/latest", "GET": "blobs/uploads/x", "PATCH": "blobs/uploads/x", "DELETE": "blobs/uploads/x"} {
			w := h.do(tc.who, method, "/v2/"+tc.repository+"/"+rest, "")
			code, message := h.refusal(w)
			if w.Code != 403 || code != "DENIED" {
				t.Errorf("%s %s %s: %d %s", tc.who, method, rest, w.Code, code)
			}
			for _, s := range tc.says {
				if !strings.Contains(message, s) {
					t.Errorf("%s pushing %s: %q does not say %q", tc.who, tc.repository, message, s)
				}
			}
		}
	}
}

func TestWhoMayPull(t *testing.T) {
	h := newHouse(t)
	for _, repository := range []string{"code/team-a/x", "images/team-a/x", "models/team-a/x", "data/team-b/x", "models/team-b/x", "runtimes/x", "system/pause", "code"} {
		if got := h.push("admin", repository, "text"); got != 201 {
			t.Fatalf("pushing %s: %d", repository, got)
		}
	}
	for _, tc := range []struct {
		who, repository string
		want            int
		says            []string
	}{
		{"ana", "code/team-a/x", 200, nil}, {"ana", "images/team-a/x", 200, nil}, {"ana", "models/team-a/x", 200, nil},
		{"ana", "runtimes/x", 200, nil}, {"ana", "system/pause", 200, nil}, {"ana", "code", 200, nil},
		{"ana", "data/team-b/x", 403, []string{`user "ana"`, "pull data/team-b/x", "namespace team-b", "get trainjobs.polder.dev", "role view"}},
		{"ana", "models/team-b/x", 403, []string{"get models.polder.dev", "role view"}},
		{"ana", "reports/team-b/x", 403, []string{"get evaluations.polder.dev", "role view"}},
		{"vera", "code/team-a/x", 200, nil}, {"vera", "models/team-a/x", 200, nil}, {"vera", "data/team-b/x", 403, []string{`"vera"`}},
		{"nobody", "code/team-a/x", 403, []string{"common name"}}, {"nobody", "runtimes/x", 200, nil},
		{"node", "code/team-a/x", 200, nil}, {"node", "models/team-b/x", 200, nil}, {"node", "runtimes/x", 200, nil},
		{"admin", "data/team-b/x", 200, nil},
	} {
		for _, rest := range []string{"manifests/latest", "manifests/" + digestOf(manifestOf("text")), "blobs/" + digestOf("text"), "tags/list"} {
			w := h.do(tc.who, "GET", "/v2/"+tc.repository+"/"+rest, "", "Accept", manifestType)
			if w.Code != tc.want {
				t.Errorf("%s getting %s of %s: %d, want %d: %s", tc.who, rest, tc.repository, w.Code, tc.want, w.Body)
			}
			if tc.want != 403 {
				continue
			}
			code, message := h.refusal(w)
			for _, s := range tc.says {
				if code != "DENIED" || !strings.Contains(message, s) {
					t.Errorf("%s pulling %s: %s %q does not say %q", tc.who, tc.repository, code, message, s)
				}
			}
		}
		want := tc.want
		if w := h.do(tc.who, "HEAD", "/v2/"+tc.repository+"/manifests/latest", "", "Accept", manifestType); w.Code != want {
			t.Errorf("%s asking for %s: %d, want %d", tc.who, tc.repository, w.Code, want)
		}
	}
	for who := range people {
		if w := h.do(who, "GET", "/v2/", ""); w.Code != 200 {
			t.Errorf("%s knocking: %d", who, w.Code)
		}
	}
}

func TestWhoMayDelete(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		who, repository string
		want            int
		says            string
	}{
		{"vera", "code/team-a/x", 403, "delete trainjobs.polder.dev"}, {"vera", "models/team-a/x", 403, "delete models.polder.dev"},
		{"ana", "code/team-b/x", 403, "role edit"}, {"ana", "models/team-b/x", 403, "role edit"}, {"ana", "runtimes/x", 403, "no namespace"},
		{"node", "code/team-a/x", 403, "role edit"},
		{"ana", "code/team-a/x", 202, ""}, {"ana", "models/team-a/x", 202, ""},
		{"admin", "code/team-b/x", 202, ""}, {"admin", "runtimes/x", 202, ""},
	} {
		if got := h.push("admin", tc.repository, "text"); got != 201 {
			t.Fatalf("pushing %s: %d", tc.repository, got)
		}
		for _, rest := range []string{"manifests/latest", "manifests/" + digestOf(manifestOf("text")), "blobs/" + digestOf("text")} {
			w := h.do(tc.who, "DELETE", "/v2/"+tc.repository+"/"+rest, "")
			if w.Code != tc.want {
				t.Errorf("%s deleting %s of %s: %d, want %d: %s", tc.who, rest, tc.repository, w.Code, tc.want, w.Body)
			}
			if tc.want != 403 {
				continue
			}
			if code, message := h.refusal(w); code != "DENIED" || !strings.Contains(message, tc.says) {
				t.Errorf("%s deleting %s: %s %q does not say %q", tc.who, tc.repository, code, message, tc.says)
			}
		}
	}
}

// TestABlobIsNotMountedFromAnothersRepository: a blob that the registry has, and
// that somebody knows the digest of, is read only by those who may read it where
// it is.
func TestABlobIsNotMountedFromAnothersRepository(t *testing.T) {
	h := newHouse(t)
	const secret = "secret"
	for _, repository := range []string{"code/team-b/x", "runtimes/x", "models/team-a/x"} {
		if got := h.push("admin", repository, secret); got != 201 {
			t.Fatal(got)
		}
	}
	blob := "/v2/code/team-a/x/blobs/" + digestOf(secret)
	start := "/v2/code/team-a/x/blobs/uploads/"
	mount := func(from string) string { return url.Values{"mount": {digestOf(secret)}, "from": {from}}.Encode() }
	unread := func(how string) {
		t.Helper()
		for _, at := range []string{blob, "/v2/code/team-a/x/manifests/" + digestOf(manifestOf(secret))} {
			if w := h.do("ana", "GET", at, "", "Accept", manifestType); w.Code != 404 {
				t.Fatalf("%s: %s answers %d %s", how, at, w.Code, w.Body)
			}
		}
	}
	unread("at first")
	const form = "application/x-www-form-urlencoded"
	for _, from := range []string{"code/team-b/x", "models/team-b/x", "code/team-b/none"} {
		for how, w := range map[string]*httptest.ResponseRecorder{
			"in the query":            h.do("ana", "POST", start+"?"+mount(from), ""),
			"in the body":             h.do("ana", "POST", start, mount(from), "Content-Type", form),
			"another one in the body": h.do("ana", "POST", start+"?"+mount("runtimes/none"), mount(from), "Content-Type", form),
			"another one before":      h.do("ana", "POST", start+"?from=runtimes/none&"+mount(from), ""),
			"another one behind":      h.do("ana", "POST", start+"?"+mount(from)+"&from=runtimes/none", ""),
			"in escapes":              h.do("ana", "POST", start+"?mount="+digestOf(secret)+"&from="+strings.ReplaceAll(url.QueryEscape(from), "a", "%61"), ""),
		} {
			if w.Code != 202 || w.Header().Get("Location") == "" {
				t.Errorf("mounting from %s, %s: %d; want an ordinary upload", from, how, w.Code)
			}
			unread(from + " " + how)
		}
	}
	// Nor is a manifest taken that names it, nor an upload that is not its content.
	if w := h.do("ana", "PUT", "/v2/code/team-a/x/manifests/latest", manifestOf(secret), "Content-Type", manifestType); w.Code != 400 && w.Code != 404 {
		t.Errorf("a manifest of another's blob: %d", w.Code)
	}
	w := h.do("ana", "POST", start, "")
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{
		at.RequestURI() + "&digest=" + digestOf(secret),
		strings.Replace(at.RequestURI(), "team-a/x", "team-b/x", 1), // the session in another repository
	} {
		if w := h.do("ana", "PUT", uri, ""); w.Code < 400 {
			t.Errorf("%s: %d", uri, w.Code)
		}
	}
	unread("after an empty upload")

	for _, from := range []string{"runtimes/x", "models/team-a/x"} {
		if w := h.do("ana", "POST", start+"?"+mount(from), ""); w.Code != 201 {
			t.Errorf("mounting from %s, which ana may pull: %d", from, w.Code)
		}
		if w := h.do("ana", "GET", blob, ""); w.Code != 200 || w.Body.String() != secret {
			t.Errorf("what was mounted from %s is %d %s", from, w.Code, w.Body)
		}
		if w := h.do("ana", "DELETE", blob, ""); w.Code != 202 {
			t.Errorf("removing what was mounted: %d", w.Code)
		}
		unread("after its removal")
	}
}

// TestOddPaths: the name that is judged is the one that is served.
func TestOddPaths(t *testing.T) {
	h := newHouse(t)
	for _, repository := range []string{"code/team-a/x", "code/team-b/x", "runtimes/x"} {
		if got := h.push("admin", repository, "text"); got != 201 {
			t.Fatal(got)
		}
	}
	for target, want := range map[string]int{
		"/v2/code/team-a/x/manifests/latest":                          200,
		"/v2/code%2Fteam-a%2Fx/manifests/latest":                      200,
		"/v2/c%6fde/team-a/x/tags/list":                               200,
		"/v2/code%2Fteam-b%2Fx/manifests/latest":                      403,
		"/v2/c%6fde/te%61m-b/x/manifests/latest":                      403,
		"/v2/runtimes/x/../../code/team-b/x/manifests/latest":         404,
		"/v2/runtimes/x/%2e%2e/%2e%2e/code/team-b/x/manifests/latest": 404,
		"/v2//code/team-b/x/manifests/latest":                         404,
		"/v2/code//team-b/x/manifests/latest":                         404,
		"/v2/code/team-a/../team-b/x/manifests/latest":                404,
		"/v2/code/./team-b/x/manifests/latest":                        404,
		"//v2/code/team-b/x/manifests/latest":                         404,
		"/v2/code/team-b/x/tags/list/":                                403,
		"/v2/code/team-b/x/manifests/latest/":                         403,
		"/v2/code/team-b/x/manifests/latest?name=runtimes/x":          403,
		"/v2/CODE/team-b/x/manifests/latest":                          404,
		"/v2/code/team-b/x%00/manifests/latest":                       404,
		"/v2/code/team-b/x%0a/manifests/latest":                       404,
		"/v2/code/team-b/x/manifests/latest%2f..%2f..":                404,
		"/v2/code/team-a/x/referrers/x":                               400,
		"/v2/code/team-b/x/referrers/" + digestOf("text"):             403,
		"/v2/code%2Fteam-b%2Fx/referrers/" + digestOf("text"):         403,
		"/v2/code/team-b/x/referrers/x":                               403,
		"/v2/code/team-a/../team-b/x/referrers/" + digestOf("text"):   404,
		"/v2/runtimes//x/referrers/" + digestOf("text"):               404,
		"/v2/CODE/team-b/x/referrers/" + digestOf("text"):             200, // of another repository, in which nothing is
		"/v2/code/team-b/x%0a/referrers/" + digestOf("text"):          404,
		"/v2/code/team-b/x/referrers/":                                404,
		"/v2/code/team-b/x":                                           404,
		"/debug/vars":                                                 404,
		"/":                                                           404,
		"":                                                            404,
	} {
		if target == "" {
			target = "*"
		}
		w := h.do("ana", "GET", target, "", "Accept", manifestType)
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d", target, w.Code, want)
		}
		if w.Code != 200 && strings.Contains(w.Body.String(), "schemaVersion") {
			t.Errorf("GET %s answers %s", target, w.Body)
		}
	}
	for _, target := range []string{"/v2/code/team-a/x/referrers/x", "/v2/code//team-a/x/manifests/latest", "/debug/vars"} {
		w := h.do("ana", "PUT", target, "")
		if code, message := h.refusal(w); w.Code != 403 || code != "DENIED" || !strings.Contains(message, target) {
			t.Errorf("PUT %s: %d %s %s", target, w.Code, code, message)
		}
	}
	for _, method := range []string{"OPTIONS", "TRACE", "FOO", "CONNECT"} {
		if w := h.do("ana", method, "/v2/code/team-b/x/manifests/latest", ""); w.Code != 403 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// list asks for the catalog, page by page.
func (h *house) list(who, query string) (pages [][]string) {
	h.t.Helper()
	for target := "/v2/_catalog" + query; target != ""; {
		w := h.do(who, "GET", target, "")
		var page struct{ Repositories []string }
		if err := json.Unmarshal(w.Body.Bytes(), &page); w.Code != 200 || err != nil || page.Repositories == nil {
			h.t.Fatalf("GET %s: %d %s: %v", target, w.Code, w.Body, err)
		}
		pages = append(pages, page.Repositories)
		link := w.Header().Get("Link")
		if link == "" {
			break
		}
		next, rel, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if !ok || rel != `; rel="next"` {
			h.t.Fatalf("the link is %s", link)
		}
		target = next
	}
	return pages
}

func TestTheCatalogHoldsWhatOneMayPull(t *testing.T) {
	h := newHouse(t)
	if got := h.list("ana", ""); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("of an empty registry: %v", got)
	}
	all := []string{
		"code/team-a/x", "code/team-a/x/y", "code/team-a/z", "code/team-b/secret", "data/team-b/x", "images/team-a", "models/team-a/m", "models/team-b/m",
		"runtimes/a", "runtimes/b-1", "runtimes/b/c", "system/pause",
	}
	for _, repository := range all {
		if got := h.push("admin", repository, "text"); got != 201 {
			t.Fatalf("pushing %s: %d", repository, got)
		}
	}
	mine := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.Contains(s, "team-b") })
	public := slices.DeleteFunc(slices.Clone(mine), func(s string) bool { return strings.Contains(s, "team-a") })
	for who, want := range map[string][]string{"admin": all, "node": all, "ana": mine, "vera": mine, "nobody": public, "claims": public} {
		for n := 0; n <= len(all)+1; n++ {
			query := ""
			if n > 0 {
				query = fmt.Sprintf("?n=%d", n)
			}
			pages := h.list(who, query)
			for i, p := range pages {
				if n > 0 && (len(p) > n || len(p) < n && i < len(pages)-1) {
					t.Errorf("%s, pages of %d: page %d has %d", who, n, i, len(p))
				}
			}
			if got := slices.Concat(pages...); !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: %v, want %v", who, n, got, want)
			}
		}
	}
	if got := h.list("ana", "?n=1000&last=code/team-b/secret"); !slices.Equal(got[0], mine[3:]) {
		t.Errorf("after a repository that ana may not see: %v", got)
	}
	if got := h.list("ana", "?n=0"); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("none: %v", got)
	}
	for _, query := range []string{"?n=-1", "?n=x", "?n=1001"} {
		w := h.do("ana", "GET", "/v2/_catalog"+query, "")
		if code, _ := h.refusal(w); w.Code != 400 || code != "PAGINATION_NUMBER_INVALID" {
			t.Errorf("%s: %d %s", query, w.Code, code)
		}
	}
	if asked := h.api.questions.Load(); asked > 20 {
		t.Errorf("the API server was asked %d times for the same few things", asked)
	}
}

// TestWithoutTheAPIServer: what needs no answer of it goes on.
func TestWithoutTheAPIServer(t *testing.T) {
	h := newHouse(t)
	h.api.Close()
	for _, repository := range []string{"code/team-a/x", "system/pause"} {
		if got := h.push("admin", repository, "text"); got != 201 {
			t.Fatalf("an administrator pushing %s: %d", repository, got)
		}
	}
	for _, tc := range []struct {
		who, method, target string
		want                int
	}{
		{"node", "GET", "/v2/code/team-a/x/manifests/latest", 200}, {"ana", "GET", "/v2/system/pause/manifests/latest", 200}, {"ana", "GET", "/v2/", 200},
		{"ana", "PUT", "/v2/system/pause/manifests/latest", 403},
		{"ana", "GET", "/v2/code/team-a/x/manifests/latest", 503}, {"ana", "POST", "/v2/code/team-a/x/blobs/uploads/", 503}, {"ana", "GET", "/v2/_catalog", 503},
		{"ana", "DELETE", "/v2/code/team-a/x/manifests/latest", 503}, {"node", "GET", "/v2/_catalog", 200},
	} {
		w := h.do(tc.who, tc.method, tc.target, "", "Accept", manifestType)
		if w.Code != tc.want {
			t.Errorf("%s %s %s: %d, want %d", tc.who, tc.method, tc.target, w.Code, tc.want)
		}
		if tc.want != 503 {
			continue
		}
		if code, message := h.refusal(w); code != "UNAVAILABLE" || !strings.Contains(message, "API server") || !strings.Contains(message, "try again") {
			t.Errorf("%s %s: %s %q", tc.method, tc.target, code, message)
		}
	}
}

// TestAPushAsksOnce: all requests of a push are one question each.
func TestAPushAsksOnce(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		if got := h.push("ana", "code/team-a/x", "text"); got != 201 {
			t.Fatal(got)
		}
	}
	if n := h.api.questions.Load(); n != 1 {
		t.Errorf("the API server was asked %d times", n)
	}
}

// TestVolumesOfModelsAreTheClouds: nobody else says which image has a model's files.
func TestVolumesOfModelsAreTheClouds(t *testing.T) {
	h := newHouse(t)
	for _, r := range []string{"models/team-a/x", "images/team-a/x"} {
		if code := h.push("ana", r, "text"); code != 201 {
			t.Fatal(code)
		}
	}
	put := func(who, repository, tag string) *httptest.ResponseRecorder {
		return h.do(who, "PUT", "/v2/"+repository+"/manifests/"+tag, manifestOf("text"), "Content-Type", manifestType)
	}
	for _, target := range []string{"volume-1", "%76olume-1"} {
		w := put("ana", "models/team-a/x", target)
		if code, message := h.refusal(w); w.Code != 403 || code != "DENIED" || !strings.Contains(message, "the cloud's own") {
			t.Errorf("%s: %d %s %s", target, w.Code, code, message)
		}
	}
	if w := put("ana", "models/team-a/x", "volumes"); w.Code != 201 {
		t.Errorf("another tag: %d", w.Code)
	}
	if w := put("ana", "images/team-a/x", "volume-1"); w.Code != 201 {
		t.Errorf("another repository: %d", w.Code)
	}
	if w := put("admin", "models/team-a/x", "volume-1"); w.Code != 201 {
		t.Errorf("an administrator: %d", w.Code)
	}
	if w := h.do("ana", "GET", "/v2/models/team-a/x/manifests/volume-1", "", "Accept", manifestType); w.Code != 200 {
		t.Errorf("reading it: %d", w.Code)
	}
	if w := h.do("ana", "DELETE", "/v2/models/team-a/x/manifests/"+digestOf(manifestOf("text")), ""); w.Code != 202 {
		t.Errorf("removing it: %d", w.Code)
	}
}
