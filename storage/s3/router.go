package s3

import (
	"net/http"
	"slices"
	"strings"
)

type routeKey struct {
	level  level
	method string
	param  string
}

// routes is the table by what it is looked up with, and params the parameters that tell
// operations apart.
var routes, params = index()

func index() (map[routeKey]*operation, map[string]bool) {
	routes, params := map[routeKey]*operation{}, map[string]bool{}
	for i := range table {
		o := &table[i]
		routes[routeKey{o.level, o.method, o.param}] = o
		if p, _, _ := strings.Cut(o.param, "+"); p != "" {
			params[p] = true
		}
	}
	for _, p := range unserved {
		params[p] = true
	}
	return routes, params
}

// route finds the operation.
func (q *request) route() (*operation, error) {
	param := ""
	for i := range q.query {
		if k := q.query[i].Key; params[k] {
			if param = k; routes[routeKey{q.level, q.r.Method, k}] != nil {
				break
			}
		}
	}
	// Both versions of a listing tell the same.
	if param != "" && param != "list-type" && q.auth != nil && !q.auth.CoversParam(param) {
		return nil, fail("AccessDenied", "The parameter %s is not signed; use signature version 4.", param)
	}
	if q.r.Header["X-Amz-Copy-Source"] != nil {
		if o := routes[routeKey{q.level, q.r.Method, param + "+copy"}]; o != nil {
			return o, nil
		}
	}
	if o := routes[routeKey{q.level, q.r.Method, param}]; o != nil {
		return o, nil
	}
	return nil, q.unknown(param)
}

func (q *request) unknown(param string) error {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete} {
		if routes[routeKey{q.level, m, param}] != nil {
			allow = append(allow, m)
		}
	}
	if slices.Contains(unserved, param) {
		return fail("NotImplemented", "This server has no %s ?%s.", q.r.Method, param)
	}
	q.set("Allow", strings.Join(allow, ", "))
	return fail("MethodNotAllowed", "The method %s is not allowed here; these are: %s.", q.r.Method, strings.Join(allow, ", "))
}
