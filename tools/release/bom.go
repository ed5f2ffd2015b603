package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

const (
	ours    = "polder.dev/polder"
	licence = "Apache-2.0"
)

// bill is a bill of materials in the making.
type bill struct {
	version string
	parts   map[string]cyclonedx.Component // by reference
	needs   map[string][]string            // reference to references
}

// bom writes the bill of materials: what the binaries say of themselves, and the
// C libraries, of which they say nothing. A binary lists the modules it holds but
// not which of them needs which, so the graph is one level deep.
func (r *release) bom(programs []*program, libraries map[string][]library, others []borrowed) ([]byte, error) {
	b := &bill{version: r.version, parts: map[string]cyclonedx.Component{}, needs: map[string][]string{}}
	top := cyclonedx.Component{
		BOMRef: "polder", Type: cyclonedx.ComponentTypeApplication, Name: "polder", Version: r.version,
		PackageURL: goURL(ours, r.version), Licenses: licences(licence),
		Properties: properties("cdx:gomod:build:env:GOOS", "linux", "cdx:gomod:build:env:GOARCH", r.arch),
	}
	for _, p := range programs {
		b.needs[top.BOMRef] = append(b.needs[top.BOMRef], b.program(p))
		for _, l := range libraries[p.place] {
			b.needs[p.place] = append(b.needs[p.place], b.library(l))
		}
	}
	for _, o := range others {
		b.needs[top.BOMRef] = append(b.needs[top.BOMRef], b.borrowed(o))
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serial(r.name(), programs, others)
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp:  r.date.UTC().Format(time.RFC3339),
		Lifecycles: &[]cyclonedx.Lifecycle{{Phase: cyclonedx.LifecyclePhasePostBuild}},
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
			{Type: cyclonedx.ComponentTypeApplication, Name: ours + "/tools/release", Version: r.version},
		}},
		Component: &top,
	}
	bom.Components, bom.Dependencies = b.lists()
	var text bytes.Buffer
	e := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := e.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("writing bill of materials: %w", err)
	}
	return text.Bytes(), nil
}

// program adds p and all that is in it.
func (b *bill) program(p *program) string {
	c := cyclonedx.Component{
		BOMRef: p.place, Type: cyclonedx.ComponentTypeApplication, Name: path.Base(p.place),
		Hashes: sha(p.sha256),
		Properties: properties(
			"cdx:gomod:binary:name", p.place,
			"cdx:gomod:build:env:CGO_ENABLED", p.setting("CGO_ENABLED"),
			"cdx:gomod:build:env:GOVERSION", p.info.GoVersion,
			"polder:go:package", p.info.Path),
	}
	for tag := range strings.SplitSeq(p.setting("-tags"), ",") {
		if tag != "" {
			*c.Properties = append(*c.Properties, cyclonedx.Property{Name: "cdx:gomod:build:tag", Value: tag})
		}
	}
	for _, l := range p.needs {
		*c.Properties = append(*c.Properties, cyclonedx.Property{Name: "polder:elf:needed", Value: l})
	}
	main := p.info.Main // of the package's module, which is ours or upstream's
	if within(main.Path, ours) {
		main.Version = b.version
	}
	c.Version = main.Version
	for _, m := range append([]*debug.Module{&main}, p.info.Deps...) {
		b.needs[p.place] = append(b.needs[p.place], b.module(m))
	}
	b.needs[p.place] = append(b.needs[p.place], b.toolchain(p.info.GoVersion))
	b.parts[c.BOMRef] = c
	return c.BOMRef
}

func within(pkg, module string) bool { return pkg == module || strings.HasPrefix(pkg, module+"/") }

// module adds a Go module. Its sum is no digest of a file, so it is a property.
func (b *bill) module(m *debug.Module) string {
	switch {
	case m.Replace != nil && within(m.Path, ours): // a module of ours takes another from its directory
		m = &debug.Module{Path: m.Path, Version: b.version}
	case m.Replace != nil:
		m = m.Replace
	}
	c := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: goURL(m.Path, m.Version)}
	c.BOMRef = c.PackageURL
	if m.Sum != "" {
		c.Properties = properties("polder:go:sum", m.Sum)
	}
	if within(m.Path, ours) {
		c.Licenses = licences(licence)
	}
	b.parts[c.BOMRef] = c
	return c.BOMRef
}

// toolchain adds Go's standard library, under the name that databases of
// vulnerabilities know it by.
func (b *bill) toolchain(goVersion string) string {
	version := strings.TrimPrefix(goVersion, "go")
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: "stdlib", Version: version,
		Description: "Go's standard library and runtime", PackageURL: goURL("stdlib", version), Licenses: licences("BSD-3-Clause"),
	}
	c.BOMRef = c.PackageURL
	b.parts[c.BOMRef] = c
	return c.BOMRef
}

func (b *bill) library(l library) string {
	query := url.Values{"arch": {l.arch}, "distro": {l.system + "-" + l.systemVersion}, "upstream": {l.source}}
	if l.sourceVersion != l.version {
		query.Set("upstream", l.source+"@"+l.sourceVersion)
	}
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: l.name, Version: l.version,
		Description: "linked statically: " + l.archive,
		PackageURL:  fmt.Sprintf("pkg:deb/%s/%s@%s?%s", l.system, url.QueryEscape(l.name), url.QueryEscape(l.version), query.Encode()),
		Properties:  properties("polder:archive:"+l.archive+":sha256", l.archiveSHA256),
	}
	c.BOMRef = c.PackageURL
	b.parts[c.BOMRef] = c
	return c.BOMRef
}

// lists returns the parts and what they need, in order of reference.
func (b *bill) lists() (*[]cyclonedx.Component, *[]cyclonedx.Dependency) {
	var parts []cyclonedx.Component
	var needs []cyclonedx.Dependency
	for _, c := range b.parts {
		parts = append(parts, c)
	}
	for ref, on := range b.needs {
		slices.Sort(on)
		on = slices.Compact(on)
		needs = append(needs, cyclonedx.Dependency{Ref: ref, Dependencies: &on})
	}
	slices.SortFunc(parts, func(a, b cyclonedx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	slices.SortFunc(needs, func(a, b cyclonedx.Dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return &parts, &needs
}

// goURL is the package URL of a module, which is lower-case by that standard.
func goURL(module, version string) string {
	return fmt.Sprintf("pkg:golang/%s@%s", strings.ToLower(module), url.QueryEscape(version))
}

func licences(id string) *cyclonedx.Licenses {
	return &cyclonedx.Licenses{{License: &cyclonedx.License{ID: id}}}
}

func sha(hex string) *[]cyclonedx.Hash {
	return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex}}
}

func properties(pairs ...string) *[]cyclonedx.Property {
	var out []cyclonedx.Property
	for p := range slices.Chunk(pairs, 2) {
		out = append(out, cyclonedx.Property{Name: p[0], Value: p[1]})
	}
	return &out
}

// serial is a UUID made from what the bill is about (version 8 of RFC 9562), so
// that the same release has the same one.
func serial(name string, programs []*program, others []borrowed) string {
	h := sha256.New()
	fmt.Fprintln(h, name)
	for _, p := range programs {
		fmt.Fprintln(h, p.sha256, p.place)
	}
	for _, o := range others {
		fmt.Fprintln(h, o.sha256, o.place)
	}
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
