package main

import (
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/CycloneDX/cyclonedx-go"
)

// borrowed is a library that others have built, and that one of our programs loads when
// it runs.
type borrowed struct {
	path   string // where it lies
	place  string // where it goes, from the top of the tarball
	sha256 string // hexadecimal
	origin
}

// origin says where a borrowed library comes from.
type origin struct {
	name, version, licence string
	url                    string   // package URL
	by                     string   // the program that loads it
	needs                  []string // libraries of the image or machine that it may ask for
}

// origins are the libraries that may lie among the helper binaries. tools/onnxruntime has
// brought the one there is, and has its hash.
var origins = map[string]origin{
	"libonnxruntime.so.1": {
		name: "onnxruntime", version: onnxruntimeVersion, licence: "MIT",
		url: "pkg:npm/onnxruntime-node@" + onnxruntimeVersion, by: "libexec/polder/polder-onnx",
		needs: []string{"libdl.so.2", "librt.so.1", "libpthread.so.0", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"},
	},
}

// onnxruntimeVersion is the one in tools/onnxruntime.
const onnxruntimeVersion = "1.24.1"

// borrow reads the libraries of others below build.
func borrow(build, arch string) ([]borrowed, error) {
	var out []borrowed
	for _, file := range slices.Sorted(maps.Keys(origins)) {
		b := borrowed{path: filepath.Join(build, "libexec", "polder", file), place: path.Join("libexec/polder", file), origin: origins[file]}
		f, err := elf.Open(b.path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", b.path, err)
		}
		machine := f.Machine
		libs, err := f.ImportedLibraries()
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", b.path, err)
		}
		if machine != machines[arch] {
			return nil, fmt.Errorf("%s must not be released: it is for %s", b.path, machine)
		}
		for _, l := range libs {
			if !slices.Contains(b.needs, l) {
				return nil, fmt.Errorf("%s must not be released: it needs %s, which the images that it is for do not have", b.path, l)
			}
		}
		if b.sha256, err = sum(b.path); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// borrowed adds a library of others, and returns its reference.
func (b *bill) borrowed(l borrowed) string {
	c := cyclonedx.Component{
		BOMRef: l.place, Type: cyclonedx.ComponentTypeLibrary, Name: l.name, Version: l.version, PackageURL: l.url,
		Description: "loaded when " + path.Base(l.by) + " runs: " + path.Base(l.place),
		Hashes:      sha(l.sha256), Licenses: licences(l.licence),
	}
	b.parts[c.BOMRef] = c
	b.needs[l.by] = append(b.needs[l.by], c.BOMRef)
	return c.BOMRef
}
