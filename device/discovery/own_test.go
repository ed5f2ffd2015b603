package discovery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestFindOwn(t *testing.T) {
	const name = "polder-test"
	put := func(dir string, mode os.FileMode) string {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(root, "bin", "polder")
	if _, err := findOwn(self, name); !errors.Is(err, device.ErrNoTool) {
		t.Errorf("without one: %v", err)
	}
	installed := put(filepath.Join(root, "libexec", "polder"), 0o755)
	if got, err := findOwn(self, name); err != nil || got != installed {
		t.Errorf("in an installation: %s, %v", got, err)
	}
	dir := filepath.Join(root, "bin", "libexec", "polder")
	built := put(dir, 0o755)
	if got, err := findOwn(self, name); err != nil || got != built {
		t.Errorf("in a build: %s, %v", got, err)
	}
	for _, c := range []struct {
		name      string
		file, dir os.FileMode
		want      string
	}{
		{"a file that everybody may write to", 0o757, 0o755, "everybody may write to " + built},
		{"a directory that everybody may write to", 0o755, 0o777, "everybody may write to " + dir},
		{"a directory in which nobody replaces others' files", 0o755, 0o777 | os.ModeSticky, ""},
	} {
		put(dir, c.file)
		if err := os.Chmod(dir, c.dir); err != nil {
			t.Fatal(err)
		}
		_, err := findOwn(self, name)
		if c.want == "" && err != nil || c.want != "" && (err == nil || errors.Is(err, device.ErrNoTool) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(built, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := findOwn(self, name); err == nil || !strings.Contains(err.Error(), "belongs to the user 1") {
			t.Errorf("another user's: got %v", err)
		}
	}
}

// TestOwnIsNotLookedForElsewhere: a program of that name where vendors put theirs is
// not ours, nor is one in the root of a machine of which this is a container.
func TestOwnIsNotLookedForElsewhere(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/polder-test"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(dirs []string) { toolDirs = dirs }(toolDirs)
	toolDirs = append(toolDirs, filepath.Join(root, "usr/bin"))
	for _, at := range []string{"/", root} {
		h, done, err := OpenLive(at)
		if h == nil {
			t.Fatal(err)
		}
		if _, err := h.Run(t.Context(), "polder-test"); !errors.Is(err, device.ErrNoTool) {
			t.Errorf("at %s: %v", at, err)
		}
		if err := done(); err != nil {
			t.Error(err)
		}
	}
}

// TestRunOwn: a helper beside the program is run, as any other.
func TestRunOwn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(self), "libexec", "polder") // the test binary's, which go test removes
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "polder-test"), []byte("#!/bin/sh\necho own $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := runOwn(t.Context(), "/", "polder-test", "helper"); err != nil || string(out) != "own helper\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
