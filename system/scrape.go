package system

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"net/http"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// askForCertificate has a server check the certificates that clients show
// against the cluster's authority. One without comes no further than scrapers.
func askForCertificate(c layout.Cloud) (func(*tls.Config), error) {
	pool, err := pki.Pool(c.Cert("ca"))
	if err != nil {
		return nil, err
	}
	return func(t *tls.Config) { t.ClientCAs, t.ClientAuth = pool, tls.VerifyClientCertIfGiven }, nil
}

// scrapers lets in who may get what they ask for: by their certificate, as
// everywhere in the cloud, or by a service account's token, which is what a
// monitoring system in a pod has. Upstream's filter knows tokens only.
func scrapers(clients kubernetes.Interface) func(*rest.Config, *http.Client) (metricsserver.Filter, error) {
	return func(cfg *rest.Config, h *http.Client) (metricsserver.Filter, error) {
		tokens, err := filters.WithAuthenticationAndAuthorization(cfg, h)
		if err != nil {
			return nil, err
		}
		return func(log logr.Logger, next http.Handler) (http.Handler, error) {
			byToken, err := tokens(log, next)
			if err != nil {
				return nil, err
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
					byToken.ServeHTTP(w, r)
					return
				}
				ok, err := mayGet(r.Context(), clients, r.TLS.VerifiedChains[0][0].Subject, r.URL.Path)
				switch {
				case err != nil:
					log.Error(err, "asking whether a client may read metrics")
					http.Error(w, "cannot be decided now", http.StatusInternalServerError)
				case !ok:
					http.Error(w, "forbidden", http.StatusForbidden)
				default:
					next.ServeHTTP(w, r)
				}
			}), nil
		}, nil
	}
}

// mayGet asks the API server whether the holder of a certificate may get path.
func mayGet(ctx context.Context, clients kubernetes.Interface, who pkix.Name, path string) (bool, error) {
	review, err := clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who.CommonName, Groups: append([]string{"system:authenticated"}, who.Organization...),
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
