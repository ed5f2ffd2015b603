// Package registrytest runs a registry in the process of a test, behind the same
// mutual TLS and the same rule about who may do what as the cloud's own
// (tools/registry), with three people in place of an API server that knows them.
// Only tests import it. What it keeps is in memory and is gone with the test. Like
// the cloud's own it lists itself what refers to a manifest. Unlike the cloud's own it
// lists every repository to everybody.
package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/pki"
)

// Users of the certificates.
const (
	writer = "w"
	reader = "r"
	tenant = "ana"
)

// Server is a registry.
type Server struct {
	URL string
	// Writer, Reader and Tenant are the clients' sides of mutual TLS: of one who may
	// do everything, one who may pull everything, and one with the role edit in the
	// namespace team-a.
	Writer, Reader, Tenant *tls.Config

	tamper atomic.Pointer[func(http.Handler) http.Handler]
}

// New starts a registry that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	now := time.Now()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	pair := func(l pki.Leaf) tls.Certificate {
		p, err := ca.Issue(l, now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	client := func(l pki.Leaf) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair(l)}}
	}
	s := &Server{
		Writer: client(pki.Leaf{Name: "writer", User: writer}),
		Reader: client(pki.Leaf{Name: "reader", User: reader}),
		Tenant: client(pki.Leaf{Name: "tenant", User: tenant}),
	}
	store := guard(referrers(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change := s.tamper.Load(); change != nil {
			(*change)(store).ServeHTTP(w, r)
			return
		}
		store.ServeHTTP(w, r)
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are meant to fail
	h.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{pair(pki.Leaf{Name: "registry", User: "registry", DNS: []string{v1alpha1.RegistryHost}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})},
	}
	h.StartTLS()
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Tamper puts change in front of the registry, which may answer otherwise; nil
// takes it away.
func (s *Server) Tamper(change func(honest http.Handler) http.Handler) {
	if change == nil {
		s.tamper.Store(nil)
		return
	}
	s.tamper.Store(&change)
}

// repository is that of a request, and of it the kind and the namespace it belongs
// to.
var repository = regexp.MustCompile(`^/v2/((?:(code|data|images|models)/([^/]+))?.*?)/(?:manifests|blobs|tags|referrers)/`)

// guard keeps people to what they may do.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.TLS.VerifiedChains[0][0].Subject.CommonName
		action, writes := "push", r.Method != http.MethodGet && r.Method != http.MethodHead
		if r.Method == http.MethodDelete {
			action = "delete"
		} else if !writes {
			action = "pull"
		}
		m := repository.FindStringSubmatch(r.URL.Path)
		common := len(m) == 0 || m[2] == ""
		allowed := user == writer || !writes && (common || user == reader) ||
			user == tenant && !common && m[3] == "team-a"
		if allowed {
			next.ServeHTTP(w, r)
			return
		}
		name := r.URL.Path
		if len(m) > 0 {
			name = m[1]
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, fmt.Sprintf("user %q may not %s %s", user, action, name))
	})
}
