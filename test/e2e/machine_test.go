//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// machine is what this machine holds that a cloud may leave something in. Keys
// name a thing; values tell whether it changed.
type machine struct {
	mounts, links, namespaces, cgroups, tables, routes, files, settings map[string]string
	processes                                                           map[string]string // by "pid start-time"
	listeners                                                           map[string]socket
}

// forwarding is the setting that a cloud with a way out changes, and sets back
// when it is the last.
const forwarding = "/proc/sys/net/ipv4/ip_forward"

// snapshot looks at everything. Processes of other clouds are left out.
func snapshot(c *cloud) (*machine, error) {
	m := &machine{
		mounts: mountPoints(), links: list("/sys/class/net/*"), namespaces: list("/run/netns/*"), cgroups: controlGroups(),
		routes: routeTable(), settings: map[string]string{}, processes: ourProcesses(c), listeners: listeners(),
		files: list("/run/*", "/run/containerd/*", "/var/lib/*", "/var/log/*", "/var/log/pods/*", "/var/log/containers/*", "/etc/*", "/etc/cni/*", "/opt/*", "/opt/cni/*", dataRoot+"/*"),
	}
	tables, err := exec.Command("nft", "list", "tables").Output()
	if err != nil {
		return nil, fmt.Errorf("listing nftables' tables: %w", err)
	}
	m.tables = map[string]string{}
	for t := range strings.Lines(string(tables)) {
		m.tables[strings.TrimSpace(t)] = ""
	}
	for _, f := range []string{forwarding, "/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/kernel/panic", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic_on_oops"} {
		m.settings[f] = content(f)
	}
	return m, nil
}

// left lists what after holds that before did not, or otherwise, in what a cloud
// c may touch. Other clouds on the machine come and go meanwhile: what bears
// their names is passed over.
func left(c *cloud, before, after *machine) []string {
	var out []string
	diff := func(what string, a, b map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(b)) {
			was, there := a[k]
			switch {
			case foreign(c, k+" "+b[k]):
			case !there:
				out = append(out, fmt.Sprintf("%s left: %s %s", what, k, b[k]))
			case k == forwarding && len(list("/run/netns/polder-*")) > 0: // another cloud needs it
			case was != b[k]:
				out = append(out, fmt.Sprintf("%s changed: %s was %q, is %q", what, k, was, b[k]))
			}
		}
		for _, k := range slices.Sorted(maps.Keys(a)) {
			if _, there := b[k]; !there && !foreign(c, k+" "+a[k]) && k != "/var/log/containers" { // of all clouds together
				out = append(out, fmt.Sprintf("%s gone: %s", what, k))
			}
		}
	}
	diff("mount", before.mounts, after.mounts)
	diff("interface", before.links, after.links)
	diff("network namespace", before.namespaces, after.namespaces)
	diff("cgroup", before.cgroups, after.cgroups)
	diff("nftables table", before.tables, after.tables)
	diff("route", before.routes, after.routes)
	diff("setting", before.settings, after.settings)
	diff("file", before.files, after.files)
	diff("process", before.processes, after.processes)
	return out
}

var (
	cloudName = regexp.MustCompile(`polder-?([0-9a-f]{8})\b`)
	cloudDir  = regexp.MustCompile(`--data-dir[= ](\S+)`)
)

// foreign reports whether text is about another cloud than c, or about a
// temporary directory of somebody who is none.
func foreign(c *cloud, text string) bool {
	if strings.Contains(text, c.Dir) || strings.Contains(text, c.ID) {
		return false
	}
	if cloudName.MatchString(text) || cloudDir.MatchString(text) {
		return true
	}
	return strings.Contains(text, dataRoot+"/"+dirPrefix) // data directories and mounts of the other clouds under test
}

func content(path string) string {
	b, _ := os.ReadFile(path) // what cannot be read does not differ
	return strings.TrimSpace(string(b))
}

func list(patterns ...string) map[string]string {
	out := map[string]string{}
	for _, p := range patterns {
		found, _ := filepath.Glob(p)
		for _, f := range found {
			out[f] = ""
		}
	}
	return out
}

// mountPoints reads /proc/self/mountinfo: proc_pid_mountinfo(5).
func mountPoints() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(content("/proc/self/mountinfo")) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) > 4 && len(r) > 0 {
			out[l[4]] += r[0] + " "
		}
	}
	return out
}

// controlGroups lists the groups of every hierarchy that are at its top, or whose
// name is one that the parts of a cloud give.
func controlGroups() map[string]string {
	ours := regexp.MustCompile(`polder|kubepods|k8s\.io|cri-|runsc|runc`)
	out := map[string]string{}
	for _, h := range hierarchies() {
		_ = filepath.WalkDir(h, func(p string, d fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(h, p)
			if err == nil && d.IsDir() && p != h && (!strings.Contains(rel, "/") || ours.MatchString(rel)) {
				out[p] = ""
			}
			return nil
		})
	}
	return out
}

func hierarchies() []string {
	var out []string
	for at, kind := range mountPoints() {
		if strings.Contains(kind, "cgroup") {
			out = append(out, at)
		}
	}
	return out
}

// routeTable reads /proc/net/route: destination, mask and link.
func routeTable() map[string]string {
	out := map[string]string{}
	for i, line := range strings.Split(content("/proc/net/route"), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) < 8 {
			continue
		}
		dst, ones := number32(f[1]), 0
		for mask := number32(f[7]).As4(); ones < 32 && mask[ones/8]&(0x80>>(ones%8)) != 0; ones++ {
		}
		out[netip.PrefixFrom(dst, ones).String()+" by "+f[0]] = ""
	}
	return out
}

// number32 reads an address as the kernel prints it: a number in the machine's order.
func number32(s string) netip.Addr {
	n, _ := strconv.ParseUint(s, 16, 32)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b)
}

// addressesFree reports whether no route of the machine leads into p.
func addressesFree(p netip.Prefix) bool {
	for r := range routeTable() {
		to, _, _ := strings.Cut(r, " ")
		if q, err := netip.ParsePrefix(to); err == nil && q.Bits() > 0 && q.Overlaps(p) {
			return false
		}
	}
	return true
}

// process is what tells whose a process is.
type process struct {
	pid, parent      int
	start            string // when it started, in ticks since boot
	exe, args, group string
	net              string // its network namespace
}

func processes() []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []process
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		p := process{pid: pid, group: content(d + "/cgroup")}
		b, err := os.ReadFile(d + "/cmdline")
		if err != nil || len(b) == 0 {
			continue // of the kernel, or gone
		}
		p.args = strings.TrimSpace(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		p.exe, _ = os.Readlink(d + "/exe")
		p.net, _ = os.Readlink(d + "/ns/net")
		stat := content(d + "/stat")
		if _, rest, ok := strings.Cut(stat, ") "); ok {
			if f := strings.Fields(rest); len(f) > 19 {
				p.parent, _ = strconv.Atoi(f[1])
				p.start = f[19]
			}
		}
		out = append(out, p)
	}
	return out
}

// processes lists everything that belongs to the cloud: its supervisor, its
// components, and what runs in its cgroups and its network.
func (c *cloud) processes() []process {
	var inside string
	var s syscall.Stat_t
	if syscall.Stat(c.NetnsPath(), &s) == nil {
		inside = fmt.Sprintf("net:[%d]", s.Ino)
	}
	return slices.DeleteFunc(processes(), func(p process) bool {
		ours := strings.Contains(p.args, c.Dir) || strings.Contains(p.args, c.ID) || strings.Contains(p.group, c.ID) || inside != "" && p.net == inside
		return !ours || p.pid == os.Getpid() || p.pid == 1
	})
}

// lives reports whether the process, and not another of its number, is there.
func (p process) lives() bool {
	_, rest, _ := strings.Cut(content(fmt.Sprintf("/proc/%d/stat", p.pid)), ") ")
	f := strings.Fields(rest)
	return len(f) > 19 && f[0] != "Z" && f[19] == p.start
}

// ourProcesses lists the processes that are c's, or nobody's: orphans of programs
// that a cloud is made of.
func ourProcesses(c *cloud) map[string]string {
	programs := []string{"polder", "containerd", "containerd-shim-runc-v2", "containerd-shim-runsc-v1", "runsc", "runc", "coredns", "registry", "pause", "fetch", "probe"}
	out := map[string]string{}
	for _, p := range c.processes() {
		out[fmt.Sprintf("%d %s", p.pid, p.start)] = p.args
	}
	for _, p := range processes() {
		if slices.Contains(programs, filepath.Base(strings.TrimSuffix(p.exe, " (deleted)"))) && !foreign(c, p.args+" "+p.group) && !strings.Contains(p.args, "--component") {
			out[fmt.Sprintf("%d %s", p.pid, p.start)] = p.args
		}
	}
	return out
}

// socket is one that waits for connections or packets.
type socket struct {
	addr  netip.AddrPort
	inode string
}

// listeners lists the sockets of the machine's own network that anybody can send
// to: /proc/net/tcp and its kin, proc_pid_net(5).
func listeners() map[string]socket {
	const listening, unconnected = "0A", "07"
	out := map[string]socket{}
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for line := range strings.Lines(content("/proc/net/" + proto)) {
			f := strings.Fields(line)
			if len(f) < 10 || (f[3] != listening || proto[:3] != "tcp") && (f[3] != unconnected || proto[:3] != "udp") {
				continue
			}
			if a, ok := socketAddress(f[1]); ok {
				out[proto+" "+a.String()] = socket{a, f[9]}
			}
		}
	}
	return out
}

// socketAddress reads ADDRESS:PORT in hexadecimal, the address in words of the
// machine's order.
func socketAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// holder is the command line of who holds the socket with this inode, or "". Every
// part of a cloud has the cloud's directory in its own.
func holder(inode string) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == "socket:["+inode+"]" {
			return strings.ReplaceAll(content(filepath.Join(filepath.Dir(filepath.Dir(fd)), "cmdline")), "\x00", " ")
		}
	}
	return ""
}
