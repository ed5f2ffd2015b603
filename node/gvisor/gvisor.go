// Package gvisor configures gVisor, the sandbox of every tenant's pod, and finds
// the platform it runs on best. Only system imports it. gVisor is two helper
// binaries, so the package links nothing heavy.
package gvisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// probeLimit bounds one try of a platform: a healthy one takes 0.3 s; KVM where
// nested virtualisation is broken never returns.
const probeLimit = 5 * time.Second

// Platform returns what gVisor intercepts system calls with: what the
// configuration says, else KVM where it truly works on bare metal, else systrap,
// which works everywhere. The answer is kept for this boot, and why is a sentence
// for people.
func Platform(ctx context.Context, c layout.Cloud, libexec string) (platform, why string, err error) {
	if p := c.Config.Sandbox.Platform; p != "auto" {
		return p, "sandbox.platform says so", nil
	}
	kept := c.Run("gvisor-platform")
	if b, err := os.ReadFile(kept); err == nil {
		p, w, _ := strings.Cut(string(b), "\n")
		return p, w, nil
	}
	platform, why = "systrap", "it works on every machine"
	switch {
	case virtual():
		why = "this is a virtual machine, where KVM is slower or hangs"
	case !accessible("/dev/kvm"):
		why = "/dev/kvm cannot be opened"
	default:
		if err := probe(ctx, libexec, "kvm", probeLimit); err != nil {
			why = "KVM did not pass its probe: " + err.Error()
		} else {
			platform, why = "kvm", "KVM passed its probe"
		}
	}
	return platform, why, os.WriteFile(kept, []byte(platform+"\n"+why), 0o600)
}

// probe runs one program in gVisor on platform p, for at most limit.
func probe(ctx context.Context, libexec, p string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "polder-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, filepath.Join(libexec, "runsc"), "--root="+dir, "--platform="+p, "--network=none", "--ignore-cgroups", "do", "/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("no answer after %v", limit)
		}
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func accessible(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// virtual reports whether the processor says that a hypervisor is below.
func virtual() bool {
	b, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && bytes.Contains(b, []byte(" hypervisor"))
}

// Files writes the shim's configuration. A pod's seccomp profile is not applied
// inside the sandbox: no system call of the program reaches the machine's kernel,
// whose own filter around gVisor is always on, and gVisor answers what a profile
// refuses with EPERM where the profile says ENOSYS, so that clone3 has no fallback
// and no program can start a thread.
func Files(c layout.Cloud, libexec, platform string) error {
	return pki.WriteFile(c.Path("etc", "runsc.toml"), fmt.Appendf(nil, `binary_name = %q
root = %q
log_path = %q
log_level = "warning"

[runsc_config]
  platform = %q
  network = "sandbox"
  overlay2 = "root:self"
`, filepath.Join(libexec, "runsc"), c.Run("runsc"), c.Run("shim-%ID%.log"), platform))
}
