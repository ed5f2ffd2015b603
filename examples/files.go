// Package examples carries, in the program, the examples that `polder demo` runs: the same
// files that people find in this directory. The command line imports it; nothing runs here.
package examples

import "embed"

// Files are the data and the objects of the examples.
//
//go:embed data/digits/digits.csv ocr-digits/*.yaml
var Files embed.FS
