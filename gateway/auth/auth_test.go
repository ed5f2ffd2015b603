package auth

import (
	stdcmp "cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

const secret = "pk-0123456789abcdefghijklmnop"

// api answers reviews, and counts them.
type api struct {
	client.Client
	mu      sync.Mutex
	users   map[string]string // by token
	of      map[string]string // audience of a token; none: the gateway's
	may     map[string]bool   // by user and what
	fail    error
	reviews atomic.Int64
	hold    chan bool
}

func (a *api) Create(ctx context.Context, o client.Object, _ ...client.CreateOption) error {
	a.reviews.Add(1)
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	switch o := o.(type) {
	case *authenticationv1.TokenReview:
		if u := a.users[o.Spec.Token]; u != "" {
			o.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{stdcmp.Or(a.of[o.Spec.Token], "gateway")}, User: authenticationv1.UserInfo{Username: u, Groups: []string{"system:authenticated"}}}
		}
	case *authorizationv1.SubjectAccessReview:
		r := o.Spec.ResourceAttributes
		if r.Group != v1alpha1.Group || r.Subresource != "infer" || r.Verb != "create" {
			return errors.New("asked for something else")
		}
		o.Status.Allowed = a.may[strings.Join([]string{o.Spec.User, r.Namespace, r.Resource, r.Name}, " ")]
	default:
		return errors.New("not a review")
	}
	return nil
}

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time      { return time.Unix(c.at.Load(), 0) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func newAuth(t *testing.T) (*Auth, *api, *clock) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	server := &api{
		users: map[string]string{"token-ana": "ana", "token-sa": "system:serviceaccount:jobs:default", "token-far": "ana"},
		of:    map[string]string{"token-sa": "cloud", "token-far": "vault"},
		may:   map[string]bool{"ana team inferenceservices svc": true, "ana team modelroutes r": true, "admin team inferenceservices svc": true},
	}
	a, err := New(slog.New(slog.DiscardHandler), server, []string{"gateway", "cloud"}, c.now)
	if err != nil {
		t.Fatal(err)
	}
	a.SetNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: map[string]string{v1alpha1.LabelTenant: "acme"}}})
	a.SetNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}})
	return a, server, c
}

func apiKey(namespace, name, key, expires string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: v1alpha1.SecretAPIKey, Data: map[string][]byte{v1alpha1.APIKey: []byte(key)}}
	if expires != "" {
		s.Data[v1alpha1.APIKeyExpires] = []byte(expires)
	}
	return s
}

func request(header string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/team/v2/models/svc/infer", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return r
}

func withCertificate(r *http.Request, name string, verified bool) *http.Request {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if verified {
		r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
	}
	return r
}

func code(err error) int {
	var f *gateway.Fault
	if errors.As(err, &f) {
		return f.Status
	}
	return 0
}

func TestWho(t *testing.T) {
	a, _, clock := newAuth(t)
	a.SetKey(apiKey("team", "phone", secret, ""))
	a.SetKey(apiKey("jobs", "other", secret+"-other", ""))
	a.SetKey(apiKey("team", "old", secret+"-old", clock.now().Add(-time.Second).UTC().Format(time.RFC3339)))
	a.SetKey(apiKey("team", "new", secret+"-new", clock.now().Add(time.Second).UTC().Format(time.RFC3339)))
	key := func(name string) gateway.Client {
		return gateway.Client{Tenant: "acme", Namespace: "team", Name: name, Key: true}
	}
	for _, c := range []struct {
		name string
		r    *http.Request
		want gateway.Client
		code int
	}{
		{"key", request("Bearer " + secret), key("phone"), 0},
		{"key, loosely", request("bearer  " + secret + " "), key("phone"), 0},
		{"key that lives", request("Bearer " + secret + "-new"), key("new"), 0},
		{"key that has expired", request("Bearer " + secret + "-old"), gateway.Client{}, 401},
		{"key of another namespace", request("Bearer " + secret + "-other"), gateway.Client{}, 403},
		{"nearly a key", request("Bearer " + secret[:len(secret)-1]), gateway.Client{}, 401},
		{"token", request("Bearer token-ana"), gateway.Client{Tenant: "acme", Namespace: "team", Name: "ana"}, 0},
		{"service account", request("Bearer token-sa"), gateway.Client{Tenant: "jobs", Namespace: "jobs", Name: "system:serviceaccount:jobs:default"}, 0},
		{"token that is for somebody else", request("Bearer token-far"), gateway.Client{}, 401},
		{"certificate", withCertificate(request(""), "admin", true), gateway.Client{Tenant: "acme", Namespace: "team", Name: "admin"}, 0},
		{"certificate that nobody has checked", withCertificate(request(""), "admin", false), gateway.Client{}, 401},
		{"a wrong key beside a certificate", withCertificate(request("Bearer wrong"), "admin", true), gateway.Client{}, 401},
		{"nothing", request(""), gateway.Client{}, 401},
		{"no scheme", request(secret), gateway.Client{}, 401},
		{"another scheme", request("Basic " + secret), gateway.Client{}, 401},
		{"empty", request("Bearer "), gateway.Client{}, 401},
		{"endless", request("Bearer " + strings.Repeat("x", tokenBytesMax+1)), gateway.Client{}, 401},
	} {
		got, err := a.Who(c.r, "team")
		if code(err) != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
			continue
		}
		if err == nil && !cmp.Equal(c.want, got.Client()) {
			t.Errorf("%s (-want +got):\n%s", c.name, cmp.Diff(c.want, got.Client()))
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the answer has the key: %v", c.name, err)
		}
	}
}

func TestMay(t *testing.T) {
	a, server, clock := newAuth(t)
	a.SetKey(apiKey("team", "phone", secret, ""))
	who := func(header string) gateway.Visitor {
		v, err := a.Who(request(header), "team")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ana, key := who("Bearer token-ana"), who("Bearer "+secret)
	for _, c := range []struct {
		who             gateway.Visitor
		namespace, name string
		route           bool
		code            int
	}{
		{ana, "team", "svc", false, 0},
		{ana, "team", "r", true, 0},
		{ana, "team", "r", false, 403},
		{ana, "team", "", false, 403},
		{ana, "jobs", "svc", false, 403},
		{key, "team", "anything", true, 0},
		{key, "jobs", "svc", false, 403},
	} {
		if err := c.who.May(t.Context(), c.namespace, c.route, c.name); code(err) != c.code {
			t.Errorf("%s for %s in %s: %v, want %d", c.who.Client().ID(), c.name, c.namespace, err, c.code)
		}
	}
	// What was taken away ends when the answer is not believed any more.
	before := server.reviews.Load()
	for range 100 {
		if err := ana.May(t.Context(), "team", false, "svc"); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.reviews.Load() - before; n != 0 {
		t.Errorf("the API server was asked %d times for what it had said", n)
	}
	server.mu.Lock()
	server.may["ana team inferenceservices svc"] = false
	server.may["ana jobs inferenceservices svc"] = true
	server.mu.Unlock()
	clock.add(doubted)
	if err := ana.May(t.Context(), "jobs", false, "svc"); err != nil {
		t.Errorf("what was granted: %v", err)
	}
	clock.add(believed)
	if err := ana.May(t.Context(), "team", false, "svc"); code(err) != 403 {
		t.Errorf("what was taken away: %v", err)
	}
}

func TestAPIServerIsAway(t *testing.T) {
	a, server, _ := newAuth(t)
	a.SetKey(apiKey("team", "phone", secret, ""))
	server.fail = errors.New("connection refused by 10.0.0.1")
	v, err := a.Who(request("Bearer "+secret), "team")
	if err != nil || v.May(t.Context(), "team", false, "svc") != nil {
		t.Errorf("a key: %v", err)
	}
	_, err = a.Who(request("Bearer token-ana"), "team")
	if code(err) != 503 || strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("a token: %v", err)
	}
	server.mu.Lock()
	server.fail = nil
	server.mu.Unlock()
	if _, err = a.Who(request("Bearer token-ana"), "team"); err != nil {
		t.Errorf("a token, when it is back: %v", err)
	}
}

// TestManyAtOnce: however many come with one token, the API server is asked once; one that
// goes away takes the answer from nobody.
func TestManyAtOnce(t *testing.T) {
	a, server, _ := newAuth(t)
	server.hold = make(chan bool)
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := a.Who(request("Bearer token-ana").WithContext(ctx), "team")
		first <- err
	}()
	for server.reviews.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := a.Who(request("Bearer token-ana"), "team"); err != nil {
				t.Error(err)
			}
		})
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that left: %v", err)
	}
	close(server.hold)
	all.Wait()
	if n := server.reviews.Load(); n != 1 {
		t.Errorf("the API server was asked %d times", n)
	}
}

func TestKeysComeAndGo(t *testing.T) {
	a, _, _ := newAuth(t)
	for why, s := range map[string]*corev1.Secret{
		"too short": apiKey("team", "a", "short", ""),
		"RFC 3339":  apiKey("team", "a", secret, "tomorrow"),
		"type":      {ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a"}, Data: map[string][]byte{v1alpha1.APIKey: []byte(secret)}},
	} {
		if got := a.SetKey(s); !strings.Contains(got, why) {
			t.Errorf("%s: %q", why, got)
		}
	}
	known := func() bool {
		_, err := a.Who(request("Bearer "+secret), "team")
		return err == nil
	}
	if known() {
		t.Error("what is no key lets in")
	}
	a.SetKey(apiKey("team", "a", secret, ""))
	a.SetKey(apiKey("jobs", "copy", secret, "")) // somebody who knows the key lets it into their own namespace
	if !known() {
		t.Error("the key does not let in")
	}
	a.SetKey(apiKey("team", "a", secret+"changed", ""))
	if known() {
		t.Error("the key lets in after it was changed")
	}
	a.SetKey(apiKey("team", "a", secret, ""))
	a.RemoveKey(types.NamespacedName{Namespace: "team", Name: "a"})
	if known() {
		t.Error("the key lets in after it was removed")
	}
	a.RemoveKey(types.NamespacedName{Namespace: "jobs", Name: "copy"})
	if len(a.keys.by) != 0 || len(a.keys.of) != 0 {
		t.Error("removed keys are remembered")
	}
	if got, err := a.Who(request("Bearer token-ana"), ""); err != nil || got.Client().Namespace != "" {
		t.Errorf("without namespace: %v", err)
	}
}
