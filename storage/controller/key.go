package controller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/storage/iam"
)

// byKey is the index of Secrets by their access key.
const byKey = "accessKey"

// tokenFor is how long the answer to a token is believed.
const tokenFor = time.Minute

// tokensMax bounds what is remembered of tokens.
const tokensMax = 10_000

// Keys is the directory of a cloud: Secrets, and tokens of Kubernetes.
type Keys struct {
	log    *slog.Logger
	client client.Client
	now    func() time.Time

	mu     sync.Mutex
	tokens map[[sha256.Size]byte]remembered
}

type remembered struct {
	who   iam.Identity
	err   error
	until time.Time
}

var _ iam.Directory = (*Keys)(nil)

func newKeys(log *slog.Logger, c client.Client, now func() time.Time) *Keys {
	return &Keys{log: log, client: c, now: now, tokens: map[[sha256.Size]byte]remembered{}}
}

// indexKey is what byKey finds a Secret by.
func indexKey(o client.Object) []string {
	s, ok := o.(*corev1.Secret)
	if !ok || s.Type != v1alpha1.SecretStoreKey || len(s.Data[v1alpha1.StoreAccessKey]) == 0 {
		return nil
	}
	return []string{string(s.Data[v1alpha1.StoreAccessKey])}
}

// Key implements iam.Directory. Of two Secrets with the same access key the older counts,
// so that nobody takes a key over by writing it down.
func (k *Keys) Key(ctx context.Context, accessKey string) (iam.Identity, string, error) {
	var list corev1.SecretList
	if err := k.client.List(ctx, &list, client.MatchingFields{byKey: accessKey}); err != nil {
		return iam.Identity{}, "", fmt.Errorf("looking an access key up: %w", err)
	}
	if len(list.Items) == 0 {
		return iam.Identity{}, "", iam.ErrNoIdentity
	}
	s := slices.MinFunc(list.Items, func(a, b corev1.Secret) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	tenant, err := k.tenant(ctx, s.Namespace)
	if err != nil {
		return iam.Identity{}, "", err
	}
	who := iam.Identity{Account: tenant, User: s.Name, DisplayName: tenant, Groups: []string{s.Namespace}}
	switch role := string(s.Data[v1alpha1.StoreRole]); role {
	case "admin":
		who.Admin = true
	case string(iam.Reader), string(iam.Writer):
		who.Role = iam.Role(role)
	}
	return who, string(s.Data[v1alpha1.StoreSecretKey]), nil
}

// tenant of a namespace, or ErrNoIdentity if it is none's.
func (k *Keys) tenant(ctx context.Context, namespace string) (string, error) {
	var ns corev1.Namespace
	if err := k.client.Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return "", iam.ErrNoIdentity
		}
		return "", fmt.Errorf("looking namespace %s up: %w", namespace, err)
	}
	return Tenant(&ns), nil
}

// Tenant is the account of a namespace.
func Tenant(ns *corev1.Namespace) string {
	if t := ns.Labels[v1alpha1.LabelTenant]; t != "" {
		return t
	}
	return ns.Name
}

// Password implements iam.Directory: the access key of a Secret, and its secret key.
func (k *Keys) Password(ctx context.Context, name, password string) (iam.Identity, error) {
	if _, key, ok := strings.Cut(name, ":"); ok {
		name = key
	}
	who, secret, err := k.Key(ctx, name)
	if err != nil {
		return iam.Identity{}, err
	}
	if !equal(secret, password) {
		return iam.Identity{}, iam.ErrSecret
	}
	return who, nil
}

// Account implements iam.Directory. A tenant is known by its name alone.
func (k *Keys) Account(ctx context.Context, id string) (iam.Identity, error) {
	var list corev1.NamespaceList
	if err := k.client.List(ctx, &list); err != nil {
		return iam.Identity{}, fmt.Errorf("listing namespaces: %w", err)
	}
	for i := range list.Items {
		if Tenant(&list.Items[i]) == id {
			return iam.Identity{Account: id, DisplayName: id}, nil
		}
	}
	return iam.Identity{}, iam.ErrNoIdentity
}

// Token implements iam.Directory, for tokens of service accounts and of whoever else the
// API server knows.
func (k *Keys) Token(ctx context.Context, token string) (iam.Identity, error) {
	sum := sha256.Sum256([]byte(token))
	now := k.now()
	k.mu.Lock()
	r, ok := k.tokens[sum]
	k.mu.Unlock()
	if ok && now.Before(r.until) {
		return r.who, r.err
	}
	who, err := k.review(ctx, token)
	if err != nil && !errors.Is(err, iam.ErrNoIdentity) {
		return iam.Identity{}, err // nothing to remember: nobody was asked
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.tokens) >= tokensMax {
		clear(k.tokens)
	}
	k.tokens[sum] = remembered{who, err, now.Add(tokenFor)}
	return who, err
}

// review asks the API server whose a token is, and what they may do with Buckets.
func (k *Keys) review(ctx context.Context, token string) (iam.Identity, error) {
	t := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := k.client.Create(ctx, t); err != nil {
		return iam.Identity{}, fmt.Errorf("asking whose a token is: %w", err)
	}
	if !t.Status.Authenticated {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	u := t.Status.User
	who := iam.Identity{User: u.Username, DisplayName: u.Username, Groups: u.Groups}
	namespace := ""
	if rest, ok := strings.CutPrefix(u.Username, "system:serviceaccount:"); ok {
		namespace, _, _ = strings.Cut(rest, ":")
		tenant, err := k.tenant(ctx, namespace)
		if err != nil {
			return iam.Identity{}, err
		}
		who.Account = tenant
	} else {
		who.Account = strings.NewReplacer(":", "-", "/", "-").Replace(u.Username)
	}
	may := func(verb string) (bool, error) { return k.may(ctx, u, namespace, verb) }
	change, err := may("update")
	if err != nil {
		return iam.Identity{}, err
	}
	read, err := may("get")
	if err != nil {
		return iam.Identity{}, err
	}
	switch {
	case change && namespace == "":
		who.Operator, who.Admin = true, true
	case change:
		who.Admin = true
	case read:
		who.Role = iam.Reader
	}
	return who, nil
}

// may asks whether a user may do something with Buckets; namespace "" is all of them.
func (k *Keys) may(ctx context.Context, u authenticationv1.UserInfo, namespace, verb string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for name, v := range u.Extra {
		extra[name] = authorizationv1.ExtraValue(v)
	}
	r := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: u.Username, Groups: u.Groups, UID: u.UID, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: v1alpha1.Group, Resource: "buckets", Namespace: namespace, Verb: verb},
	}}
	if err := k.client.Create(ctx, r); err != nil {
		return false, fmt.Errorf("asking what a token may do: %w", err)
	}
	return r.Status.Allowed, nil
}

// secret is a new key of a namespace.
func secret(namespace, name, role string, place Place) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": "polder"}},
		Type:       v1alpha1.SecretStoreKey,
		Data: map[string][]byte{
			v1alpha1.StoreAccessKey: []byte("POLDER" + random(10)), v1alpha1.StoreSecretKey: []byte(random(25)), v1alpha1.StoreRole: []byte(role),
			v1alpha1.StoreEndpoint: []byte(place.Endpoint), v1alpha1.StoreRegion: []byte(place.Region), v1alpha1.StoreCA: place.CA,
		},
	}
}

// random is text of n random bytes.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
}

// roles are the Secrets of each tenant's namespace.
var roles = map[string]string{v1alpha1.StoreSecret: "admin", v1alpha1.StoreJobSecret: string(iam.Writer)}

// told are the fields that a Secret is told anew when they change.
var told = []string{v1alpha1.StoreEndpoint, v1alpha1.StoreRegion, v1alpha1.StoreCA, v1alpha1.StoreRole}

// ensure makes the Secrets of a namespace that are not there, with roles by their names,
// and brings up to date where they say the store is.
func (k *Keys) ensure(ctx context.Context, ns *corev1.Namespace, place Place, roles map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		want := secret(ns.Name, name, roles[name], place)
		var have corev1.Secret
		err := k.client.Get(ctx, client.ObjectKeyFromObject(want), &have)
		switch {
		case err == nil && stale(&have, want):
			for _, f := range told {
				have.Data[f] = want.Data[f]
			}
			err = k.client.Update(ctx, &have)
		case apierrors.IsNotFound(err):
			err = k.client.Create(ctx, want)
			if apierrors.IsAlreadyExists(err) {
				// The cache is behind, which comes right, or it is of another type, which
				// it does not hold.
				k.log.WarnContext(ctx, "a secret has the name of the store's and is none of its keys", logs.Namespace, ns.Name, "secret", name)
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("writing secret %s of namespace %s: %w", name, ns.Name, err)
		}
	}
	return nil
}

func stale(have, want *corev1.Secret) bool {
	for _, f := range told {
		if string(have.Data[f]) != string(want.Data[f]) {
			return true
		}
	}
	return false
}
