// Package claim compiles what a job needs of accelerators into a ResourceClaim
// that matches the devices of any vendor's driver, and explains of a device why it
// matches or not. Controllers and the command line import it.
//
// What a driver calls things is data: drivers.yaml has one entry per driver, ours
// among them. The CEL of a claim and the explanation are made of the same
// conditions, so they cannot disagree; package dra's tests hold the CEL against the
// scheduler's own evaluation.
//
// It sees no cluster: slices are handed to it.
package claim
