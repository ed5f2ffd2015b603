// Package sim plays a trace to the policies of package sched, the same functions that
// place work in a cloud. Everybody may import it. A seed decides all that chance
// decides, so that a run can be made again.
//
// [Arrivals] is the method by which the published policies were measured: pods arrive
// in random order, more than the cluster can hold, and none leaves. [Queue] is a day
// in a cluster: pods come and go when the trace says, and wait for room.
package sim
