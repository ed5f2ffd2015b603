// Package controller stands in for the kubelets of emulated nodes: it keeps them
// ready, publishes their devices, says of pods that are placed there that nothing
// runs, and makes volumes that hold nothing, without which no pod would be placed.
// Only system imports it.
//
// It acts on nodes with the label polder.dev/emulated alone. It writes a slice only
// if what it says changed.
package controller
