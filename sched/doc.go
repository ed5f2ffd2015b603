// Package sched says where work goes: from a [Snapshot] of the nodes and a [Request]
// it makes a [Decision], which names the node and the devices, or a [Refusal], which
// says in words what was missing and on how many nodes.
//
// Everybody may import it. It is plain Go: no cluster, no clock, no chance of its
// own and no state but that of a [Board], which is a snapshot that is kept up while
// requests are placed and released. The same snapshot, request and policy make the
// same decision, on any machine: what is compared is whole numbers, so that the order
// of a sum decides nothing.
//
// A device is given out whole, in shares of any size, or, if it can be cut, in parts that
// have their place in it and use up its counters ([Cut]).
//
// The rooms below: trace reads what was recorded of clusters, sim plays it to a
// policy. It refuses to guess: what a request may run on is what it says, and an
// unknown policy, a negative amount or a share above a whole device is an error that
// names the field.
package sched
