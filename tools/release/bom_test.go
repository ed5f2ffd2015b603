package main

import (
	"bytes"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

func sample() []*program {
	toml := &debug.Module{Path: "github.com/BurntSushi/toml", Version: "v1.6.0", Sum: "h1:one="}
	cli := &debug.Module{Path: "github.com/docker/cli", Version: "v29.7.2+incompatible", Sum: "h1:two="}
	fork := &debug.Module{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/new", Version: "v2.0.0", Sum: "h1:three="}}
	within := &debug.Module{Path: ours, Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}
	return []*program{
		{place: "bin/polder", sha256: "aa", info: &debug.BuildInfo{
			GoVersion: "go1.26.8", Path: ours + "/cmd/polder", Main: debug.Module{Path: ours, Version: "(devel)"},
			Deps: []*debug.Module{toml, cli, fork},
		}},
		{place: "libexec/polder/runc", sha256: "bb", info: &debug.BuildInfo{
			GoVersion: "go1.26.8", Path: "github.com/opencontainers/runc", Main: debug.Module{Path: "github.com/opencontainers/runc", Version: "v1.4.0", Sum: "h1:four="},
			Deps:     []*debug.Module{toml},
			Settings: []debug.BuildSetting{{Key: "-tags", Value: "seccomp,netgo"}, {Key: "CGO_ENABLED", Value: "1"}},
		}},
		{place: "libexec/polder/polder-onnx", sha256: "ee", info: &debug.BuildInfo{
			GoVersion: "go1.26.8", Path: ours + "/tools/onnx", Main: debug.Module{Path: ours + "/tools/onnx", Version: "(devel)"},
			Deps: []*debug.Module{within},
		}},
	}
}

func decoded(t *testing.T) (*cyclonedx.BOM, []byte) {
	t.Helper()
	r := &release{version: "1.2.3", arch: "arm64", date: date}
	text, err := r.bom(sample(), map[string][]library{"libexec/polder/runc": {{
		name: "libc6-dev", version: "2.36-9+deb12u14", arch: "arm64", source: "glibc", sourceVersion: "2.36-9+deb12u14",
		system: "debian", systemVersion: "12", archive: "libc.a", archiveSHA256: "cc",
	}}}, []borrowed{{place: "libexec/polder/libonnxruntime.so.1", sha256: "dd", origin: origins["libonnxruntime.so.1"]}})
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	return &bom, text
}

func TestBOMNamesEverything(t *testing.T) {
	bom, _ := decoded(t)
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.Name+" "+c.Version+" "+c.PackageURL)
	}
	want := []string{
		"polder 1.2.3 ",
		"onnxruntime 1.24.1 pkg:npm/onnxruntime-node@1.24.1",
		"polder-onnx 1.2.3 ",
		"runc v1.4.0 ",
		"libc6-dev 2.36-9+deb12u14 pkg:deb/debian/libc6-dev@2.36-9%2Bdeb12u14?arch=arm64&distro=debian-12&upstream=glibc",
		"example.org/new v2.0.0 pkg:golang/example.org/new@v2.0.0",
		"github.com/BurntSushi/toml v1.6.0 pkg:golang/github.com/burntsushi/toml@v1.6.0",
		"github.com/docker/cli v29.7.2+incompatible pkg:golang/github.com/docker/cli@v29.7.2%2Bincompatible",
		"github.com/opencontainers/runc v1.4.0 pkg:golang/github.com/opencontainers/runc@v1.4.0",
		"polder.dev/polder/tools/onnx 1.2.3 pkg:golang/polder.dev/polder/tools/onnx@1.2.3",
		"polder.dev/polder 1.2.3 pkg:golang/polder.dev/polder@1.2.3",
		"stdlib 1.26.8 pkg:golang/stdlib@1.26.8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if bom.SpecVersion != cyclonedx.SpecVersion1_6 || bom.Metadata.Timestamp != "2026-01-02T03:04:05Z" {
		t.Errorf("version %s of %s", bom.SpecVersion, bom.Metadata.Timestamp)
	}
}

func TestBOMGraphIsWhole(t *testing.T) {
	bom, _ := decoded(t)
	refs := []string{bom.Metadata.Component.BOMRef}
	for _, c := range *bom.Components {
		if slices.Contains(refs, c.BOMRef) {
			t.Errorf("two components are called %s", c.BOMRef)
		}
		refs = append(refs, c.BOMRef)
	}
	reached := []string{bom.Metadata.Component.BOMRef}
	for _, d := range *bom.Dependencies {
		reached = append(reached, *d.Dependencies...)
	}
	slices.Sort(refs)
	slices.Sort(reached)
	if diff := cmp.Diff(refs, slices.Compact(reached)); diff != "" {
		t.Errorf("components, and what something depends on:\n%s", diff)
	}
}

func TestBOMSaysWhatADynamicProgramNeeds(t *testing.T) {
	programs := sample()
	programs[1].needs = []string{"libc.so.6"}
	text, err := (&release{version: "1.2.3", arch: "arm64", date: date}).bom(programs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("polder:elf:needed")); n != 1 || !bytes.Contains(text, []byte(`"libc.so.6"`)) {
		t.Errorf("%d programs of one need a library:\n%s", n, text)
	}
}

func TestBOMSameBytes(t *testing.T) {
	_, one := decoded(t)
	for range 5 { // maps are walked in another order each time
		if _, other := decoded(t); !bytes.Equal(one, other) {
			t.Fatal("the bill of materials differs between two runs")
		}
	}
}

func TestSerialFollowsContent(t *testing.T) {
	p := sample()
	one := serial("polder-1", p, nil)
	p[1].sha256 = "bc"
	if other := serial("polder-1", p, nil); one == other {
		t.Errorf("another program has the same serial number %s", one)
	}
}
