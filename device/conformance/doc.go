// Package conformance holds what a driver publishes against the accelerator
// profile, rule by rule. The command line runs it on any cluster, tests run it on
// our own driver and emulator.
//
// It is a pure function of ResourceSlices. A rule that is broken names the first
// devices that break it; docs/formats/accelerator-profile.md has the rules by their
// numbers.
package conformance
