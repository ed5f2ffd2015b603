// Package v1alpha1 holds the kinds of polder.dev/v1alpha1, one file per kind,
// with the generated deep copies beside them and the generated CRDs in crd/.
// Field rules are written here once, as markers, and enforced by the API
// server; no controller repeats them.
//
// +kubebuilder:object:generate=true
// +groupName=polder.dev
package v1alpha1
