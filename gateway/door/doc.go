// Package door is the gateway's front: it takes requests apart by their paths, has auth say
// who asks and whether they may, keeps the bounds, and hands what is left to a route or to a
// service. Only system imports it.
//
// Paths are /NAMESPACE/v2/... (Open Inference Protocol), /NAMESPACE/v1/... (OpenAI's API,
// with the model in the body) and /NAMESPACE/http/NAME/... Errors have the form that the
// protocol's clients read. Who asks is found out before a body is read. Bodies of models'
// protocols are read whole, within bounds for each and for all together; others pass by. A
// client that sends or reads too slowly is let go, and what it asked for is ended.
//
// It refuses to guess: a name that is neither a route nor a service is a 404, a service of
// another protocol a 400 that says which path is right.
package door
