// Package emulate makes nodes that do not exist: a dump of a machine becomes an
// inventory in the cluster, and nodes that have its devices. Package controller keeps
// them; the command line makes them.
//
// Nothing that is emulated can be taken for real: the node bears the label and the
// taint polder.dev/emulated, so that only what asks for devices comes to it, and each
// of its devices is marked.
package emulate
