package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func cgo(place string) *program {
	return &program{place: place, path: place, info: &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "CGO_ENABLED", Value: "1"}}}}
}

// script puts a program of this name in front of the real ones.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLinkedAsksCompilerAndDpkg(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CC", "other-gcc")
	for _, a := range archives["runc"] {
		if err := os.WriteFile(filepath.Join(dir, a), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script(t, dir, "other-gcc", `echo "`+dir+`/x/../${1#-print-file-name=}"`)
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	script(t, dir, "dpkg-query", `case $1 in
-S) echo "$(basename $2 .a)-dev:arm64: $2" ;;
-W) echo "${4%:*} 1.0-1+b2 ${4#*:} source-of-${4%:*} 1.0-1" ;;
esac`)
	got, err := linked([]*program{cgo("libexec/polder/runc"), {place: "bin/polder", info: &debug.BuildInfo{}}})
	if err != nil {
		t.Fatal(err)
	}
	libs := got["libexec/polder/runc"]
	if len(got) != 1 || len(libs) != len(archives["runc"]) {
		t.Fatalf("got %+v", got)
	}
	l := libs[0]
	if l.name != "libc-dev" || l.version != "1.0-1+b2" || l.arch != "arm64" || l.source != "source-of-libc-dev" || l.sourceVersion != "1.0-1" || l.system == "" {
		t.Errorf("got %+v", l)
	}
}

func TestLinkedRefuses(t *testing.T) {
	for _, c := range []struct{ name, place, compiler, want string }{
		{"a program that nobody knows", "libexec/polder/new", "gcc", "libexec/polder/new is built with cgo; name its C libraries"},
		{"a compiler without the library", "libexec/polder/runc", `echo "${1#-print-file-name=}"`, "does not know it"},
		{"a compiler that fails", "libexec/polder/runc", "echo wrong >&2; exit 1", "wrong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			script(t, dir, "cc", c.compiler)
			t.Setenv("CC", filepath.Join(dir, "cc"))
			if _, err := linked([]*program{cgo(c.place)}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
