// Package version says which Polder this is. The build stamps it; everybody may
// import it.
package version

// Set by the linker: -X polder.dev/polder/internal/version.number=...
var (
	number = "0.0.0-dev"
	commit = "unknown"
	date   = "unknown"
)

// String is the semantic version, such as 0.1.0 or 0.1.0-dev.12+g1a2b3c4.
func String() string { return number }

// Commit is the git commit this was built from, with "-dirty" when the tree had
// changes.
func Commit() string { return commit }

// Date is the commit's time, RFC 3339, so that the same commit gives the same
// program.
func Date() string { return date }

// Long says all three.
func Long() string { return number + " (" + commit + ", " + date + ")" }
