package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	v2 "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/gorilla/mux"
	"github.com/sirupsen/logrus"
)

// action is what somebody wants to do with a repository.
type action string

const (
	pull   action = "pull"
	push   action = "push"
	remove action = "delete"
)

// owned are the first segments of the repositories that belong to the namespace
// in their second, and the kind of group polder.dev that stands for them there:
// who may get, create or delete its objects may pull, push or delete.
var owned = map[string]string{"code": "trainjobs", "data": "trainjobs", "images": "trainjobs", "models": "models", "reports": "evaluations"}

// volumeTag is how the tags begin under which the cloud finds a model's files as an image
// that pods mount (model/pack). Who could write one could have a service run on other
// files than those of the version that it names.
const volumeTag = "volume-"

// verbs are the API server's words for actions, and roles those that have them.
var (
	verbs = map[action]string{pull: "get", push: "create", remove: "delete"}
	roles = map[action]string{pull: "view", push: "edit", remove: "edit"}
)

// owner is the namespace that a repository belongs to, if to any.
func owner(repository string) (namespace, resource string, ok bool) {
	first, rest, _ := strings.Cut(repository, "/")
	namespace, _, _ = strings.Cut(rest, "/")
	resource, ok = owned[first]
	return namespace, resource, ok && namespace != ""
}

// asker is somebody in the API server's terms.
type asker struct {
	user   string
	groups []string
}

// guard stands before the registry and lets through what the asker may do.
type guard struct {
	next             http.Handler
	router           *mux.Router
	store            distribution.RepositoryEnumerator
	index            *index
	reviews          *reviewer
	writers, readers []string
}

// repositories is what the registry keeps, and can list.
type repositories interface {
	distribution.Namespace
	distribution.RepositoryEnumerator
}

func newGuard(next http.Handler, store repositories, reviews *reviewer, writers, readers []string) *guard {
	// The router is made as next's own is, so both see the same name in a path.
	return &guard{next, v2.RouterWithPrefix(""), store, newIndex(store), reviews, writers, readers}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, err := g.asker(w, r)
	if err != nil {
		_ = errcode.ServeJSON(w, err) // fails when the asker is gone
		return
	}
	var match mux.RouteMatch
	known := g.router.Match(r, &match)
	refers := referrersPath.FindStringSubmatch(r.URL.Path)
	switch {
	case !known && refers != nil && r.Method == http.MethodGet:
		if err = g.judge(r.Context(), who, pull, refers[1]); err == nil {
			err = g.index.referrers(w, r, refers[1], refers[2])
		}
		if err == nil {
			return
		}
	case known && match.Route.GetName() == v2.RouteNameCatalog && r.Method == http.MethodGet:
		if err = g.catalog(w, r, who); err == nil {
			return
		}
	case g.writes(who):
	case !known && actionOf(r.Method) == pull:
		http.NotFound(w, r) // as next answers what it has no route for
		return
	case !known:
		err = errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not do that: %s %s is no request for an image", who.user, r.Method, r.URL.Path))
	default:
		err = g.admit(r, who, match.Route.GetName(), match.Vars["name"], match.Vars["reference"])
	}
	if err != nil {
		_ = errcode.ServeJSON(w, err) // fails when the asker is gone
		return
	}
	if !known {
		g.next.ServeHTTP(w, r)
		return
	}
	switch name := match.Route.GetName(); {
	case name == v2.RouteNameManifest && r.Method == http.MethodPut:
		announce(w, r)
	case name == v2.RouteNameBlobUploadChunk:
		r.Body = upload{r.Body}
	case name == v2.RouteNameBlob && r.Method == http.MethodGet:
		d := newDownload(w)
		defer d.end()
		w = d
	}
	g.next.ServeHTTP(w, r)
}

// admit returns nil when the request to a route may go on.
func (g *guard) admit(r *http.Request, who asker, route, repository, identifier string) error {
	switch route {
	case v2.RouteNameBase, v2.RouteNameCatalog:
		return nil // says nothing, or that only GET lists
	case v2.RouteNameManifest:
		if what := actionOf(r.Method); what == push && strings.HasPrefix(repository, "models/") && strings.HasPrefix(identifier, volumeTag) {
			return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not push %s:%s: the tags of models that begin with %s are the cloud's own; choose another",
				who.user, repository, identifier, volumeTag))
		}
		return g.judge(r.Context(), who, actionOf(r.Method), repository)
	case v2.RouteNameTags, v2.RouteNameBlob:
		return g.judge(r.Context(), who, actionOf(r.Method), repository)
	case v2.RouteNameBlobUpload, v2.RouteNameBlobUploadChunk:
		if err := g.judge(r.Context(), who, push, repository); err != nil {
			return err
		}
		g.mount(r, who)
		return nil
	}
	return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not do that: the registry has no rule for %s", who.user, r.URL.Path))
}

func actionOf(method string) action {
	switch method {
	case http.MethodGet, http.MethodHead:
		return pull
	case http.MethodDelete:
		return remove
	}
	return push
}

// mount takes from a push the wish to have a blob out of a repository that the
// asker may not pull. What is left is an ordinary upload, which is how a registry
// answers that cannot mount (OCI distribution, "Mounting a blob from another
// repository"). The form is that which the registry reads after us: a request is
// parsed once.
func (g *guard) mount(r *http.Request, who asker) {
	from := r.FormValue("from")
	if from == "" || g.judge(r.Context(), who, pull, from) == nil {
		return
	}
	r.Form.Del("from")
	r.Form.Del("mount")
}

func (g *guard) writes(who asker) bool {
	return slices.ContainsFunc(who.groups, func(o string) bool { return slices.Contains(g.writers, o) })
}

// judge returns nil when who may do it, and else what to answer.
func (g *guard) judge(ctx context.Context, who asker, what action, repository string) error {
	if g.writes(who) || what == pull && slices.Contains(g.readers, who.user) {
		return nil
	}
	namespace, resource, ok := owner(repository)
	if !ok {
		return g.common(who, what, repository)
	}
	if who.user == "" {
		return errcode.ErrorCodeDenied.WithMessage("a certificate without a common name is nobody's; ask for one that names you")
	}
	allowed, err := g.reviews.ask(ctx, who, verbs[what], resource, namespace)
	if err != nil {
		logrus.Warnf("asking whether %s may %s %s: %v", who.user, what, repository, err)
		return errcode.ErrorCodeUnavailable.WithMessage(fmt.Sprintf("the API server does not say now whether user %q may %s %s; try again in a moment", who.user, what, repository))
	}
	if allowed {
		return nil
	}
	remedy := fmt.Sprintf("ask an administrator for the role %s there", roles[what])
	return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not %s %s: it is namespace %s's, where they may not %s %s.polder.dev; %s",
		who.user, what, repository, namespace, verbs[what], resource, remedy))
}

// common judges repositories that belong to no namespace.
func (g *guard) common(who asker, what action, repository string) error {
	switch what {
	case pull:
		return nil
	case push:
		return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not push %s: it belongs to no namespace; push images/NAMESPACE/NAME, for which the role edit in NAMESPACE is enough",
			who.user, repository))
	}
	return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("user %q may not delete %s: it belongs to no namespace; ask an administrator", who.user, repository))
}
