// Command release packs what was built for one architecture: a tarball and its
// bill of materials, the same bytes for the same commit. Only `make release` runs
// it. It builds nothing, and refuses a program that would not run on a machine
// without anything of the one that built it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// release is what the flags say.
type release struct {
	version string
	date    time.Time // of the commit, and of everything in the tarball
	arch    string
	build   string   // directory with polder and libexec/polder
	to      string   // directory of what is made
	pages   []string // files that go to share/polder
}

func main() {
	r, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	code := 2 // what is wrong was typed, 1 is anything else
	if err == nil {
		code, err = 1, r.make()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(code)
	}
}

// semver is the form of a version; build metadata is allowed.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func parse(args []string) (*release, error) {
	var r release
	var date string
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "semantic version, without a v")
	flags.StringVar(&date, "date", "", "time of the commit, RFC 3339")
	flags.StringVar(&r.arch, "arch", runtime.GOARCH, "architecture that was built for")
	flags.StringVar(&r.build, "build", "", "directory that holds polder and libexec/polder")
	flags.StringVar(&r.to, "to", "dist", "directory to write to")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	r.pages = flags.Args()
	if !semver.MatchString(r.version) {
		return nil, fmt.Errorf("-version %q is no semantic version such as 1.2.3 or 1.2.3-rc.1+g1a2b3c4", r.version)
	}
	if _, ok := machines[r.arch]; !ok {
		return nil, fmt.Errorf("-arch %q: releases are made for %s", r.arch, strings.Join(arches(), " and "))
	}
	if r.build == "" {
		return nil, errors.New("-build is not given")
	}
	var err error
	if r.date, err = time.Parse(time.RFC3339, date); err != nil {
		return nil, fmt.Errorf("-date: %w", err)
	}
	return &r, nil
}

// name is what the tarball, its top directory and its bill of materials are called.
func (r *release) name() string { return fmt.Sprintf("polder-%s-linux-%s", r.version, r.arch) }

func (r *release) make() error {
	programs, err := inspect(r.build, r.arch)
	if err != nil {
		return err
	}
	libraries, err := linked(programs)
	if err != nil {
		return err
	}
	others, err := borrow(r.build, r.arch)
	if err != nil {
		return err
	}
	bom, err := r.bom(programs, libraries, others)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.to, 0o755); err != nil {
		return err
	}
	apart := filepath.Join(r.to, r.name()+".cdx.json")
	if err := os.WriteFile(apart, bom, 0o644); err != nil {
		return fmt.Errorf("writing bill of materials: %w", err)
	}
	entries := []entry{{name: "share/polder/sbom.cdx.json", from: apart}}
	for _, p := range programs {
		entries = append(entries, entry{name: p.place, from: p.path, program: true})
	}
	for _, o := range others {
		entries = append(entries, entry{name: o.place, from: o.path})
	}
	for _, p := range r.pages {
		entries = append(entries, entry{name: path.Join("share/polder", filepath.Base(p)), from: p})
	}
	tarball := filepath.Join(r.to, r.name()+".tar.gz")
	if err := pack(tarball, r.name(), r.date, entries); err != nil {
		return fmt.Errorf("packing %s: %w", tarball, err)
	}
	fmt.Printf("made %s: %d programs\n", tarball, len(programs))
	return nil
}

func arches() []string {
	var out []string
	for a := range machines {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}
