package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// holder asks whose a token is; nil if it is nobody's.
func (a *Auth) holder(ctx context.Context, token string) (*authenticationv1.UserInfo, error) {
	sum := sha256.Sum256([]byte(token))
	if u, ok := recall(a, a.whose, sum); ok {
		return u, nil
	}
	v, err := a.once(ctx, "token\x00"+hex.EncodeToString(sum[:]), func(ctx context.Context) (any, error) {
		t := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: a.audiences}}
		if err := a.client.Create(ctx, t); err != nil {
			return nil, fmt.Errorf("asking whose a token is: %w", err)
		}
		var u *authenticationv1.UserInfo
		if t.Status.Authenticated && slices.ContainsFunc(t.Status.Audiences, func(s string) bool { return slices.Contains(a.audiences, s) }) {
			u = &t.Status.User
		}
		remember(a, a.whose, sum, u, u != nil)
		return u, nil
	})
	u, _ := v.(*authenticationv1.UserInfo)
	return u, err
}

// may asks whether a user may create infer below a service or route.
func (a *Auth) may(ctx context.Context, u *authenticationv1.UserInfo, namespace, resource, name string) (bool, error) {
	question := strings.Join(slices.Concat([]string{namespace, resource, name, u.UID, u.Username}, u.Groups), "\x00")
	if ok, known := recall(a, a.allowed, question); known {
		return ok, nil
	}
	v, err := a.once(ctx, "may\x00"+question, func(ctx context.Context) (any, error) {
		extra := map[string]authorizationv1.ExtraValue{}
		for k, v := range u.Extra {
			extra[k] = authorizationv1.ExtraValue(v)
		}
		r := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: u.Username, Groups: u.Groups, UID: u.UID, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: v1alpha1.Group, Version: "v1alpha1", Resource: resource, Subresource: v1alpha1.ResourceInfer, Namespace: namespace, Name: name, Verb: "create",
			},
		}}
		if err := a.client.Create(ctx, r); err != nil {
			return false, fmt.Errorf("asking what a user may do: %w", err)
		}
		remember(a, a.allowed, question, r.Status.Allowed, r.Status.Allowed)
		return r.Status.Allowed, nil
	})
	ok, _ := v.(bool)
	return ok, err
}

// once asks the API server a question that several may have at once. A client that goes
// away takes the answer from nobody.
func (a *Auth) once(ctx context.Context, question string, ask func(context.Context) (any, error)) (any, error) {
	c := a.ask.DoChan(question, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewFor)
		defer cancel()
		if err := a.asking.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("waiting to ask: %w", err)
		}
		defer a.asking.Release(1)
		return ask(ctx)
	})
	select {
	case r := <-c:
		if r.Err != nil {
			return nil, &gateway.Fault{
				Status: http.StatusServiceUnavailable, Code: "undecided", Cause: r.Err, RetryAfter: time.Second,
				Sentence: "who you are and what you may do cannot be decided now, because the cloud's API does not answer; try again",
			}
		}
		return r.Val, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func recall[K comparable, V any](a *Auth, m map[K]answer[V], k K) (V, bool) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := m[k]
	return v.value, ok && now.Before(v.until)
}

func remember[K comparable, V any](a *Auth, m map[K]answer[V], k K, v V, yes bool) {
	d := doubted
	if yes {
		d = believed
	}
	until := a.now().Add(d)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(m) >= answersMax {
		clear(m)
	}
	m[k] = answer[V]{v, until}
}
