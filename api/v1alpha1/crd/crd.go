// Package crd holds the CustomResourceDefinitions of polder.dev, generated from
// the Go types by `make gen` and embedded, so that the cloud installs exactly
// the kinds it was built with.
package crd

import "embed"

// Files holds one YAML file per kind.
//
//go:embed *.yaml
var Files embed.FS
