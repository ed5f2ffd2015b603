// Package census takes a cluster down: from what the API server says of nodes, devices,
// claims, pods, volumes and jobs it makes a snapshot of package sched, the work of
// package defrag, and what requests are typical there. Of each job that is not to be
// moved it says why.
//
// Everybody may import it; the command line plans moves by it. It asks nobody and
// changes nothing. What it cannot say in words of the board it counts as in use and
// leaves alone: pods that are no
// job's, devices of several nodes, claims of several pods. Processors are no accelerators.
package census
