package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// built compiles tools/pause, the smallest program there is, to dir/polder and as
// a helper.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"polder", "libexec/polder/pause"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, file), "polder.dev/polder/tools/pause")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=linux", "GOARCH="+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

func TestInspect(t *testing.T) {
	programs, err := inspect(built(t), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) != 2 || programs[0].place != "bin/polder" || programs[1].place != "libexec/polder/pause" {
		t.Fatalf("got %+v", programs)
	}
	if p := programs[1]; len(p.sha256) != 64 || p.info.Main.Path != ours {
		t.Errorf("got %s of module %s", p.sha256, p.info.Main.Path)
	}
}

func TestInspectRefuses(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	good := built(t)
	empty := t.TempDir()
	script := built(t)
	if err := os.WriteFile(filepath.Join(script, "libexec/polder/script"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, arch, want string }{
		{"nothing built", empty, runtime.GOARCH, "no such file"},
		{"another architecture", good, other, "it was built with GOARCH=" + runtime.GOARCH},
		{"no Go program", script, runtime.GOARCH, "libexec/polder/script: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := inspect(c.dir, c.arch)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestPortableRefuses(t *testing.T) {
	settings := []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}, {Key: "-trimpath", Value: "true"}}
	own := &debug.Module{Path: ours, Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}
	local := &debug.Module{Path: "example.org/m", Version: "v1.0.0", Replace: &debug.Module{Path: "../m"}}
	for _, c := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"nothing", debug.BuildInfo{Settings: settings}, ""},
		{"paths of the machine", debug.BuildInfo{Settings: settings[:2]}, "-trimpath=,"},
		{"another system", debug.BuildInfo{Settings: settings[1:]}, "GOOS=,"},
		{"a module of no version", debug.BuildInfo{Settings: settings, Main: debug.Module{Path: "example.org/m", Version: "(devel)"}}, "example.org/m is of no version"},
		{"another module of ours", debug.BuildInfo{Settings: settings, Deps: []*debug.Module{own}}, ""},
		{"a module of the machine", debug.BuildInfo{Settings: settings, Deps: []*debug.Module{local}}, "example.org/m was replaced by directory ../m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&program{info: &c.info}).portable("arm64")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestNeededRefusesDynamic(t *testing.T) {
	const shell = "/bin/sh"
	for _, c := range []struct {
		name string
		may  []string
		want string
	}{
		{"any", nil, "it asks for a loader"},
		{"one that may need another library", []string{"libother.so.1"}, "it needs [libc.so.6]"},
		{"one that may need this", []string{"libc.so.6"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := needed(shell, runtime.GOARCH, c.may)
			if len(c.may) > 0 && !slices.Equal(got, []string{"libc.so.6"}) {
				t.Errorf("%s needs %q", shell, got)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: got %v, want %q in it", shell, err, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	good := []string{"-version", "0.1.0-dev.12+g1a2b3c4d5e6f-dirty", "-date", "2026-01-02T03:04:05Z", "-arch", "arm64", "-build", "dist/build/arm64", "LICENSE"}
	r, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.name(); got != "polder-0.1.0-dev.12+g1a2b3c4d5e6f-dirty-linux-arm64" {
		t.Errorf("it is called %s", got)
	}
	for flag, bad := range map[string]string{"-version": "v1.2", "-date": "yesterday", "-arch": "riscv64", "-build": ""} {
		if _, err := parse(append(append([]string{}, good[:8]...), flag, bad)); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %q: got %v", flag, bad, err)
		}
	}
}

// The version in the bill is that of the script which brings the library.
func TestBorrowedVersion(t *testing.T) {
	script, err := os.ReadFile("../onnxruntime")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "\nversion="+onnxruntimeVersion+"\n") {
		t.Errorf("tools/onnxruntime brings another version than %s", onnxruntimeVersion)
	}
}

func TestBorrowRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := borrow(dir, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "libonnxruntime.so.1") {
		t.Errorf("no library: %v", err)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "libexec", "polder", "libonnxruntime.so.1")
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, shell, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := borrow(dir, runtime.GOARCH)
	if err != nil || len(got) != 1 || len(got[0].sha256) != 64 || got[0].place != "libexec/polder/libonnxruntime.so.1" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := borrow(dir, map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]); err == nil || !strings.Contains(err.Error(), "it is for") {
		t.Errorf("another architecture: %v", err)
	}
}
