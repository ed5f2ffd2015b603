// Package cgroup makes and removes the cloud's root in every cgroup hierarchy of
// the machine, of version 1, version 2 or both. The kubelet makes everything
// below. Only system imports this package.
package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Hierarchy is one mounted cgroup file system.
type Hierarchy struct {
	Dir     string
	Unified bool // version 2
}

// Hierarchies lists those of the machine.
func Hierarchies() ([]Hierarchy, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing cgroup hierarchies: %w", err)
	}
	return parse(b), nil
}

// parse reads mountinfo: proc_pid_mountinfo(5).
func parse(mountinfo []byte) []Hierarchy {
	var out []Hierarchy
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	for s.Scan() {
		left, right, ok := strings.Cut(s.Text(), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(kind) < 1 {
			continue
		}
		h := Hierarchy{Dir: unescape(fields[4]), Unified: kind[0] == "cgroup2"}
		if (kind[0] == "cgroup" || h.Unified) && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// unescape undoes the kernel's octal escapes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Ensure makes the group name, such as /polder-1234, in every hierarchy.
func Ensure(name string) error {
	hs, err := Hierarchies()
	if err != nil {
		return err
	}
	if len(hs) == 0 {
		return errors.New("no cgroup file system is mounted; mount one at /sys/fs/cgroup")
	}
	for _, h := range hs {
		dir := filepath.Join(h.Dir, name)
		if h.Unified {
			delegate(h.Dir)
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making cgroup %s: %w", dir, err)
		}
		if h.Unified {
			delegate(dir)
			continue
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(h.Dir, dir, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate gives the children of dir every controller dir has. One that cannot
// be given is left out: the kubelet says which it misses.
func delegate(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for c := range strings.FieldsSeq(string(b)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// inherit copies file from parent to child where the child's is empty: a version
// 1 cpuset takes no process before.
func inherit(parent, child, file string) error {
	have, err := os.ReadFile(filepath.Join(child, file))
	if err != nil || len(bytes.TrimSpace(have)) > 0 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return fmt.Errorf("reading %s of cgroup %s: %w", file, parent, err)
	}
	if err := os.WriteFile(filepath.Join(child, file), b, 0o644); err != nil {
		return fmt.Errorf("writing %s of cgroup %s: %w", file, child, err)
	}
	return nil
}

// Processes lists the processes in the group name and below, of all hierarchies.
func Processes(name string) ([]int, error) {
	hs, err := Hierarchies()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, h := range hs {
		for _, dir := range below(filepath.Join(h.Dir, name)) {
			b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue
			}
			for f := range strings.FieldsSeq(string(b)) {
				var pid int
				if _, err := fmt.Sscan(f, &pid); err == nil && pid > 0 && !slices.Contains(pids, pid) {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids, nil
}

// Remove removes the group and those below it, once their processes are gone.
func Remove(name string) error {
	hs, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hs {
		for _, dir := range below(filepath.Join(h.Dir, name)) {
			if err := rmdir(dir); err != nil {
				return fmt.Errorf("removing cgroup %s: %w", dir, err)
			}
		}
	}
	return nil
}

// rmdir waits a moment for the kernel, which lets a group go only after its last
// process has been reaped.
func rmdir(dir string) error {
	const limit = 5 * time.Second
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// below lists dir and the directories in it, the deepest first.
func below(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	slices.Reverse(out)
	return out
}
