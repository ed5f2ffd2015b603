package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/gateway"
)

const (
	// believed is how long an answer of the API server is.
	believed = 10 * time.Second
	// doubted is how long one is that was no: who was just let in need not wait long.
	doubted = 2 * time.Second
	// answersMax bounds what is remembered.
	answersMax = 10_000
	// tokenBytesMax of a token that is asked about.
	tokenBytesMax = 16 << 10
	// reviewsMax is how many questions are under way at once.
	reviewsMax = 64
	// reviewFor is how long one may take.
	reviewFor = 5 * time.Second
)

// Auth knows who may ask for what.
type Auth struct {
	log    *slog.Logger
	client client.Client
	now    func() time.Time
	// audiences that tokens may be for.
	audiences []string
	keys      *keys
	ask       singleflight.Group
	asking    *semaphore.Weighted

	mu      sync.Mutex
	whose   map[digest]answer[*authenticationv1.UserInfo] // by token
	allowed map[string]answer[bool]                       // by question
}

// answer is what the API server has said. Of a token that is nobody's it is nil.
type answer[T any] struct {
	value T
	until time.Time
}

// New returns an Auth that knows no keys yet; c creates reviews. A token must be for one
// of the audiences.
func New(log *slog.Logger, c client.Client, audiences []string, now func() time.Time) (*Auth, error) {
	if log == nil || c == nil || len(audiences) == 0 || now == nil {
		return nil, errors.New("gateway auth: a dependency is missing")
	}
	return &Auth{
		log: log, client: c, audiences: audiences, now: now, keys: newKeys(), asking: semaphore.NewWeighted(reviewsMax),
		whose: map[digest]answer[*authenticationv1.UserInfo]{}, allowed: map[string]answer[bool]{},
	}, nil
}

// Identity is who asks, as found out by Who.
type Identity struct {
	auth   *Auth
	client gateway.Client
	user   *authenticationv1.UserInfo // nil of a key
}

// Client is who it is.
func (i *Identity) Client() gateway.Client { return i.client }

// Who finds out who has sent r, which asks for something in namespace, or "" if that is
// not known yet. The error is a *gateway.Fault.
func (a *Auth) Who(r *http.Request, namespace string) (gateway.Visitor, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, secret, _ := strings.Cut(h, " ")
		secret = strings.TrimSpace(secret)
		if !strings.EqualFold(scheme, "Bearer") || secret == "" || len(secret) > tokenBytesMax {
			return nil, unauthorized("the header Authorization must read Bearer and a key or token")
		}
		return a.bearer(r.Context(), secret, namespace)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, unauthorized("nobody is anonymous here: send a key (Authorization: Bearer KEY, see polder key create), a token of the cloud, or a certificate of it")
	}
	who := r.TLS.VerifiedChains[0][0].Subject
	return a.identify(&authenticationv1.UserInfo{
		Username: who.CommonName, Groups: append([]string{"system:authenticated"}, who.Organization...),
	}, namespace), nil
}

// bearer is whose a key or token is.
func (a *Auth) bearer(ctx context.Context, secret, namespace string) (gateway.Visitor, error) {
	k, err := a.keys.find(secret, namespace, a.now())
	if err != nil {
		return nil, err
	}
	if k != nil {
		return &Identity{auth: a, client: gateway.Client{Tenant: a.keys.tenant(k.Namespace), Namespace: k.Namespace, Name: k.Name, Key: true}}, nil
	}
	u, err := a.holder(ctx, secret)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, unauthorized("the key or token is not known here; keys are made with polder key create, and removed keys do not come back")
	}
	return a.identify(u, namespace), nil
}

// identify says on whose behalf a user asks: a service account is its namespace's, others
// act for the namespace that they ask for.
func (a *Auth) identify(u *authenticationv1.UserInfo, namespace string) *Identity {
	if rest, ok := strings.CutPrefix(u.Username, "system:serviceaccount:"); ok {
		namespace, _, _ = strings.Cut(rest, ":")
	}
	return &Identity{auth: a, client: gateway.Client{Tenant: a.keys.tenant(namespace), Namespace: namespace, Name: u.Username}, user: u}
}

// May tells whether the visitor may ask for a route or service of namespace; name "" is
// all of the namespace. The error is a *gateway.Fault.
func (i *Identity) May(ctx context.Context, namespace string, route bool, name string) error {
	if i.user == nil {
		if i.client.Namespace != namespace {
			return elsewhere(namespace)
		}
		return nil
	}
	resource := "inferenceservices"
	if route {
		resource = "modelroutes"
	}
	ok, err := i.auth.may(ctx, i.user, namespace, resource, name)
	if err != nil {
		return err
	}
	if !ok {
		return gateway.Faultf(http.StatusForbidden, "forbidden",
			"%s may not create %s/infer in namespace %s; an administrator grants it with the role polder:infer, and a key of the namespace needs no role", i.client.Name, resource, namespace)
	}
	return nil
}

func unauthorized(sentence string) error {
	return gateway.Faultf(http.StatusUnauthorized, "unauthorized", "%s", sentence)
}
