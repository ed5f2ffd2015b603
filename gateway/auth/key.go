package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// keyBytesMin is the length below which a key could be guessed.
const keyBytesMin = 24

type digest = [sha256.Size]byte

// keys are the Secrets of all namespaces, by a hash of what they hold: what is looked up
// tells nothing of how much of a guess was right.
type keys struct {
	mu      sync.RWMutex
	by      map[digest][]*key
	of      map[types.NamespacedName]*key
	tenants map[string]string // by namespace
}

type key struct {
	types.NamespacedName
	sum     digest
	expires time.Time // zero: never
}

func newKeys() *keys {
	return &keys{by: map[digest][]*key{}, of: map[types.NamespacedName]*key{}, tenants: map[string]string{}}
}

// find returns the key that secret is in namespace, or anywhere if that is "", and nil if it
// is none.
func (k *keys) find(secret, namespace string, now time.Time) (*key, error) {
	sum := sha256.Sum256([]byte(secret))
	k.mu.RLock()
	defer k.mu.RUnlock()
	all := k.by[sum]
	if len(all) == 0 {
		return nil, nil
	}
	var late bool
	for _, o := range all {
		if namespace != "" && o.Namespace != namespace || subtle.ConstantTimeCompare(o.sum[:], sum[:]) != 1 {
			continue
		}
		if o.expires.IsZero() || now.Before(o.expires) {
			return o, nil
		}
		late = true
	}
	if late {
		return nil, unauthorized("the key has expired; make another with polder key create")
	}
	return nil, elsewhere(namespace)
}

func elsewhere(namespace string) error {
	return gateway.Faultf(http.StatusForbidden, "forbidden", "the key is of another namespace than %s; make one there with polder key create", namespace)
}

// tenant of a namespace.
func (k *keys) tenant(namespace string) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t := k.tenants[namespace]; t != "" {
		return t
	}
	return namespace
}

// SetKey tells of a Secret of type polder.dev/api-key, or that it has changed. It returns
// why it is no key, or "".
func (a *Auth) SetKey(s *corev1.Secret) string {
	k := a.keys
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(name)
	secret := s.Data[v1alpha1.APIKey]
	if s.DeletionTimestamp != nil {
		return ""
	}
	if s.Type != v1alpha1.SecretAPIKey {
		return "it is of another type"
	}
	if len(secret) < keyBytesMin {
		return "its field key is too short"
	}
	n := &key{NamespacedName: name, sum: sha256.Sum256(secret)}
	if t := string(s.Data[v1alpha1.APIKeyExpires]); t != "" {
		var err error
		if n.expires, err = time.Parse(time.RFC3339, t); err != nil {
			return "its field expires is not a time of RFC 3339"
		}
	}
	k.of[name] = n
	k.by[n.sum] = append(k.by[n.sum], n)
	return ""
}

// RemoveKey tells that a Secret is gone.
func (a *Auth) RemoveKey(name types.NamespacedName) {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	a.keys.remove(name)
}

func (k *keys) remove(name types.NamespacedName) {
	o := k.of[name]
	if o == nil {
		return
	}
	delete(k.of, name)
	var rest []*key
	for _, n := range k.by[o.sum] {
		if n != o {
			rest = append(rest, n)
		}
	}
	if k.by[o.sum] = rest; len(rest) == 0 {
		delete(k.by, o.sum)
	}
}

// SetNamespace tells of a namespace, whose tenant pays.
func (a *Auth) SetNamespace(ns *corev1.Namespace) {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	a.keys.tenants[ns.Name] = ns.Labels[v1alpha1.LabelTenant]
}

// RemoveNamespace tells that a namespace is gone.
func (a *Auth) RemoveNamespace(name string) {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	delete(a.keys.tenants, name)
}
