// Package cli holds the verbs that work on a cloud through its API, from anywhere
// the API can be reached: train, jobs, logs, cancel, defrag, model, image and runtime. Only
// cmd imports it. It is a client like any other: what it can do, kubectl and an OCI
// client can do too. cp, ls, sync, rm, cat and bucket speak S3 to the cloud's object
// store, or to another one. Verbs that need no cloud are devices, of this machine or of a
// copy of one, and sim, which plays a trace.
//
// A verb checks all of its input before it writes anything.
package cli
