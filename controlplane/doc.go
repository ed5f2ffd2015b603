// Package controlplane is the half of the engine that decides: etcd, the API
// server, the controller manager and the scheduler, all upstream's, each in a
// room of its own. A room has Main, which becomes that program, and the flags or
// the configuration Polder gives it. Only system imports the rooms, and each
// imports one heavy library: flags, feature gates and metric registries are
// globals of a process, so every room is a process.
package controlplane
