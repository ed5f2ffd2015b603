// Package profile is the standard by which a device is published to Kubernetes:
// the names, types and units of attributes and capacities, health as taints, and
// parts as counters. docs/formats/accelerator-profile.md is its normative text and
// changes with it. The driver, the emulator and the conformance suite import it.
//
// It turns a device.Device into the API's device and knows the API's limits; it
// speaks to no cluster.
package profile
