// Package containerd configures containerd, which runs containers and outlives
// nothing: its shims keep them running while it is away. Only system imports
// this package. containerd is a helper binary, so the package links nothing
// heavy.
package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// PauseImage is the image of the container that holds a pod's namespaces.
const PauseImage = v1alpha1.RegistryHost + "/system/pause:1"

// Options are what the machine makes necessary.
type Options struct {
	// Libexec is the directory of the helper binaries.
	Libexec string
	// KeepOOMScore is for machines that may not lower an OOM score.
	KeepOOMScore bool
	// Kata is the path of an installed Kata shim, or empty.
	Kata string
}

// Command is containerd and its arguments.
func Command(c layout.Cloud, o Options) []string {
	return []string{filepath.Join(o.Libexec, "containerd"), "--config", c.Path("etc", "containerd.toml")}
}

// Files writes containerd's configuration, and where the registry's name leads.
func Files(c layout.Cloud, o Options) error {
	if err := pki.WriteFile(c.Path("etc", "containerd.toml"), []byte(config(c, o))); err != nil {
		return err
	}
	dir := c.Path("etc", "certs.d", v1alpha1.RegistryHost)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	return pki.WriteFile(filepath.Join(dir, "hosts.toml"), fmt.Appendf(nil, `server = %[1]q

[host.%[1]q]
  capabilities = ["pull", "resolve"]
  ca = %[2]q
  client = [[%[3]q, %[4]q]]
`, c.RegistryURL(), c.Cert("ca"), c.Cert("registry-reader"), c.Key("registry-reader")))
}

func config(c layout.Cloud, o Options) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, `version = 3
root = %q
state = %q
disabled_plugins = [
  "io.containerd.snapshotter.v1.native", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = %q

[ttrpc]
  address = %q

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %q
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = %q

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = %v
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = false
  enable_cdi = true
  cdi_spec_dirs = [%q, "/etc/cdi", "/var/run/cdi"]
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%q]
    conf_dir = %q
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = %q
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = %q
        Root = %q
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc]
      runtime_type = "io.containerd.runsc.v1"
      runtime_path = %q
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc.options]
        TypeUrl = "io.containerd.runsc.v1.options"
        ConfigPath = %q
`, c.Path("containerd"), c.Run("containerd"), c.ContainerdSocket(), c.Run("containerd.ttrpc"), PauseImage,
		c.Path("etc", "certs.d"), o.KeepOOMScore, c.CDI(), o.Libexec, c.Path("etc", "cni"),
		filepath.Join(o.Libexec, "containerd-shim-runc-v2"), filepath.Join(o.Libexec, "runc"), c.Run("runc"),
		filepath.Join(o.Libexec, "containerd-shim-runsc-v1"), c.Path("etc", "runsc.toml"))
	if o.Kata != "" {
		fmt.Fprintf(b, `    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
      runtime_type = "io.containerd.kata.v2"
      runtime_path = %q
      privileged_without_host_devices = true
`, o.Kata)
	}
	return b.String()
}
