// Package runtimes holds the recipes of the images that training jobs run in, one
// directory each, embedded in the program, so that an installed cloud can build
// them. Its room recipe knows how. Clients and system import it.
package runtimes

import "embed"

// Files holds, per recipe, recipe.yaml and a lock per architecture.
//
//go:embed */recipe.yaml */lock-*.txt
var Files embed.FS
