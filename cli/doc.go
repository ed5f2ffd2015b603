// Package cli holds the verbs that work on a cloud through its API, from anywhere
// the API can be reached: train, jobs, logs, cancel, model, image and runtime. Only
// cmd imports it. It is a client like any other: what it can do, kubectl and an OCI
// client can do too.
//
// A verb checks all of its input before it writes anything.
package cli
