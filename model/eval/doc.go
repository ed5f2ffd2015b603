// Package eval judges models by what they answered: metrics with confidence intervals,
// paired comparisons of a candidate with others on the same rows, slices, regressions,
// contamination, requirements, and a verdict in sentences.
//
// The evaluator that runs models, the controller of evaluations, the router that learns
// thresholds, pages and the command line import it. It is pure: answers and a seed go in,
// a [Report] comes out, and the same input gives the same report to the last bit. It runs
// no model, reads no clock, and knows no Kubernetes.
//
// Invariants:
//   - A difference is called one only when its test says so after correction for the number
//     of comparisons; otherwise the verdict is that there is no significant difference.
//   - An interval is absent where it cannot be told, and a number that is not one is an
//     error: nothing is made up, and no NaN is ever written.
//   - Whoever reads a report may rely on what [Decode] has checked: lengths agree, numbers
//     are finite, and no list is longer than this package says.
//
// It refuses to judge what it was not given: rows without a label, answers for other rows
// than asked, one class where a metric needs two.
package eval
