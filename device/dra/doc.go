// Package dra is the DRA driver of one node: it publishes the machine's devices by
// the accelerator profile, and prepares those that a pod was given for its
// containers, as CDI files. Only system imports it.
//
// It looks at the machine from time to time, and at once when the kernel tells of a
// change of devices or of a fault in its log.
//
// It is a process of its own. What it prepared is on disk, one file per claim, so it
// can be killed at any moment and started again; the kubelet's calls are idempotent
// and never depend on what a process remembers. A device that is gone, or whose
// device file is no longer the one that was found, is not handed out.
package dra
