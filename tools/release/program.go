package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
)

// machines are the architectures that releases are made for, as a program says it.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// program is one binary of a release.
type program struct {
	path   string   // where it was built
	place  string   // where it goes, from the top of the tarball
	sha256 string   // hexadecimal
	needs  []string // libraries of the machine
	info   *debug.BuildInfo
}

// setting is what the build said about itself under key.
func (p *program) setting(key string) string {
	for _, s := range p.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// inspect reads every program below build, polder first, the others by name.
func inspect(build, arch string) ([]*program, error) {
	first, err := read(filepath.Join(build, "polder"), "bin/polder", arch)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(build, "libexec", "polder")
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing helper binaries: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no helper binary", dir)
	}
	programs := []*program{first}
	for _, f := range files {
		if _, ok := origins[f.Name()]; ok {
			continue // it is no program
		}
		p, err := read(filepath.Join(dir, f.Name()), path.Join("libexec/polder", f.Name()), arch)
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
	}
	return programs, nil
}

func read(file, place, arch string) (*program, error) {
	p := &program{path: file, place: place}
	var err error
	if p.info, err = buildinfo.ReadFile(file); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var bad error
	p.needs, bad = needed(file, arch, dynamic[path.Base(place)])
	if err := errors.Join(p.portable(arch), bad); err != nil {
		return nil, fmt.Errorf("%s must not be released: %w", file, err)
	}
	if p.sha256, err = sum(file); err != nil {
		return nil, err
	}
	return p, nil
}

// portable says what in p is not the release's but the building machine's.
func (p *program) portable(arch string) error {
	want := map[string]string{"GOOS": "linux", "GOARCH": arch, "-trimpath": "true"}
	for _, key := range []string{"GOOS", "GOARCH", "-trimpath"} {
		if got := p.setting(key); got != want[key] {
			return fmt.Errorf("it was built with %s=%s, not %s", key, got, want[key])
		}
	}
	if m := p.info.Main; m.Version == "(devel)" && !within(m.Path, ours) {
		return fmt.Errorf("module %s is of no version", m.Path)
	}
	for _, m := range p.info.Deps {
		if m.Replace != nil && m.Replace.Version == "" && !within(m.Path, ours) {
			return fmt.Errorf("module %s was replaced by directory %s, which nobody else has", m.Path, m.Replace.Path)
		}
	}
	return nil
}

// dynamic are the programs that must load a library while they run, which a static one
// cannot, and the libraries that they may ask for at their start: glibc, of which the
// loader is a part. On a machine that lacks these they do not run, and polder does
// without; polder-onnx runs in images that have them.
var dynamic = map[string][]string{
	"polder-onnx": {"libc.so.6", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"},
	"polder-nvml": {"libc.so.6", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"},
}

// needed are the libraries that file needs of the machine it runs on. It is an error if
// they are not among those that it may need, or if it asks for a loader and may need none.
func needed(file, arch string, may []string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Machine != machines[arch] {
		return nil, fmt.Errorf("it is for %s", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && len(may) == 0 {
			return nil, errors.New("it is linked dynamically: it asks for a loader")
		}
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return nil, nil // it has no such section
	}
	for _, l := range libs {
		if !slices.Contains(may, l) {
			return libs, fmt.Errorf("it is linked dynamically: it needs %s", libs)
		}
	}
	return libs, nil
}

func sum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
