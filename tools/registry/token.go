package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/sirupsen/logrus"
)

const (
	tokenBytesMax = 16 << 10
	// tokensMax are asked about at a time: strangers can send many.
	tokensMax = 16
)

type tokenSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type tokenStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences,omitempty"`
	User          struct {
		Name   string   `json:"username"`
		Groups []string `json:"groups"`
	} `json:"user,omitzero"`
}

// holder finds out whose a token of the cluster is. It is nobody's if it is not for one of
// the audiences. An error says that nobody knows.
func (v *reviewer) holder(ctx context.Context, token string) (who asker, ok bool, err error) {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(token)))
	if who, ok := v.holders.recall(sum); ok {
		return who, who.user != "", nil
	}
	select {
	case v.tokens <- struct{}{}:
		defer func() { <-v.tokens }()
	case <-ctx.Done():
		return asker{}, false, ctx.Err()
	}
	s, err := post[tokenSpec, tokenStatus](ctx, v, "authentication.k8s.io", "TokenReview", tokenSpec{token, v.audiences})
	if err != nil {
		return asker{}, false, err
	}
	if s.Authenticated && slices.ContainsFunc(s.Audiences, func(a string) bool { return slices.Contains(v.audiences, a) }) {
		who = asker{user: s.User.Name, groups: s.User.Groups}
	}
	v.holders.keep(sum, who, who.user != "")
	return who, who.user != "", nil
}

// asker is who sends a request: whom its certificate names, or whose its token is, which is
// sent as such or, as clients of registries do, as a password.
func (g *guard) asker(w http.ResponseWriter, r *http.Request) (asker, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		s := r.TLS.VerifiedChains[0][0].Subject
		return asker{user: s.CommonName, groups: append(slices.Clone(s.Organization), "system:authenticated")}, nil
	}
	token := tokenOf(r)
	if token == "" || len(token) > tokenBytesMax {
		return asker{}, stranger(w, "the registry asks for a certificate of the cluster, or for a token of it as the password of any user")
	}
	who, ok, err := g.reviews.holder(r.Context(), token)
	if err != nil {
		logrus.Warnf("asking whose a token is: %v", err)
		return asker{}, errcode.ErrorCodeUnavailable.WithMessage("the API server does not say now whose the token is; try again in a moment")
	}
	if !ok {
		return asker{}, stranger(w, "the token is nobody's: it is not of this cluster, has expired, or is for somebody else than the API server or the registry")
	}
	return who, nil
}

func tokenOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// stranger asks for a password, which is how clients of registries find out that one is
// wanted (OCI distribution leaves it to RFC 7617).
func stranger(w http.ResponseWriter, why string) error {
	w.Header().Set("WWW-Authenticate", `Basic realm="polder", charset="UTF-8"`)
	return errcode.ErrorCodeUnauthorized.WithMessage(why)
}
