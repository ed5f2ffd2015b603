package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// apiServer answers SubjectAccessReviews and TokenReviews as the real one does: over mutual
// TLS, to those who may ask, out of rules that bind roles to users or groups, and tokens.
type apiServer struct {
	*httptest.Server
	options   options // of a registry that may ask it
	rules     []rule
	tokens    map[string]token
	forbidden atomic.Bool  // the roles of the registry are not there yet
	questions atomic.Int64 // answered
}

// rule gives a user or a group a role in a namespace.
type rule struct{ subject, role, namespace string }

// token is whose it is, and what it is for.
type token struct {
	user     string
	groups   []string
	audience string
}

// may is what roles let do with the kinds of group polder.dev.
var may = map[string][]string{
	"view": {"get trainjobs", "get models"},
	"edit": {"get trainjobs", "get models", "create trainjobs", "delete trainjobs", "create models", "delete models"},
}

func newAPI(t *testing.T, rules ...rule) *apiServer {
	t.Helper()
	a := &apiServer{rules: rules}
	ca := newAuthority(t)
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are meant to fail
	pair, err := tls.LoadX509KeyPair(ca.issue(t, "kube-apiserver"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	a.StartTLS()
	t.Cleanup(a.Close)
	a.options = options{api: a.URL, ca: ca.path}
	a.options.cert, a.options.key = ca.issue(t, "polder:registry")
	return a
}

// ServeHTTP implements http.Handler.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case len(r.TLS.VerifiedChains) == 0:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
	case r.TLS.VerifiedChains[0][0].Subject.CommonName != "polder:registry" || a.forbidden.Load():
		refuse(w, http.StatusForbidden, "Forbidden")
	case r.Method == http.MethodPost && r.URL.Path == "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		var v review[reviewSpec, reviewStatus]
		a.answer(w, r, &v, func() bool {
			v.Status.Allowed = a.allows(v.Spec)
			return v.APIVersion == "authorization.k8s.io/v1" && v.Kind == "SubjectAccessReview" && (v.Spec.User != "" || len(v.Spec.Groups) > 0)
		})
	case r.Method == http.MethodPost && r.URL.Path == "/apis/authentication.k8s.io/v1/tokenreviews":
		var v review[tokenSpec, tokenStatus]
		a.answer(w, r, &v, func() bool {
			t, ok := a.tokens[v.Spec.Token]
			v.Status.Authenticated = ok && slices.Contains(v.Spec.Audiences, t.audience)
			if v.Status.Authenticated {
				v.Status.Audiences, v.Status.User.Name, v.Status.User.Groups = []string{t.audience}, t.user, t.groups
			}
			return v.APIVersion == "authentication.k8s.io/v1" && v.Kind == "TokenReview" && v.Spec.Token != ""
		})
	default:
		refuse(w, http.StatusNotFound, "NotFound")
	}
}

// answer reads a question, and writes it back if valid has answered it.
func (a *apiServer) answer(w http.ResponseWriter, r *http.Request, question any, valid func() bool) {
	switch {
	case r.Header.Get("Content-Type") != "application/json":
		refuse(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType")
	case json.NewDecoder(r.Body).Decode(question) != nil:
		refuse(w, http.StatusBadRequest, "BadRequest")
	case !valid():
		refuse(w, http.StatusUnprocessableEntity, "Invalid")
	default:
		a.questions.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(question)
	}
}

func (a *apiServer) allows(s reviewSpec) bool {
	return s.Attributes.Group == "polder.dev" && slices.ContainsFunc(a.rules, func(r rule) bool {
		return r.namespace == s.Attributes.Namespace && (r.subject == s.User || slices.Contains(s.Groups, r.subject)) &&
			slices.Contains(may[r.role], s.Attributes.Verb+" "+s.Attributes.Resource)
	})
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code})
}

// authority signs certificates for the duration of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	path string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{path: filepath.Join(t.TempDir(), "ca.crt")}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	write(t, a.path, "CERTIFICATE", der)
	return a
}

// issue writes a pair for a server on this machine and for clients.
func (a *authority) issue(t *testing.T, user string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key")
	write(t, cert, "CERTIFICATE", der)
	write(t, key, "PRIVATE KEY", raw)
	return cert, key
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
