// Package route says of ModelRoutes whether they can be used, and learns the thresholds of
// their cascades from the reports of evaluations. Only system imports it. It writes the
// status of ModelRoutes but for what the gateway has observed.
//
//   - A spec that model/route does not compile is not accepted, in its words.
//   - A threshold is learned when the evaluation has succeeded, and again when another
//     report, the spec or the costs differ; what was learned stays in use until then.
//   - What is in the status can be told again by anybody: the digest of the report, and a
//     seed that is always the same.
//   - That a service has come to serve another model than was judged is told.
//
// It refuses to learn from reports of other namespaces, from models that are not those of
// the targets, and from too few rows, with a sentence in the condition Learned.
package route
