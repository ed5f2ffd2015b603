// Package preflight tells, before anything starts, whether a machine can run a
// cloud: what is missing, why it is needed and what to do. It changes nothing.
// Only system imports it.
package preflight

import (
	"context"
	"fmt"

	"polder.dev/polder/system/layout"
)

// Level is how bad a result is.
type Level string

// The levels. A cloud starts in spite of a Warning.
const (
	OK      Level = "OK"
	Warning Level = "Warning"
	Error   Level = "Error"
)

// Result is what one check found.
type Result struct {
	Name   string `json:"name"`
	Level  Level  `json:"level"`
	Found  string `json:"found"`
	Why    string `json:"why,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// machine is what the checks look at, so that tests can show them another one.
type machine struct {
	euid    int
	arch    string
	proc    string // /proc
	cgroups func() (int, error)
	look    func(program string) error
	disk    func(dir string) (freeBytes uint64, fsType int64, err error)
	spaces  func() error
	routes  func() ([]route, error)
}

type check struct {
	name   string
	why    string
	remedy string
	// run returns what it found, and how bad that is.
	run func(context.Context, *machine, layout.Cloud) (found string, level Level)
}

// Run makes all checks.
func Run(ctx context.Context, c layout.Cloud) []Result { return run(ctx, here(), c) }

func run(ctx context.Context, m *machine, c layout.Cloud) []Result {
	var out []Result
	for _, ch := range checks {
		found, level := ch.run(ctx, m, c)
		r := Result{Name: ch.name, Level: level, Found: found}
		if level != OK {
			r.Why, r.Remedy = ch.why, ch.remedy
		}
		out = append(out, r)
		if ch.name == "root" && level == Error {
			break // the others would only repeat it
		}
	}
	return out
}

const (
	diskBytesMin   = 2 << 30
	diskBytesAim   = 8 << 30
	memoryBytesMin = 2 << 30
	memoryBytesAim = 4 << 30
	overlayMagic   = 0x794c7630 // include/uapi/linux/magic.h
)

var checks = []check{
	{"root", "containers, networks and mounts belong to root", "run it with sudo", rootUser},
	{"architecture", "polder and gVisor are built for amd64 and arm64", "use a machine of one of these", architecture},
	{"namespaces", "every pod has network, mount, process and user namespaces of its own", "allow them: set the sysctls user.max_net_namespaces, user.max_mnt_namespaces and user.max_user_namespaces above 0; inside a container, run it privileged", namespaces},
	{"cgroups", "the memory and processors of pods are limited with cgroups", "mount them: mount -t cgroup2 none /sys/fs/cgroup", cgroups},
	{"programs", "the packet filter and the volumes are changed with the machine's own programs", "apt-get install --yes nftables mount", programs},
	{"disk", "images, models and checkpoints lie in the data directory", "free some space, or name another directory with --data-dir", disk},
	{"file system", "the files of containers are layers of overlayfs, which cannot lie on another overlayfs", "name a directory on a disk with --data-dir; inside a container, one on a volume", fileSystem},
	{"memory", "the cloud itself takes about 1 GiB", "use a machine with more memory", memory},
	{"addresses", "two networks with the same addresses cannot both be reached", "choose a free range: network.cidr in the file given with --config", addresses},
	{"name server port", "the cloud's name server listens on port 53 of an address of its own, which a server on all addresses takes away", "make the other server listen on its own addresses only", dnsPort},
}

func rootUser(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	if m.euid != 0 {
		return fmt.Sprintf("running as user %d", m.euid), Error
	}
	return "running as root", OK
}

func architecture(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	if m.arch != "amd64" && m.arch != "arm64" {
		return m.arch + " is not supported", Error
	}
	return m.arch, OK
}

func namespaces(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	if err := m.spaces(); err != nil {
		return "namespaces cannot be made: " + err.Error(), Error
	}
	return "namespaces can be made", OK
}

func cgroups(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	n, err := m.cgroups()
	if err != nil {
		return err.Error(), Error
	}
	if n == 0 {
		return "no cgroup file system is mounted", Error
	}
	return fmt.Sprintf("%d hierarchies", n), OK
}

func programs(_ context.Context, m *machine, _ layout.Cloud) (string, Level) {
	for _, p := range []string{"nft", "mount", "umount"} {
		if err := m.look(p); err != nil {
			return p + " is not installed", Error
		}
	}
	return "nft, mount and umount are there", OK
}
