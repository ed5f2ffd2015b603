// Package system puts a cloud together and keeps it up: the table of components,
// their identities and files, the supervisor, and the verbs of the engine (up,
// down, status, logs, kubeconfig, reset, preflight). It is the only place that
// knows everybody; only cmd imports it.
//
//	polder up ──starts──► supervisor ──supervises──► polder etcd, polder kube-apiserver, …
//	polder status, down ──socket──►│                 containerd, CoreDNS, the registry
//
// The supervisor is one process per data directory, held by a lock on it. Its
// children die with it, whatever way it ends; containers do not, so that a
// restart disturbs nobody's work.
package system
