// Package plugin puts the decisions of sched into kube-scheduler. Only system links
// it, into the process of kube-scheduler; it is an edge, and its heavy library is the
// scheduler's framework with upstream's plugin for claims.
//
// Upstream's DynamicResources is not forked: [Devices] has it inside, hands it another
// list of ResourceSlices, and is in its place in the profile. Upstream's allocator goes
// through nodes, slices and devices in their order and takes the first that will do. So
// a pod with claims is decided on a [sched.Board] first, and then the allocator is
// shown the slices of the chosen nodes only, with the chosen devices first. That
// gives the policy's allocation, and is also faster, because the allocator does not
// look at every node. [Score] ranks nodes by the same board for pods without
// claims, so that these do not strand idle devices.
//
// What holds:
//
//   - Upstream allocates. A board that is wrong or late makes a decision worse or an
//     attempt futile, never a device given out twice.
//   - Who cannot be said in the words of sched (see compile.go) is left to upstream, and
//     who was shown chosen nodes only and did not fit is shown all of them the next time,
//     at once: other plugins know what the board does not. So no node and no domain that
//     would do is left out for good.
//   - Who has devices is read from upstream's own lists at each decision; the ledger, by
//     which the board is kept up, is no source of truth but for what is in flight. So
//     there is one profile per process: another's decisions in flight are not seen.
//   - Nothing is stored. An allocation is written with the claim's status in PreBind,
//     by upstream, and what is in flight before that is in this process's memory: a
//     scheduler that dies in the middle of a gang leaves claims allocated that are
//     reserved for its pods, and none else.
//   - The framework runs one scheduling cycle at a time. Every entry takes the
//     cluster's lock all the same, and what is shown to the allocator is put back before
//     the lock is given up, so that two cycles would be slow, not wrong.
//
// Gangs are placed on the board as a whole ([Devices.GeneratePlacements]), with
// sched/gang, before upstream places the first of their pods. Upstream is then given one
// placement, and each pod its node and devices. Where they do not fit after all, for reasons
// that the board does not know, the gang is placed on the board once more, in the best of the
// other domains; and then it is upstream's, as who cannot be said in words of the board: in
// the best domains of those that may have room, one at first and twice as many each time,
// until all have been tried (tour.go). [Preemption] has upstream's look for
// who gives way in a cluster where these have left their devices behind, and of those of
// one priority takes those who lose least work. Upstream places a gang once, while all who
// may give way are gone, and then has as many stay as it can; so the gang is placed where
// those who have to go lose least (spare.go).
//
// Devices that share counters, as the parts of one that can be cut do, are one device of
// the board (see inventory.go and package stock). The board says which of them are to be
// cut, where, and into what, so that large parts and whole devices still find a place.
// Upstream's allocator is shown all slices of the pool, because it takes nothing of a
// pool that is not complete, and counts as used only what has devices in the slices that
// it sees: it keeps the counters, whatever the board believes.
//
// What the devices of one request must have in common (matchAttribute), such as a fabric,
// the board knows as soon as a claim has asked for it.
//
// It refuses to guess: what devices of several requests must have in common, or differ
// in, and what parts of one device do, is upstream's to find, on a few nodes that have
// the devices; and devices that take of the counters of several sets, or that those of
// several nodes share counters with, are upstream's, pod by pod.
package plugin
