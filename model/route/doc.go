// Package route decides where a request goes, and learns how sure a specialist must be to
// be believed. It is pure: a [Route] is compiled from a spec, and everything else is a
// function of what it is given. There is no clock, network or chance here; times and draws
// are arguments, and what is learned depends on a seed.
//
// The gateway carries decisions out, the controller of routes learns thresholds, the
// command line shows them, and benchmarks compute published numbers with it.
//
// Invariants:
//   - Of a split each target gets its share of the draws, and one of weight 0 gets none.
//   - A cascade asks the general model about a row only if the specialist's margin is
//     below the threshold, or cannot be told.
//   - No client passes a [Pace], and no tenant spends more than its [Purse] holds, in
//     whatever order requests come.
//   - Two tenants never have the same [Key].
//   - What is expected of a threshold is told by rows that it was not chosen on, and
//     always beside three controls.
//
// It refuses specs that could send a request nowhere, with a sentence that names the field.
package route
