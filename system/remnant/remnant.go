// Package remnant finds and removes what a cloud leaves in the kernel besides its
// network: processes of containers, and mounts. It works without any component
// of the cloud, after a kill -9 as well as after a clean stop. Only system
// imports it.
package remnant

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"polder.dev/polder/system/cgroup"
	"polder.dev/polder/system/layout"
)

// Processes lists the processes that belong to the cloud: those in its cgroups
// and those in its network namespace, but for the calling one.
func Processes(c layout.Cloud) ([]int, error) {
	pids, err := cgroup.Processes(c.Cgroup())
	if err != nil {
		return nil, err
	}
	ns, err := os.Stat(c.NetnsPath())
	if err != nil {
		return pids, nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil || pid == os.Getpid() || slices.Contains(pids, pid) {
			continue
		}
		if in, err := os.Stat(filepath.Join(d, "ns", "net")); err == nil && os.SameFile(in, ns) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Kill kills the cloud's processes and returns when none is left.
func Kill(ctx context.Context, c layout.Cloud) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := Processes(c)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v did not end", pids)
		case <-tick.C:
		}
	}
}

// Mounts lists the mount points below the cloud's directories, the last mounted
// first.
func Mounts(c layout.Cloud) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	return parse(b, c.Dir, c.Run()), nil
}

// parse reads mountinfo, proc_pid_mountinfo(5), and lists the mount points below
// the directories, the last mounted first.
func parse(mountinfo []byte, dirs ...string) []string {
	var out []string
	for line := range strings.Lines(string(mountinfo)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		at := unescape(f[4])
		if slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(at, d+"/") }) {
			out = append(out, at)
		}
	}
	slices.Reverse(out)
	return out
}

// unescape undoes the kernel's octal escapes: proc_pid_mountinfo(5).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Unmount unmounts them all.
func Unmount(c layout.Cloud) error {
	mounts, err := Mounts(c)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// Links removes the symbolic links in /var/log/containers and /var/log/pods that
// the kubelet made for the cloud's logs.
func Links(c layout.Cloud) error {
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, c.Dir+"/") {
			errs = append(errs, os.Remove(l))
		}
	}
	_ = os.Remove("/var/log/containers") // only when empty
	return errors.Join(errs...)
}
