package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// view is what a pod can see of the machine it runs on.
type view struct {
	Release    string            `json:"release"`   // uname -r
	Version    string            `json:"version"`   // /proc/version
	BootID     string            `json:"bootID"`    // empty: not readable
	KernelLog  string            `json:"kernelLog"` // the beginning of dmesg, or why not
	Processes  []string          `json:"processes"` // their names
	Devices    map[string]string `json:"devices"`   // of memory: why they cannot be read; empty: they can
	Mounts     []mount           `json:"mounts"`
	HostPaths  []string          `json:"hostPaths"` // directories of a node that are there
	Interfaces []link            `json:"interfaces"`
	UID        int               `json:"uid"`
	Caps       string            `json:"caps"` // effective capabilities
}

type mount struct {
	At     string `json:"at"`
	Type   string `json:"type"`
	Source string `json:"source"`
}

type link struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
}

func look(context.Context, []string) error {
	v := view{
		Version: text("/proc/version"), BootID: text("/proc/sys/kernel/random/boot_id"), KernelLog: kernelLog(),
		Devices: map[string]string{}, Mounts: mounts(), UID: os.Getuid(), Caps: capabilities(),
	}
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return err
	}
	for _, c := range u.Release {
		if c != 0 {
			v.Release += string(rune(c))
		}
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, n := range names {
		v.Processes = append(v.Processes, text(n))
	}
	for _, d := range []string{"/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore"} {
		v.Devices[d] = readable(d)
	}
	for _, d := range []string{"/etc/kubernetes", "/var/lib/kubelet", "/var/lib/polder", "/var/log/pods", "/var/log", "/root", "/home", "/boot", "/lib/modules"} {
		if s, err := os.Stat(d); err == nil && s.IsDir() {
			v.HostPaths = append(v.HostPaths, d)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		one := link{Name: l.Name, MAC: l.HardwareAddr.String()}
		addrs, _ := l.Addrs() // none where they cannot be read
		for _, a := range addrs {
			one.Addresses = append(one.Addresses, a.String())
		}
		v.Interfaces = append(v.Interfaces, one)
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

// text is a small file without white space around it, or "".
func text(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// kernelLog reads the kernel's ring buffer: syslog(2), action 3.
func kernelLog() string {
	const readAll = 3
	buf := make([]byte, 4096)
	n, err := syscall.Klogctl(readAll, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// readable says why the first byte at path cannot be read, or "".
func readable(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil {
		return err.Error()
	}
	return ""
}

// mounts reads /proc/self/mountinfo: proc_pid_mountinfo(5).
func mounts() []mount {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	var out []mount
	for line := range bytes.Lines(b) {
		left, right, ok := strings.Cut(string(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) > 4 && len(r) > 1 {
			out = append(out, mount{At: l[4], Type: r[0], Source: r[1]})
		}
	}
	return out
}

func capabilities() string {
	for line := range strings.Lines(text("/proc/self/status")) {
		if c, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strings.TrimSpace(c)
		}
	}
	return ""
}
