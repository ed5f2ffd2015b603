package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// archives are the C libraries inside the programs that are built with cgo, for
// which the programs themselves have no record. Of a dynamic program that is what the
// compiler puts in front of main.
var archives = map[string][]string{
	"runc":        {"libc.a", "libgcc.a", "libseccomp.a"},
	"polder-nvml": {"libc_nonshared.a", "libgcc.a"},
	"polder-onnx": {"libc_nonshared.a", "libgcc.a"},
}

// library is a C library that is linked into a program.
type library struct {
	name, version, arch    string // of the Debian package that it came from
	source, sourceVersion  string
	system, systemVersion  string // the distribution, such as debian and 12
	archive, archiveSHA256 string
}

// linked finds the C libraries of each program, by the program's place. It asks
// the compiler that linked, $CC, which files it takes, and dpkg whose they are.
func linked(programs []*program) (map[string][]library, error) {
	out := map[string][]library{}
	for _, p := range programs {
		if p.setting("CGO_ENABLED") != "1" {
			continue
		}
		names, ok := archives[path.Base(p.place)]
		if !ok {
			return nil, fmt.Errorf("%s is built with cgo; name its C libraries in tools/release/debian.go", p.path)
		}
		for _, n := range names {
			l, err := find(n)
			if err != nil {
				return nil, fmt.Errorf("finding the origin of %s in %s: %w", n, p.path, err)
			}
			out[p.place] = append(out[p.place], l)
		}
	}
	return out, nil
}

func find(archive string) (library, error) {
	l := library{archive: archive}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	file, err := output(compiler, "-print-file-name="+archive)
	if err != nil {
		return l, err
	}
	if !filepath.IsAbs(file) {
		return l, fmt.Errorf("%s does not know it", compiler)
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return l, err
	}
	if l.archiveSHA256, err = sum(file); err != nil {
		return l, err
	}
	owner, err := output("dpkg-query", "-S", file)
	if err != nil {
		return l, fmt.Errorf("%w; releases are built where dpkg knows the version of each library", err)
	}
	owner, _, _ = strings.Cut(owner, ": ")
	about, err := output("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}", owner)
	if err != nil {
		return l, err
	}
	if _, err := fmt.Sscan(about, &l.name, &l.version, &l.arch, &l.source, &l.sourceVersion); err != nil {
		return l, fmt.Errorf("reading what dpkg says of %s: %w", owner, err)
	}
	l.system, l.systemVersion, err = system()
	return l, err
}

// system names the distribution.
func system() (name, version string, err error) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", "", err
	}
	for l := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	if name == "" {
		return "", "", errors.New("/etc/os-release has no ID")
	}
	return name, version, nil
}

func output(program string, args ...string) (string, error) {
	b, err := exec.Command(program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
