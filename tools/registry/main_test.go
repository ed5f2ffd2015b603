package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	h := guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), []string{"writers"})
	for _, tc := range []struct {
		method, group string
		want          int
	}{
		{"GET", "", 200}, {"HEAD", "readers", 200}, {"PUT", "readers", 403}, {"PUT", "", 403}, {"DELETE", "readers", 403},
		{"POST", "writers", 200}, {"PATCH", "", 403}, {"DELETE", "writers", 200},
	} {
		r := httptest.NewRequest(tc.method, "/v2/a/manifests/b", nil)
		if tc.group != "" {
			cert := &x509.Certificate{Subject: pkix.Name{Organization: []string{tc.group}}}
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s as %q: %d, want %d", tc.method, tc.group, w.Code, tc.want)
		}
	}
}
