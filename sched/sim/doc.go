// Package sim plays a trace to the policies of package sched, the same functions that
// place work in a cloud. Everybody may import it. A seed decides all that chance
// decides, so that a run can be made again.
//
// Without departures it follows the method by which the published policies were
// measured: pods arrive in random order, more than the cluster can hold, and none
// leaves. With departures pods come and go when the trace says, and wait for room.
// [Plan.WhatIf] adds machines before it is played.
//
// Pods run here as long as they ran where they were recorded, on whatever device, and
// need the CPU and memory they asked for; how they would really run, it does not know.
package sim
