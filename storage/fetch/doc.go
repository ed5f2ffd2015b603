// Package fetch copies between the object store and a training worker's pod: data before
// the program starts, whole checkpoints while it runs. tools/fetch is its program, which
// is in an image of its own and runs with no more rights than the worker.
//
// What it is told comes from workload/train, by variables that docs/formats/training.md
// names. It knows no Kubernetes.
package fetch
