// Package queue decides which work may use the cloud's resources next: it is the
// core of Polder's queues, pure and without a clock of its own. The controller of
// Queues, the simulator and the tests share it; nobody else needs it.
//
// # The model
//
// Queues form a forest. What is submitted waits in a leaf. A quota is one line of a
// queue: what it counts (a resource, or accelerators of a kind, a product, a class of
// memory), how much of it is the queue's own (nominal), how much more it may borrow
// and how much of its own it lends. What a queue does not use is lent to its
// neighbours, level by level; a root borrows from nobody. A queue above others has
// what its own line says, else what its children have together. A line that is
// narrower than another one of its tree ("at most 8 GPUs of 80 GiB", beside "20 GPUs")
// binds only where it is written. An accelerator that no line of a queue or of those
// above it counts cannot be had there; processors and memory that no line counts are
// free.
//
// Devices are counted in parts, [Device] to a whole, so that seven sevenths are one;
// a partition counts by the counters it takes of its device ([Fraction]). For fair
// shares parts are weighed by the speed of their flavour: that is the normalised unit.
//
// # The decision
//
// [State.Cycle] goes from the root down to the child that borrows nothing for its
// next workload and, among equals, has the smallest dominant share by weight: what it
// uses now, and what it used before, halved every half-life. A workload that does not
// fit is set aside with its like and the next one is looked at, so nothing blocks what
// stands behind it; but one that has waited for longer than [Options.Patience] has
// the resources kept that it lacks, one workload at a time for each flavour, and is
// then looked at first. What fits nowhere may end others: those of lower priority in
// its own queue, and, if it borrows nothing, those with which others exceed what is
// theirs, or, where the queue says so, also if it borrows and their share stays the
// larger one; the lowest priority and the least work lost first, and none that is not
// needed. Those that end are back in their queue at once, and what takes their place
// is told to wait until they are gone ([Admission.After]).
//
// Which of several flavours a workload is given is said by how fast it is known to be with
// each ([Ask.Speeds]), and otherwise by the order in which it asks. Workloads of one queue
// that are admitted together then exchange what raises the speed of all (trade.go).
//
// # What it promises
//
// No limit is exceeded at any level, a gang is admitted whole or not at all, the same
// calls give the same plan, and when all has ended every count is zero. Each of these
// is a property that is tested on random forests. What waits has a [Wait] that says in
// a sentence which queue lacks how much of what, and who borrows it.
//
// It refuses forests with circles, unknown parents, weights below zero, quotas that
// promise more than there is above, and quotas for accelerators that nobody knows.
package queue
