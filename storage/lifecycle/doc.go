// Package lifecycle removes and moves objects when their bucket's rules say so: S3's
// lifecycle configuration, its checks, and the runner that carries it out.
//
// The rules are pure: Config says what is due for a version, given the time. The Runner
// walks over all versions of buckets that have rules, so many at a time, and goes on
// there in its next pass. It removes nothing that is locked (storage/lock), and nothing
// that was changed since it was looked at. Its place in the walk is in memory only: to
// begin anew does no harm.
//
// S3's door imports the rules, and whoever wires the store the Runner. It refuses to know
// how bytes move: transitions are a function's that its configuration gives.
package lifecycle
