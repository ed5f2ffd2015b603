// Package server is the object store as one process: the disks of a data directory,
// their tiers, both front doors on one address, a socket for administrators, and the work
// that goes on behind. Only system imports it. `polder store serve` is it alone, without
// Kubernetes; in a cloud it is the component object-store.
//
// A data directory belongs to one process, by a lock. What clients send is bounded: the
// requests that are served at once, the head of each, and how slowly one may come.
//
// It refuses to know where identities come from: a Directory is handed to Doors.
package server
