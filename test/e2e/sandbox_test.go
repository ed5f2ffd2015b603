//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
)

// look is what the probe sees; see probe/look.go.
type look struct {
	Release, Version, BootID, KernelLog string
	Processes                           []string
	Devices                             map[string]string
	Mounts                              []struct{ At, Type, Source string }
	HostPaths                           []string
	Interfaces                          []struct {
		Name, MAC string
		Addresses []string
	}
	UID  int
	Caps string
}

// TestWorkloadSandboxing runs one probe in a sandboxed pod and in a plain one, and
// compares what they see of kernel, processes, memory, mounts and network, as
// the test of that name of CNCF's AI conformance does.
func TestWorkloadSandboxing(t *testing.T) {
	c := shared(t)
	c.probe(t)
	boxed := c.namespace(t, "boxed", nil)
	plain := c.namespace(t, "plain", map[string]string{v1alpha1.LabelSandbox: "runc"})

	var in, out look
	for _, p := range []struct {
		ns   string
		into *look
	}{{boxed, &in}, {plain, &out}} {
		pod := probePod(p.ns, "look", "look")
		text := c.output(t, pod)
		if err := json.Unmarshal([]byte(text), p.into); err != nil {
			t.Fatalf("the probe in %s printed %q: %v", p.ns, text, err)
		}
	}
	t.Logf("sandboxed: %s, %s; plain: %s, %s", in.Release, in.Version, out.Release, out.Version)
	t.Run("kernel", func(t *testing.T) {
		if out.Version != content("/proc/version") {
			t.Errorf("the plain pod sees kernel %q, this machine's is %q: it is no control", out.Version, content("/proc/version"))
		}
		for what, pair := range map[string][2]string{"release": {in.Release, out.Release}, "/proc/version": {in.Version, out.Version}, "boot id": {in.BootID, out.BootID}} {
			if pair[0] == pair[1] && pair[0] != "" {
				t.Errorf("%s is %q in both", what, pair[0])
			}
		}
		if strings.HasPrefix(in.KernelLog, "<") && !strings.Contains(in.KernelLog, "gVisor") {
			t.Errorf("the sandboxed pod reads this machine's kernel log: %.200q", in.KernelLog)
		}
	})
	t.Run("processes", func(t *testing.T) {
		daemon := regexp.MustCompile(`^(kubelet|containerd.*|polder|etcd|kube-.*|runsc.*|systemd.*)$`)
		if len(in.Processes) == 0 || slices.ContainsFunc(in.Processes, daemon.MatchString) {
			t.Errorf("the sandboxed pod sees %q", in.Processes)
		}
	})
	t.Run("memory", func(t *testing.T) {
		for device, refusal := range in.Devices {
			if refusal == "" {
				t.Errorf("the sandboxed pod can read %s", device)
			}
		}
	})
	t.Run("mounts", func(t *testing.T) {
		if len(in.HostPaths) > 0 {
			t.Errorf("the sandboxed pod has the machine's directories %q", in.HostPaths)
		}
		for _, m := range in.Mounts {
			if strings.HasPrefix(m.Source, "/dev/") || strings.Contains(m.Source, c.Dir) || strings.Contains(m.At, c.Dir) {
				t.Errorf("the sandboxed pod sees of the machine: %+v", m)
			}
		}
		if !slices.ContainsFunc(out.Mounts, func(m struct{ At, Type, Source string }) bool {
			return strings.HasPrefix(m.Source, "/dev/") || m.Type == "overlay"
		}) {
			t.Errorf("the plain pod sees no disk of the machine among %+v: it is no control", out.Mounts)
		}
	})
	t.Run("network", func(t *testing.T) {
		if len(in.Interfaces) != 2 {
			t.Errorf("the sandboxed pod has interfaces %+v, want lo and eth0", in.Interfaces)
		}
		ours := list("/sys/class/net/*")
		for _, l := range in.Interfaces {
			name := filepath.Join("/sys/class/net", l.Name)
			if _, there := ours[name]; there && l.MAC != "" && l.MAC == content(filepath.Join(name, "address")) && l.Name != "lo" {
				t.Errorf("the sandboxed pod sees this machine's %s", l.Name)
			}
		}
	})
	t.Run("privileges", func(t *testing.T) {
		if in.UID == 0 || strings.Trim(in.Caps, "0") != "" {
			t.Errorf("the sandboxed pod runs as user %d with capabilities %s", in.UID, in.Caps)
		}
	})
	t.Run("outside", func(t *testing.T) { checkOutside(t, c, boxed, plain) })
}

// checkOutside looks from this machine: what runs in a sandboxed pod is gVisor,
// and the program in it is no process of this kernel.
func checkOutside(t *testing.T, c *cloud, boxed, plain string) {
	programs := func(ns string) (out []string) {
		pod := c.start(t, probePod(ns, "serve", "serve", "8080", ns))
		waitFor(t, podLimit, "processes of the pod in "+ns, func(context.Context) error {
			out = nil
			for _, p := range c.inPod(pod) {
				out = append(out, filepath.Base(p.exe))
			}
			if len(out) == 0 {
				return errors.New("none")
			}
			return nil
		})
		return out
	}
	if have := programs(boxed); !slices.ContainsFunc(have, func(s string) bool { return strings.HasPrefix(s, "runsc") }) || slices.Contains(have, "probe") {
		t.Errorf("in the cgroups of the sandboxed pod run %q, want runsc and not probe", have)
	}
	if have := programs(plain); !slices.Contains(have, "probe") {
		t.Errorf("in the cgroups of the plain pod run %q, want probe: it is no control", have)
	}
}

// classOf returns the RuntimeClass that a pod was given.
func classOf(p *corev1.Pod) string { return ptr.Deref(p.Spec.RuntimeClassName, "") }
