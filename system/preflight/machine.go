package preflight

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"polder.dev/polder/system/cgroup"
	"polder.dev/polder/system/layout"
)

type route struct {
	to   netip.Prefix
	link string
}

// here is the machine this runs on.
func here() *machine {
	return &machine{
		euid: os.Geteuid(),
		arch: runtime.GOARCH,
		proc: "/proc",
		cgroups: func() (int, error) {
			hs, err := cgroup.Hierarchies()
			return len(hs), err
		},
		look: func(p string) error {
			_, err := exec.LookPath(p)
			return err
		},
		disk:   statfs,
		spaces: unshare,
		routes: routes,
	}
}

// statfs looks at the nearest directory above dir that exists.
func statfs(dir string) (uint64, int64, error) {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if err == nil {
			return s.Bavail * uint64(s.Bsize), int64(s.Type), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return 0, 0, fmt.Errorf("looking at %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}

// unshare starts a program that ends at once in namespaces of every kind.
func unshare() error {
	program, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	return cmd.Run()
}

func routes() ([]route, error) {
	list, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var out []route
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if !ok || ones == 0 {
			continue
		}
		name := fmt.Sprint(r.LinkIndex)
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			name = l.Attrs().Name
		}
		out = append(out, route{netip.PrefixFrom(ip, ones), name})
	}
	return out, nil
}

func disk(_ context.Context, m *machine, c layout.Cloud) (string, Level) {
	free, _, err := m.disk(c.Dir)
	if err != nil {
		return err.Error(), Error
	}
	found := fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), c.Dir)
	switch {
	case free < diskBytesMin:
		return found + ", at least 2 GiB are needed", Error
	case free < diskBytesAim:
		return found + ", 8 GiB are better", Warning
	}
	return found, OK
}

func fileSystem(_ context.Context, m *machine, c layout.Cloud) (string, Level) {
	_, kind, err := m.disk(c.Dir)
	if err != nil {
		return err.Error(), Error
	}
	if kind == overlayMagic {
		return c.Dir + " lies on overlayfs", Error
	}
	b, err := os.ReadFile(filepath.Join(m.proc, "filesystems"))
	if err == nil && !bytes.Contains(b, []byte("\toverlay\n")) && m.look("modprobe") != nil {
		return "the kernel does not know overlayfs", Error
	}
	return "overlayfs can be used", OK
}

func memory(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	b, err := os.ReadFile(filepath.Join(m.proc, "meminfo"))
	if err != nil {
		return err.Error(), Warning
	}
	var kib uint64
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err != nil {
		return "the size of memory is not known", Warning
	}
	total := kib << 10
	found := fmt.Sprintf("%.1f GiB", float64(total)/(1<<30))
	switch {
	case total < memoryBytesMin:
		return found + ", at least 2 GiB are needed", Error
	case total < memoryBytesAim:
		return found + ", 4 GiB are better", Warning
	}
	return found, OK
}

func addresses(_ context.Context, m *machine, c layout.Cloud) (string, Level) {
	all, err := m.routes()
	if err != nil {
		return err.Error(), Warning
	}
	for _, r := range all {
		if r.link != c.HostLink() && r.to.Overlaps(c.CIDR) {
			return fmt.Sprintf("the cloud's range %s overlaps %s, which is reached by %s", c.CIDR, r.to, r.link), Error
		}
	}
	return c.CIDR.String() + " is free", OK
}

// dnsPort looks for somebody on port 53 of all addresses.
func dnsPort(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(m.proc, "net", table))
		if err != nil {
			continue
		}
		if takesPort(b, layout.PortDNS) {
			return fmt.Sprintf("a server listens on port %d of all addresses (%s)", layout.PortDNS, table), Error
		}
	}
	return "port 53 is free", OK
}

// takesPort reads a table of sockets as in /proc/net/tcp: proc_pid_net(5).
func takesPort(table []byte, port uint16) bool {
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		addr, p, ok := strings.Cut(f[1], ":")
		ip, err := hex.DecodeString(addr)
		num, err2 := hex.DecodeString(p)
		if !ok || err != nil || err2 != nil || len(num) != 2 || len(bytes.Trim(ip, "\x00")) > 0 {
			continue
		}
		bound := strings.HasSuffix(f[2], ":0000") // not a connection
		if bound && uint16(num[0])<<8|uint16(num[1]) == port {
			return true
		}
	}
	return false
}
