// Package internal is plumbing that knows no domain: certificates, log keys,
// Kubernetes clients. Its rooms may be imported by everybody and import, of
// ours, at most api.
package internal
