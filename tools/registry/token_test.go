package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// tokens of the tests.
func (h *house) tokens() {
	h.api.tokens = map[string]token{
		"ana's":     {"ana", []string{"system:authenticated"}, "cluster"},
		"pod's":     {"system:serviceaccount:team-a:train", []string{"system:serviceaccounts:team-a", "watchers"}, "registry"},
		"for vault": {"ana", nil, "vault"},
	}
}

// with sends a request without a certificate.
func (h *house) with(authorization, method, target, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.TLS = nil
	r.Header.Set("Accept", manifestType)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func basic(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+password))
}

func TestTokens(t *testing.T) {
	h := newHouse(t)
	h.tokens()
	if code := h.push("admin", "models/team-a/ocr", "weights"); code != http.StatusCreated {
		t.Fatal(code)
	}
	const manifest, foreign, upload = "/v2/models/team-a/ocr/manifests/latest", "/v2/models/team-b/ocr/manifests/latest", "/v2/models/team-a/ocr/blobs/uploads/"
	for _, tc := range []struct {
		name, authorization, method, target string
		want                                int
	}{
		{"a user as Bearer", "bearer ana's", "GET", manifest, 200},
		{"a user as password", basic("ana's"), "GET", manifest, 200},
		{"a user pushes", basic("ana's"), "POST", upload, 202},
		{"another's namespace", basic("ana's"), "GET", foreign, 403},
		{"a pod by its group", "Bearer pod's", "GET", manifest, 200},
		{"a pod that may only look", "Bearer pod's", "POST", upload, 403},
		{"where clients begin", basic("ana's"), "GET", "/v2/", 200},
		{"nobody, where clients begin", "", "GET", "/v2/", 401},
		{"nobody", "", "GET", manifest, 401},
		{"nobody asks for what is no path", "", "GET", "/", 401},
		{"nobody pushes", "", "POST", upload, 401},
		{"nobody lists", "", "GET", "/v2/_catalog", 401},
		{"an unknown token", basic("guess"), "GET", manifest, 401},
		{"a token for somebody else", basic("for vault"), "GET", manifest, 401},
		{"a password alone", "Basic bm8=", "GET", manifest, 401},
		{"another scheme", "Digest ana's", "GET", manifest, 401},
		{"a long one", "Bearer " + strings.Repeat("x", tokenBytesMax+1), "GET", manifest, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := h.with(tc.authorization, tc.method, tc.target, "")
			if w.Code != tc.want {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
			if asked := w.Header().Get("WWW-Authenticate"); (asked != "") != (tc.want == 401) || asked != "" && !strings.HasPrefix(asked, "Basic ") {
				t.Errorf("it asks by %q", asked)
			}
		})
	}
	if w := h.do("ana", "GET", manifest, "", "Accept", manifestType, "Authorization", basic("guess")); w.Code != 200 {
		t.Errorf("a certificate with a password that is nobody's: %d", w.Code)
	}
}

// TestATokenIsAskedAboutOnce, and not when the API server is away.
func TestATokenIsAskedAboutOnce(t *testing.T) {
	h := newHouse(t)
	h.tokens()
	for range 3 {
		h.with(basic("ana's"), "GET", "/v2/", "")
		h.with(basic("guess"), "GET", "/v2/", "")
	}
	if n := h.api.questions.Load(); n != 2 {
		t.Errorf("the API server was asked %d times about two tokens", n)
	}
	logrus.SetOutput(io.Discard)
	h.api.Close()
	if w := h.with(basic("another"), "GET", "/v2/", ""); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "try again") {
		t.Errorf("without the API server: %d %s", w.Code, w.Body)
	}
	if w := h.with(basic("ana's"), "GET", "/v2/", ""); w.Code != 200 {
		t.Errorf("what is known is not remembered: %d", w.Code)
	}
}
