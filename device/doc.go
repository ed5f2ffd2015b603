// Package device says what an accelerator is, in terms that hold for every
// vendor: what it is called and how it is told from all others, what memory and
// speed it has, where it sits in the machine, whom it can talk to, how it is, and
// which of these statements come from where. It is plain Go: no cluster, no
// vendor library, no Kubernetes.
//
// Everybody may import it. How devices are found is told by the rooms below, one
// per vendor, each an [Adapter]; package discovery lists and runs them. They read
// a machine, or a copy of one, through a [Host] and nothing else, so all of them
// run on a directory of files on any machine. Package catalogue supplies what
// hardware does not report, and says so in [Device.Provenance]. Package kernlog reads
// the kernel's log, of which a [Listener] understands what its vendor's driver says.
//
// A number that is not known is absent, never zero or a guess.
package device
