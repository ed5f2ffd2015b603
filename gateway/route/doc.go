// Package route carries out what ModelRoutes decide: it splits, asks the general model
// about what a specialist is not sure of, falls back, copies to a shadow, keeps answers,
// holds clients to limits and tenants to budgets, and keeps requests as data for training.
// What is to happen is decided by model/route; this package does it, counts it and says so.
// The door (gateway/door) hands it requests, and system joins them. It is the only writer
// of status.observed of ModelRoutes and of their conditions Drift and Logged.
//
// Invariants:
//   - Nothing is asked again once a byte of an answer has been sent.
//   - A shadow, the log and the cache never make a request fail, and hold a bounded amount
//     of memory; what finds no room is dropped, counted and told.
//   - What a tenant has spent today outlives the process: it is durable before more is
//     spent (spend.go).
//   - No record is kept before it was redacted.
//
// It refuses, with the remedy: routes whose spec cannot be used (503), requests that no
// rule fits (404), more than the limits allow (429), and requests to a cascade that no
// answer can be judged of (400).
package route
