package gvisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/system/layout"
)

func cloud(t *testing.T, platform string) layout.Cloud {
	t.Helper()
	cfg, err := layout.ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sandbox.Platform = platform
	c, err := layout.New(t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestThePlatformOfTheConfigurationIsNotProbed(t *testing.T) {
	for _, want := range []string{"systrap", "kvm"} {
		got, why, err := Platform(t.Context(), cloud(t, want), "/nowhere")
		if err != nil || got != want || why == "" {
			t.Errorf("%s, %q, %v; want %s", got, why, err, want)
		}
	}
}

func TestThePlatformIsKeptForThisBoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("/run is root's")
	}
	c := cloud(t, "auto")
	if err := os.MkdirAll(c.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(c.Run()) })
	first, why, err := Platform(t.Context(), c, t.TempDir()) // where there is no runsc, KVM passes no probe
	if err != nil || first != "systrap" || why == "" {
		t.Fatalf("%s, %q, %v; want systrap and a reason", first, why, err)
	}
	if err := os.WriteFile(c.Run("gvisor-platform"), []byte("kvm\nit was said"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, why, err := Platform(t.Context(), c, "/nowhere"); err != nil || got != "kvm" || why != "it was said" {
		t.Errorf("%s, %q, %v; want what was kept", got, why, err)
	}
}

// runsc puts a program in place of gVisor's.
func runsc(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "runsc"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestProbe(t *testing.T) {
	if err := probe(t.Context(), runsc(t, `case "$*" in *--platform=kvm*) exit 0;; esac; exit 1`), "kvm", time.Minute); err != nil {
		t.Errorf("a platform that works: %v", err)
	}
	if err := probe(t.Context(), runsc(t, "echo no kvm here; exit 1"), "kvm", time.Minute); err == nil || !strings.Contains(err.Error(), "no kvm here") {
		t.Errorf("a platform that does not: %v", err)
	}
}

// TestAProbeThatHangsIsEnded: KVM where nested virtualisation is broken never
// returns, and neither do the children it has.
func TestAProbeThatHangsIsEnded(t *testing.T) {
	err := probe(t.Context(), runsc(t, "sleep 600 & wait"), "kvm", 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "no answer after") {
		t.Errorf("%v", err)
	}
}

func TestFiles(t *testing.T) {
	c := cloud(t, "auto")
	if err := os.MkdirAll(c.Path("etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Files(c, "/usr/libexec/polder", "systrap"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.Path("etc", "runsc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := `binary_name = "/usr/libexec/polder/runsc"
root = "` + c.Run("runsc") + `"
log_path = "` + c.Run("shim-%ID%.log") + `"
log_level = "warning"

[runsc_config]
  platform = "systrap"
  network = "sandbox"
  overlay2 = "root:self"
`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
