// Package httproute honours the Gateway API for what the gateway serves: HTTPRoutes that
// send requests, by host, path, method, headers and query, and in parts by weight, to
// InferenceServices and ModelRoutes. The types and kinds are upstream's, unmodified
// (sigs.k8s.io/gateway-api). Only system imports it.
//
// Compile is a pure function from what the API holds to a Table and to what is to be said
// of each Gateway and HTTPRoute; Table.Find is one from a request to a rule. The controller
// keeps a Table and the statuses up to date; Handler carries out what a rule says.
//
// What it refuses, and says so in a condition: backends of other kinds or namespaces,
// filters other than RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect and
// URLRewrite of paths, matches by regular expression, and listeners of other protocols
// than HTTPS or at other ports than the gateway's own. Whoever asks is known and allowed as
// everywhere in the gateway: an HTTPRoute opens no door to anybody.
package httproute
