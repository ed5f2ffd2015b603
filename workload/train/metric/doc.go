// Package metric reads the metrics file that a training program writes: one
// JSON object per line, in the convention of docs/formats/training.md.
//
// The train controller imports it, and any client that draws a curve. It is
// pure: bytes go in, a Summary comes out. The bytes come from a program nobody
// trusts, so a Log takes any input without failing, holds at most one line and
// one Summary in memory, counts what it refuses, and bounds every name and
// number that it passes on. It does not open files and knows no Kubernetes.
package metric
